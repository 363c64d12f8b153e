package policy

import (
	"net/http"
	"testing"
	"time"

	"shatabdi/policy/httpheader"
)

// RFC 9111 §3.3, incomplete responses, and §3.4, combining them.

func TestStoringPartialResponses(t *testing.T) {
	partial := StoreOptions{Partial: true}
	part := func(contentRange string, more ...string) Stored {
		return with(minute(append([]string{"Content-Range", contentRange}, more...)...), 206)
	}
	asked := func(r string) Request { return get("Range", r) }
	weak := with(stored("Cache-Control", "max-age=60", "Etag", `W/"x"`, "Content-Range", "bytes 0-1/9"), 206)
	dated := with(stored("Cache-Control", "max-age=60", "Last-Modified", at(-time.Hour), "Content-Range", "bytes 0-1/9"), 206)
	std.stores(t, []storing{
		{"§3.3: a 206 as part of the 200", asked("bytes=0-1"), part("bytes 0-1/9"), partial, ""},
		{"§3.3: not where parts are not kept", asked("bytes=0-1"), part("bytes 0-1/9"), StoreOptions{AnyStatus: true}, NotStatus},
		{"§3.3: to the end", asked("bytes=5-"), part("bytes 5-8/9"), partial, ""},
		{"§3.3: a suffix", asked("bytes=-2"), part("bytes 7-8/9"), partial, ""},
		{"§3.3: less than asked for", asked("bytes=0-8"), part("bytes 0-1/9"), partial, ""},
		{"RFC 9110 §15.3.7: nobody asked", get(), part("bytes 0-1/9"), partial, NotPartial},
		{"RFC 9110 §15.3.7: nobody asked for that", asked("bytes=5-"), part("bytes 0-1/9"), partial, NotPartial},
		{"RFC 9110 §14.2: another unit", asked("lines=0-1"), part("bytes 0-1/9"), partial, NotPartial},
		{"§3.3: without the whole length", asked("bytes=0-1"), part("bytes 0-1/*"), partial, NotPartial},
		{"§3.3: without Content-Range", asked("bytes=0-1"), with(minute(), 206), partial, NotPartial},
		{"§3.3: two of them", asked("bytes=0-1"), part("bytes 0-1/9", "Content-Range", "bytes 2-3/9"), partial, NotPartial},
		{"§3.3: impossible", asked("bytes=0-1"), part("bytes 1-0/9"), partial, NotPartial},
		{"§3.3: impossible", asked("bytes=0-1"), part("bytes 0-9/9"), partial, NotPartial},
		{"RFC 9110 §8.6: a length that contradicts", asked("bytes=0-1"), part("bytes 0-1/9", "Content-Length", "9"), partial, NotPartial},
		{"RFC 9110 §8.6: a length that agrees", asked("bytes=0-1"), part("bytes 0-1/9", "Content-Length", "2"), partial, ""},
		{"RFC 9110 §15.3.7.2: multipart", asked("bytes=0-1,5-6"), with(minute("Content-Type", "multipart/byteranges; boundary=x"), 206), partial, NotPartial},
		{"§3.4: a weak validator", asked("bytes=0-1"), weak, partial, NotPartial},
		{"§3.4: a strong date", asked("bytes=0-1"), dated, partial, ""},
		{"§3.3: an unsatisfied range", asked("bytes=90-"), with(minute("Content-Range", "bytes */9"), 416), partial, NotStatus},
	})
}

func TestWhole(t *testing.T) {
	part := with(stored("Content-Range", "bytes 5-9/100", "Content-Length", "5", "Etag", `"x"`), 206)
	whole, length, ok := Whole(part)
	if !ok || length != 100 || whole.Status != 200 || whole.Header.Get("Content-Length") != "100" ||
		whole.Header.Get("Content-Range") != "" || whole.Header.Get("Etag") != `"x"` {
		t.Errorf("§3.4: got %+v %d %v", whole, length, ok)
	}
	if part.Header.Get("Content-Range") == "" {
		t.Error("the part changed")
	}
	for _, tc := range []struct {
		s      Stored
		length int64
		ok     bool
	}{
		{stored("Content-Length", "7"), 7, true},
		{stored(), -1, true},
		{stored("Content-Length", "7", "Content-Length", "8"), -1, true},
		{stored("Content-Length", "-7"), -1, true},
		{stored("Content-Length", "+7"), -1, true},
		{with(stored("Content-Range", "bytes 5-9/*"), 206), -1, false},
		{with(stored("Content-Range", "bytes 5-9/100", "Content-Length", "100"), 206), -1, false},
		{with(stored(), 206), -1, false},
		{with(stored("Content-Range", "bytes */7"), 416), -1, false},
		{with(stored("Content-Length", "7"), 404), -1, false},
	} {
		if _, length, ok := Whole(tc.s); length != tc.length || ok != tc.ok {
			t.Errorf("%d %v: got %d %v, want %d %v", tc.s.Status, tc.s.Header, length, ok, tc.length, tc.ok)
		}
	}
}

