package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/policy/httpheader"
	"shatabdi/proxy/small"
)

const half = large / 2

// inverted has no byte in common with s.
func inverted(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = ^b[i]
	}
	return string(b)
}

// begins reads the first half of url, and breaks off.
func (n *node) begins(url, client string) {
	n.t.Helper()
	res, err := n.client().Do(request(n.t, "GET", url, "User-Agent: "+client))
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, res.Body, half); err != nil {
		n.t.Fatal(err)
	}
	res.Body.Close()
	eventually(n.t, "nothing is on its way", func() bool { return n.metric("shatabdi_requests_in_flight") == 0 })
}

// An object that changes between two requests of one download, each of them without
// If-Range: the client gets no bytes of the other version, whichever way they come.
func TestNoTransferIsOfTwoVersions(t *testing.T) {
	was, is := body(large), inverted(body(large))+"longer"
	rest := fmt.Sprintf("Range: bytes=%d-", half)
	for name, c := range map[string]struct {
		control string                    // of the origin's answers
		then    func(n *node, url string) // after the change
		is      string                    // if not is
	}{
		"stored and stale":   {control: "max-age=0"},
		"purged":             {control: "max-age=60", then: func(n *node, u string) { n.do(request(n.t, "PURGE", u)) }},
		"not to be stored":   {control: "no-store"},
		"known by another":   {control: "max-age=0", then: func(n *node, u string) { n.sum(u) }},
		"of the same length": {control: "max-age=0", is: inverted(was)},
		"now shorter":        {control: "max-age=0", is: is[:half-1]}, // 416 would say that all is there
		"now small":          {control: "max-age=0", is: is[:1000]},
	} {
		t.Run(name, func(t *testing.T) {
			is := is
			if c.is != "" {
				is = c.is
			}
			o := newStore(t, was)
			o.set("Cache-Control", c.control)
			n, _ := startReal(t, newDisk(t))
			n.cfg.AllowPurge = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			url := o.url + "/x.bin"
			n.begins(url, "wget")
			if res, got := n.get(url, "User-Agent: wget", rest); res.StatusCode != 206 || got != was[half:] {
				t.Errorf("before the change: %s with %d bytes", res.Status, len(got))
			}
			n.begins(url, "wget")
			o.becomes(is, `"2"`)
			n.do(request(t, "HEAD", url, "User-Agent: wget")) // as curl -I: it begins nothing
			if c.then != nil {
				c.then(n, url)
			}
			for range 2 {
				if res, got := n.get(url, "User-Agent: wget", rest); res.StatusCode != 412 {
					t.Errorf("the rest of another version: %s, %.20q", res.Status, got)
				}
			}
			wantRest, status := is[min(half, len(is)):], 206
			if wantRest == "" {
				status = 416
			}
			for _, fields := range [][]string{
				{"User-Agent: curl", rest}, // another client
				{"User-Agent: wget", fmt.Sprintf("Range: bytes=-%d", max(1, len(wantRest)))},
				{"User-Agent: wget", rest, `If-Range: "2"`},
			} {
				res, got := n.get(url, fields...)
				if status == 206 && (res.StatusCode != 206 || got != wantRest) || res.StatusCode == 412 {
					t.Errorf("%v: %s with %d bytes", fields, res.Status, len(got))
				}
			}
			if res, got := n.get(url, "User-Agent: wget"); res.StatusCode != 200 || got != is {
				t.Errorf("anew: %s with %d bytes", res.Status, len(got))
			}
			if res, _ := n.get(url, "User-Agent: wget", rest); res.StatusCode != status {
				t.Errorf("after that: %s, want %d", res.Status, status)
			}
		})
	}
}

