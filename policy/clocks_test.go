package policy

import (
	"testing"
	"time"
)

// Times that another clock counted, or counted wrong, and what is certain all the same.
func TestAgeByOtherClocks(t *testing.T) {
	const now = 10 * time.Second // after t0
	for _, tt := range []struct {
		what string
		s    Stored
		age  time.Duration
	}{
		{"by this clock", stored(), now},
		{"in doubt by a second", Stored{Doubt: time.Second}, now + time.Second},
		{"not known", Stored{Doubt: Unknown}, Unknown},
		{"dated by a clock that is right, where ours is known to be five minutes ahead", Stored{Ahead: 5 * time.Minute, Header: header("Date", at(-5*time.Minute))}, now},
		{"and behind", Stored{Ahead: -5 * time.Minute, Header: header("Date", at(5*time.Minute-3*time.Second))}, now + 3*time.Second},
		{"without a date", Dated(Stored{Ahead: 5 * time.Minute, Header: header(), ResponseTime: t0.Add(time.Millisecond), RequestTime: t0}), now},
	} {
		s := tt.s
		if s.Header == nil {
			s.Header = header("Date", at(0))
		}
		if s.ResponseTime.IsZero() {
			s.RequestTime, s.ResponseTime = t0, t0
		}
		if got := CurrentAge(s, t0.Add(now)); got != tt.age {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.age)
		}
	}
}

// What is in doubt is older, whoever asks; a rule's cache_valid is no exception.
func TestDoubtIsNeverFresh(t *testing.T) {
	valid := Caching{Valid: []Validity{{For: time.Minute}}}
	for _, c := range []*Caching{std, &valid} {
		for _, tt := range []struct {
			fields []string
			doubt  time.Duration
			want   Action
		}{
			{[]string{"Cache-Control", "max-age=60"}, 0, Serve},
			{[]string{"Cache-Control", "max-age=60"}, 30 * time.Second, Serve},
			{[]string{"Cache-Control", "max-age=60"}, 60 * time.Second, Revalidate},
			{[]string{"Cache-Control", "max-age=60"}, Unknown, Revalidate},
			{[]string{"Cache-Control", "max-age=60, stale-while-revalidate=60"}, 60 * time.Second, ServeAndRevalidate},
			{[]string{"Cache-Control", "max-age=60, stale-while-revalidate=60"}, Unknown, Revalidate},
			{[]string{"Cache-Control", "max-age=60, immutable"}, Unknown, Revalidate},
		} {
			s := stored(append(tt.fields, "Etag", `"x"`)...)
			s.Doubt = tt.doubt
			if d := c.Decide(Request{Method: "GET"}, &s, t0); d.Action != tt.want {
				t.Errorf("%v, in doubt by %v: %v", tt.fields, tt.doubt, d.Action)
			}
			if tt.doubt == Unknown && c.StaleOn(Unreachable, Request{Method: "GET"}, &s, t0) {
				t.Errorf("%v of unknown age is served", tt.fields)
			}
		}
	}
}

// Older is what is certain.
func TestOlderByOtherClocks(t *testing.T) {
	dated := func(d time.Duration) Stored { return stored("Date", at(d)) }
	undated := func(d, doubt time.Duration) Stored {
		return Stored{Header: header("Date", at(d)), ResponseTime: t0.Add(d), Undated: true, Doubt: doubt}
	}
	for _, tt := range []struct {
		what string
		a, b Stored
		want bool
	}{
		{"a second by the origin's clock", dated(0), dated(time.Second), true},
		{"the same", dated(0), dated(0), false},
		{"the reverse", dated(time.Second), dated(0), false},
		{"arrival counts where there is no date", undated(0, 0), undated(time.Second, 0), true},
		{"within the doubt nothing is certain", undated(0, time.Second), undated(time.Second, 0), false},
		{"beyond it all is", undated(0, time.Second), undated(3*time.Second, time.Second), true},
		{"of an unknown clock nothing", undated(0, Unknown), undated(time.Hour, 0), false},
	} {
		if got := Older(&tt.a, &tt.b); got != tt.want {
			t.Errorf("%s: %t", tt.what, got)
		}
	}
}