func TestPartOf(t *testing.T) {
	tagged := stored("Etag", `"x"`, "Last-Modified", at(-time.Hour), "Content-Encoding", "gzip")
	dated := stored("Last-Modified", at(-time.Hour))
	for _, tc := range []struct {
		clause string
		whole  Stored
		status int
		part   []string
		ok     bool
	}{
		{"§3.4: the same strong tag", tagged, 206, []string{"Etag", `"x"`, "Content-Encoding", "gzip"}, true},
		{"§3.4: another", tagged, 206, []string{"Etag", `"y"`, "Content-Encoding", "gzip"}, false},
		{"§3.4: a weak one", tagged, 206, []string{"Etag", `W/"x"`, "Content-Encoding", "gzip"}, false},
		{"§3.4: none, although the date agrees", tagged, 206, []string{"Last-Modified", at(-time.Hour), "Content-Encoding", "gzip"}, false},
		{"§3.4: two weak ones", stored("Etag", `W/"x"`), 206, []string{"Etag", `W/"x"`}, false},
		{"§3.4: a strong date", dated, 206, []string{"Last-Modified", at(-time.Hour)}, true},
		{"§3.4: another date", dated, 206, []string{"Last-Modified", at(-2 * time.Hour)}, false},
		{"§3.4: a date, and a tag that was not there", dated, 206, []string{"Last-Modified", at(-time.Hour), "Etag", `"x"`}, false},
		{"RFC 9110 §8.8.2.2: a weak date", stored("Last-Modified", at(0)), 206, []string{"Last-Modified", at(0)}, false},
		{"§3.4: no validator", stored(), 206, nil, false},
		{"RFC 9110 §8.4: another coding", tagged, 206, []string{"Etag", `"x"`}, false},
		{"RFC 9110 §15.3.7: a 200 is no part", tagged, 200, []string{"Etag", `"x"`, "Content-Encoding", "gzip"}, false},
		{"RFC 9110 §15.3.7: nor is a 416", tagged, 416, []string{"Etag", `"x"`, "Content-Encoding", "gzip"}, false},
	} {
		part := with(stored(append([]string{"Content-Range", "bytes 5-9/100"}, tc.part...)...), tc.status)
		r, ok := PartOf(tc.whole, 100, part)
		if ok != tc.ok || ok && r != (httpheader.Range{From: 5, To: 10}) {
			t.Errorf("%s: got %v %v", tc.clause, r, ok)
		}
	}
	for contentRange, ok := range map[string]bool{"bytes 5-9/100": true, "bytes 5-9/101": false, "bytes 5-9/*": false, "bytes */100": false, "": false} {
		if _, got := PartOf(stored("Etag", `"x"`), 100, with(stored("Etag", `"x"`, "Content-Range", contentRange), 206)); got != ok {
			t.Errorf("RFC 9110 §14.4: %q of 100 bytes: %v", contentRange, got)
		}
	}
}

// RFC 9111 §3.4: the header of a part updates that of the whole, but not what
// makes it the head of a part.
func TestCombinedHeader(t *testing.T) {
	later := t0.Add(time.Minute)
	got := std.Freshened(minute("Content-Length", "100"), by(header("Content-Range", "bytes 5-9/100", "Content-Length", "5",
		"Etag", `"x"`, "Cache-Control", "max-age=5", "Date", at(time.Minute)), later, later))
	equalHeader(t, "§3.4", got.Header, map[string]string{
		"Content-Range": "", "Content-Length": "100", "Cache-Control": "max-age=5", "Date": at(time.Minute),
	})
}

// RFC 9111 §3.3: a part alone answers nothing.
func TestAPartAloneIsNotServed(t *testing.T) {
	part := with(minute("Content-Range", "bytes 0-1/9"), 206)
	if v := std.Decide(get(), &part, t0); v.Action != Fetch || v.Reason != ReasonPartial {
		t.Errorf("got %+v", v)
	}
}

func TestWholeLength(t *testing.T) {
	for _, tt := range []struct {
		status int
		fields []string // name, value, ...
		length int64
		entire bool
	}{
		{200, []string{"Content-Length", "10"}, 10, true},
		{200, nil, -1, true},
		{404, []string{"Content-Length", "10"}, 10, true},
		{204, nil, 0, true},
		{206, []string{"Content-Range", "bytes 0-9/10", "Content-Length", "10"}, 10, true},
		{206, []string{"Content-Range", "bytes 0-8/10", "Content-Length", "9"}, 10, false},
		{206, []string{"Content-Range", "bytes 1-9/10"}, 10, false},
		{206, []string{"Content-Range", "bytes 0-9/*"}, -1, false},
		{206, []string{"Content-Range", "bytes 0-9/10", "Content-Length", "9"}, -1, false},
		{206, nil, -1, false},
	} {
		h := http.Header{}
		for i := 0; i < len(tt.fields); i += 2 {
			h.Set(tt.fields[i], tt.fields[i+1])
		}
		s := Stored{Status: tt.status, Header: h}
		if length, entire := WholeLength(s), Entire(s); length != tt.length || entire != tt.entire {
			t.Errorf("%d %v: %d, %v", tt.status, tt.fields, length, entire)
		}
	}
}