// The object is another one from the middle of the fill on. A client's body breaks
// off, and then there is no rest; who begins anew has the new one whole.
func TestObjectChangesDuringTheFill(t *testing.T) {
	was, is := body(large), inverted(body(large))
	o := newStore(t, was)
	var first atomic.Bool
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		if !first.Swap(true) {
			w.Header().Set("Content-Length", fmt.Sprint(large))
			io.WriteString(w, was[:half])
			o.becomes(is, `"2"`)
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(is))
	})
	n, _ := startReal(t, newDisk(t))
	url := o.url + "/x.bin"
	res, err := n.client().Do(request(t, "GET", url, "User-Agent: wget"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil || string(got) != was[:len(got)] {
		t.Fatalf("%d bytes, %v; want a beginning of the first version", len(got), err)
	}
	if res, _ := n.get(url, "User-Agent: wget", fmt.Sprintf("Range: bytes=%d-", len(got))); res.StatusCode != 412 {
		t.Errorf("the rest: %s", res.Status)
	}
	if _, got := n.get(url, "User-Agent: wget"); got != is {
		t.Errorf("anew: %d bytes", len(got))
	}
}

// A slow client has the version that it began with to its end, while others have
// the new one, and its node forgets the old one.
func TestSlowClientKeepsItsVersion(t *testing.T) {
	was, is := body(2*large), inverted(body(2*large)) // more than sockets hold
	o := newStore(t, was)
	o.set("Cache-Control", "max-age=0")
	n, _ := startReal(t, newDisk(t))
	url := o.url + "/x.bin"
	n.sum(url)
	n.whole(url)
	res, err := n.client().Do(request(t, "GET", url, "User-Agent: slow"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	begin := make([]byte, 1000)
	io.ReadFull(res.Body, begin)
	o.becomes(is, `"2"`)
	if _, got := n.get(url, "User-Agent: slow"); got != is {
		t.Error("who comes later has not the new one")
	}
	// It runs still, so that is what the client may be reading: no telling.
	if res, _ := n.get(url, "User-Agent: slow", fmt.Sprintf("Range: bytes=%d-", half)); res.StatusCode != 412 {
		t.Errorf("a range beside it: %s", res.Status)
	}
	if rest, err := io.ReadAll(res.Body); err != nil || string(begin)+string(rest) != was {
		t.Errorf("the slow one: %d bytes, %v", len(begin)+len(rest), err)
	}
	if res, _ := n.get(url, "User-Agent: slow", fmt.Sprintf("Range: bytes=%d-", half)); res.StatusCode != 206 {
		t.Errorf("a range after it: %s", res.Status)
	}
}

func TestPhaseOfARequest(t *testing.T) {
	for fields, want := range map[string]phase{
		"":                                 anew,
		"Range: bytes=0-":                  anew,
		"Range: bytes=5-":                  goesOn,
		"Range: Bytes=5-9":                 goesOn,
		"Range: bytes= 5-9, 20-":           goesOn,
		"Range: bytes=-5":                  apart,
		"Range: lines=5-":                  apart,
		"Range: bytes=5-\nIf-Range: \"1\"": apart,
	} {
		r := request(t, "GET", "http://x/", strings.Split(fields, "\n")...)
		if got, _ := phaseOf(r); got != want {
			t.Errorf("%q: %v, want %v", fields, got, want)
		}
		r.Method = "HEAD"
		if got, _ := phaseOf(r); got != apart {
			t.Errorf("HEAD, %q: %v", fields, got)
		}
	}
}

// However many clients come, a bounded number is remembered, the latest of all.
func TestTransfersAreBounded(t *testing.T) {
	ts := newTransfers()
	v := &visit{exchange: &exchange{r: request(t, "GET", "http://x/")}}
	e := edition{length: 100, tag: `"1"`}
	for i := range 3 * transfersMax {
		if _, err := ts.sends(v, fmt.Sprint(i), e, true, httpheader.Range{To: 100}, time.Now(), false); err != nil {
			t.Fatal(err)
		}
		v.sent.end(50, time.Now())
	}
	if n := len(ts.young) + len(ts.old); n > 2*transfersMax {
		t.Errorf("%d are remembered", n)
	}
	v.r.Header.Set("Range", "bytes=50-")
	other := edition{length: 100, tag: `"2"`}
	if _, err := ts.sends(v, fmt.Sprint(3*transfersMax-1), other, true, httpheader.Range{From: 50, To: 100}, time.Now(), false); err == nil {
		t.Error("the latest is forgotten")
	}
	late := time.Now().Add(transferLife + time.Second)
	if _, err := ts.sends(v, fmt.Sprint(3*transfersMax-1), other, true, httpheader.Range{From: 50, To: 100}, late, false); err != nil {
		t.Error("a day later:", err)
	}
	v.sent.end(1, late)
	if all := ts.ofLocked(0); !slices.Equal(all, nil) {
		t.Errorf("%v", all)
	}
}

// answered is one answer of which n bytes were sent.
type answered struct {
	version  int
	fields   string // of the request
	from, to int64
	n        int64 // -1: it runs still
}

// Which ranges are refused once the object has changed: those with which a download
// goes on that broke off, and no others.
func TestRangesOfAChangedObject(t *testing.T) {
	const mb = 1 << 20
	get := func(version int, n int64) answered { return answered{version, "", 0, 100 * mb, n} }
	part := func(version int, from, to int64) answered {
		return answered{version, fmt.Sprintf("Range: bytes=%d-%d", from, to-1), from, to, to - from}
	}
	for name, c := range map[string]struct {
		before []answered
		refuse []int64 // in MiB, from where version 2 is asked for
		answer []int64
		closed bool // to an end that the request names
		last   bool // and that is the object's
	}{
		"a download broke off":       {before: []answered{get(1, 50*mb)}, refuse: []int64{1, 42, 45, 50}, answer: []int64{51, 90}},
		"and parts are asked for":    {before: []answered{get(1, 50*mb)}, refuse: []int64{1, 30, 42, 45, 50}, answer: []int64{51, 90}, closed: true},
		"its last bytes may be lost": {before: []answered{get(1, 100*mb)}, refuse: []int64{92, 99}, answer: []int64{50, 91, 100}},
		"it has all, and reads":      {before: []answered{get(1, 100*mb)}, answer: []int64{1, 50, 92, 99}, closed: true},
		"and its client forgot some": {before: []answered{get(1, 100*mb)}, refuse: []int64{1, 50, 99}, last: true},
		"a look at its beginning":    {before: []answered{get(1, 3*mb)}, refuse: []int64{1, 2, 3}, answer: []int64{4}},
		"and then another one":       {before: []answered{get(1, 3*mb)}, refuse: []int64{1, 2, 3}, answer: []int64{4}, closed: true},
		"in segments": {
			before: []answered{part(1, 0, 20*mb), {1, "Range: bytes=41943040-62914559", 40 * mb, 60 * mb, 10 * mb}},
			refuse: []int64{5, 15, 20, 30, 40, 45, 50}, answer: []int64{51, 60},
		},
		"in segments, of which one goes on": {
			before: []answered{part(1, 0, 20*mb), {1, "Range: bytes=41943040-62914559", 40 * mb, 60 * mb, 10 * mb}},
			refuse: []int64{5, 15, 20, 30, 40, 45, 50}, answer: []int64{51, 60}, closed: true,
		},
		"in segments, of which one runs": {
			before: []answered{part(1, 0, 20*mb), {1, "Range: bytes=41943040-62914559", 40 * mb, 60 * mb, -1}},
			refuse: []int64{5, 20, 61, 80}, closed: true,
		},
		"in pieces":                  {before: []answered{part(1, 0, 2*mb), part(1, 2*mb, 4*mb)}, refuse: []int64{2, 3, 4}, answer: []int64{5}},
		"read here and there":        {before: []answered{part(1, 96*mb, 100*mb), part(1, 50*mb, 52*mb)}, answer: []int64{40, 50, 51, 52, 96, 98, 99}},
		"read here and then there":   {before: []answered{part(1, 50*mb, 52*mb), part(1, 90*mb, 92*mb)}, refuse: []int64{92}, answer: []int64{40, 50, 52, 90, 93}},
		"and the new one too":        {before: []answered{part(1, 50*mb, 52*mb), part(2, 50*mb, 52*mb)}, answer: []int64{50, 52}},
		"given up":                   {before: []answered{get(1, 50*mb), get(2, 100*mb)}, answer: []int64{20, 50}},
		"given up for a look":        {before: []answered{get(1, 50*mb), get(2, 3*mb)}, refuse: []int64{1, 20, 50}, answer: []int64{3, 51}},
		"a look at what is the same": {before: []answered{get(1, 50*mb), get(1, 3*mb)}, refuse: []int64{3, 20, 50}, answer: []int64{51}},
		"all of it, and then some":   {before: []answered{get(1, 100*mb), get(1, 50*mb)}, refuse: []int64{20, 50}, answer: []int64{51}},
		"not given up for a piece of what was there before": {before: []answered{get(2, 100*mb), get(1, 3*mb), part(2, 90*mb, 92*mb)}, refuse: []int64{1, 2, 3}, answer: []int64{4, 50}},
		"given up for pieces":                               {before: []answered{get(1, 50*mb), part(2, 0, 4*mb), part(2, 4*mb, 8*mb)}, answer: []int64{1, 20, 50}},
		"not given up for one piece":                        {before: []answered{get(1, 50*mb), part(2, 0, 4*mb)}, refuse: []int64{1, 20, 50}, answer: []int64{4, 51}},
		"in parts, anew":                                    {before: []answered{get(1, 50*mb), get(2, -1)}, answer: []int64{20, 50, 60}},
		"another is slow":                                   {before: []answered{get(1, -1)}, refuse: []int64{1, 50, 99}},
		"another is slow, this is not":                      {before: []answered{get(1, -1), get(2, 50*mb)}, refuse: []int64{20, 45, 60}, answer: []int64{50}},
	} {
		for _, asked := range slices.Concat(c.refuse, c.answer) {
			ts, now := newTransfers(), time.Now()
			for _, b := range c.before {
				v := &visit{exchange: &exchange{r: request(t, "GET", "http://x/")}}
				if b.fields != "" {
					v.r = request(t, "GET", "http://x/", b.fields)
				}
				e := edition{length: 100 * mb, tag: fmt.Sprint(b.version)}
				if _, err := ts.sends(v, "x", e, true, httpheader.Range{From: b.from, To: b.to}, now, false); err != nil {
					t.Fatalf("%s: %+v: %v", name, b, err)
				}
				if b.n >= 0 {
					v.sent.end(b.n, now)
				}
			}
			field := fmt.Sprintf("Range: bytes=%d-", asked*mb)
			switch {
			case c.last:
				field += fmt.Sprint(100*mb - 1)
			case c.closed:
				field += fmt.Sprint(asked*mb + 99)
			}
			v := &visit{exchange: &exchange{r: request(t, "GET", "http://x/", field)}}
			_, err := ts.sends(v, "x", edition{length: 100 * mb, tag: "2"}, true, httpheader.Range{From: asked * mb, To: 100 * mb}, now, true)
			if want := slices.Contains(c.refuse, asked); (err != nil) != want {
				t.Errorf("%s: %d MiB: %v, want it refused: %v", name, asked, err, want)
			}
		}
	}
}

// One client's variants are objects of their own.
func TestTransfersOfVariants(t *testing.T) {
	ts, now := newTransfers(), time.Now()
	visitOf := func(fields ...string) *visit {
		r := request(t, "GET", "http://x/", fields...)
		return &visit{exchange: &exchange{r: r}, req: policy.Request{Header: r.Header}}
	}
	send := func(v *visit, tag string, from int64) error {
		_, err := ts.sends(v, "x", edition{length: 100, tag: tag, vary: []string{"Accept-Language"}}, true, httpheader.Range{From: from, To: 100}, now, false)
		return err
	}
	v := visitOf("Accept-Language: de")
	if err := send(v, "de", 0); err != nil {
		t.Fatal(err)
	}
	v.sent.end(50, now)
	v = visitOf("Accept-Language: fr", "Range: bytes=50-")
	if err := send(v, "fr", 50); err != nil {
		t.Error("another variant:", err)
	}
	v.sent.end(50, now)
	v = visitOf("Accept-Language: fr")
	if err := send(v, "fr", 0); err != nil {
		t.Fatal(err)
	}
	v.sent.end(50, now)
	if err := send(visitOf("Accept-Language: de", "Range: bytes=50-"), "de again", 50); err == nil {
		t.Error("a variant begun anew made this one forgotten")
	}
}

// Who has begun anew has given up what broke off before, also where what it gets is
// small and in memory.
func TestTransferGivenUpForASmallOne(t *testing.T) {
	was := body(large)
	o := newStore(t, was)
	o.set("Cache-Control", "max-age=0")
	n, _ := startReal(t, newDisk(t), func(c *Config) { c.Small = small.New(small.Config{Size: 1 << 20}) })
	url := o.url + "/x.bin"
	n.begins(url, "wget")
	o.becomes("small", `"2"`)
	for range 2 {
		if res, got := n.get(url, "User-Agent: wget"); got != "small" {
			t.Fatalf("%s, %.20q", res.Status, got)
		}
	}
	o.becomes(inverted(was), `"3"`)
	res, got := n.get(url, "User-Agent: wget", fmt.Sprintf("Range: bytes=%d-", half))
	if res.StatusCode != 206 || got != inverted(was)[half:] {
		t.Errorf("%s with %d bytes", res.Status, len(got))
	}
}

// Who goes on with what broke off may begin with a request for all, and let go of it: what
// is asked for beside that waits until it is known whether that was a new beginning.
func TestRangesBesideANewBeginning(t *testing.T) {
	was, is := body(2*large), inverted(body(2*large)) // more than sockets hold
	for name, letGo := range map[string]bool{"which is let go of": true, "which goes on": false} {
		t.Run(name, func(t *testing.T) {
			o := newStore(t, was)
			o.set("Cache-Control", "max-age=0")
			n, _ := startReal(t, newDisk(t))
			n.patienceLook = 10 * time.Millisecond
			if letGo {
				n.patienceLook = time.Minute
			}
			url := o.url + "/x.bin"
			n.begins(url, "aria2")
			o.becomes(is, `"2"`)
			all, err := n.client().Do(request(t, "GET", url, "User-Agent: aria2"))
			if err != nil {
				t.Fatal(err)
			}
			defer all.Body.Close()
			if letGo {
				time.AfterFunc(50*time.Millisecond, func() { all.Body.Close() })
			}
			res, got := n.get(url, "User-Agent: aria2", fmt.Sprintf("Range: bytes=%d-%d", half-1000, 2*large-1))
			switch {
			case letGo && res.StatusCode != 412:
				t.Errorf("%s with %d bytes of the other version", res.Status, len(got))
			case !letGo && (res.StatusCode != 206 || got != is[half-1000:]):
				t.Errorf("%s with %d bytes", res.Status, len(got))
			}
		})
	}
}

// Versions that come and go do not add up.
func TestVersionsOfATransferAreBounded(t *testing.T) {
	ts := newTransfers()
	v := &visit{exchange: &exchange{r: request(t, "GET", "http://x/")}}
	for i := range 10 * versionsMax {
		e := edition{length: 100, tag: fmt.Sprint(i)}
		if _, err := ts.sends(v, "x", e, true, httpheader.Range{To: 100}, time.Now(), false); err != nil {
			t.Fatal(err)
		}
		v.sent.end(50, time.Now())
	}
	for _, all := range ts.young {
		if len(all) != versionsMax || all[versionsMax-1].of.tag != fmt.Sprint(10*versionsMax-1) {
			t.Errorf("%d are remembered, the last of them %s", len(all), all[len(all)-1].of.tag)
		}
	}
}
