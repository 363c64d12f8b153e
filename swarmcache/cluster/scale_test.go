package cluster_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/policy/httpheader"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/clock"
)

// skewed is a member whose clock is ahead, as it knows within a doubt.
type skewed struct {
	*member
	ahead   time.Duration
	reading atomic.Pointer[clock.Reading]
}

func joinSkewed(t *testing.T, prefix string, i int, ahead, doubt time.Duration) *skewed {
	s := &skewed{ahead: ahead}
	s.reading.Store(&clock.Reading{Scale: "one", Offset: -ahead, Doubt: doubt})
	cfg := config(prefix, i)
	cfg.Clock, cfg.Now = func() clock.Reading { return *s.reading.Load() }, s.now
	s.member = join(t, cfg)
	return s
}

func (s *skewed) now() time.Time { return time.Now().Add(s.ahead) }

// received is a response that came to s at a true time; dated, if the origin said so.
func (s *skewed) received(key policy.Key, etag string, at time.Time, dated bool) swarmcache.Version {
	st := policy.Stored{Status: 200, Header: http.Header{"Etag": {etag}, "Cache-Control": {"max-age=100"}}, RequestTime: at.Add(s.ahead), ResponseTime: at.Add(s.ahead), Ahead: s.ahead}
	if dated {
		st.Header.Set("Date", httpheader.FormatDate(at))
	}
	v := swarmcache.Version{Key: key, URL: string(key), Stored: policy.Dated(st), Validator: etag, Length: 1 << 20, PieceLen: 1 << 17}
	v.Identify()
	return v
}

func (s *skewed) age(v *swarmcache.Version) time.Duration {
	return policy.CurrentAge(v.Stored, s.now())
}

// Ages are right on every node, and never too small.
func TestAgesBetweenClocks(t *testing.T) {
	p, doubt := prefix(), 50*time.Millisecond
	nodes := []*skewed{joinSkewed(t, p, 1, 0, 0), joinSkewed(t, p, 2, 5*time.Minute, doubt), joinSkewed(t, p, 3, -5*time.Second, doubt)}
	for i, writer := range nodes {
		for _, dated := range []bool{true, false} {
			key := policy.Key("http://o/" + string(rune('a'+i)) + map[bool]string{true: "d", false: "u"}[dated])
			came := time.Now().Add(-30 * time.Second)
			v := writer.received(key, `"1"`, came, dated)
			noErr(t, writer.Publish(t.Context(), v))
			_, b, err := writer.OpenFill(t.Context(), swarmcache.FillRecord{Version: v, MaxSpan: 1, Opener: "x"})
			noErr(t, err)
			defer b.Leave(t.Context())
			for _, reader := range nodes {
				got, fill, err := reader.Lookup(t.Context(), key)
				noErr(t, err)
				for _, v := range []*swarmcache.Version{got, &fill.Version} {
					age, least := reader.age(v), time.Since(came)
					if age < least-time.Second && dated || age < least-2*time.Millisecond && !dated || age > least+2*time.Second || v.Scale != "" {
						t.Errorf("written %v ahead, read %v ahead, dated %t: age %v, is %v", writer.ahead, reader.ahead, dated, age, least)
					}
					if d, err := http.ParseTime(v.Stored.Header.Get("Date")); err != nil || !dated && !d.Equal(came.Truncate(time.Second)) {
						t.Errorf("Date is %v, it came at %v", d, v.Stored.ResponseTime)
					}
				}
			}
		}
	}
}

// What a node tells that does not know its clock, or knows it by another scale, is
// never fresh; what it knows of others likewise.
func TestUnknownClocksMeanRevalidate(t *testing.T) {
	p := prefix()
	a, b := joinSkewed(t, p, 1, 0, 0), joinSkewed(t, p, 2, -time.Hour, 0)
	noErr(t, a.Publish(t.Context(), a.received("http://o/a", `"1"`, time.Now(), true)))
	for _, r := range []clock.Reading{{}, {Scale: "two", Offset: time.Hour}} {
		b.reading.Store(&r)
		v, _, err := b.Lookup(t.Context(), "http://o/a")
		noErr(t, err)
		if v.Stored.Doubt != policy.Unknown {
			t.Errorf("%+v: in doubt by %v", r, v.Stored.Doubt)
		}
		c := policy.Caching{}
		if d := c.Decide(policy.Request{Method: "GET"}, &v.Stored, b.now()); d.Action != policy.Revalidate {
			t.Errorf("%+v: %v", r, d.Action)
		}
	}
	b.reading.Store(&clock.Reading{})
	noErr(t, b.Publish(t.Context(), b.received("http://o/b", `"1"`, time.Now(), true)))
	b.reading.Store(&clock.Reading{Scale: "one", Offset: time.Hour})
	for _, s := range []*skewed{a, b} {
		if v, _, err := s.Lookup(t.Context(), "http://o/b"); err != nil || v.Stored.Doubt != policy.Unknown {
			t.Errorf("%v, %+v", err, v)
		}
	}
	// The same facts by a clock that is known take their place, not the reverse.
	same := b.received("http://o/b", `"1"`, time.Now(), true)
	noErr(t, b.Publish(t.Context(), same))
	b.reading.Store(&clock.Reading{})
	noErr(t, b.Publish(t.Context(), same))
	if v, _, err := a.Lookup(t.Context(), "http://o/b"); err != nil || v.Stored.Doubt != 0 {
		t.Errorf("%v, %+v", err, v)
	}
}

// An older response never takes the place of a newer one, though the clock that dates
// it is minutes ahead; a newer one does, though its clock is behind.
func TestTheMostRecentCountsBetweenClocks(t *testing.T) {
	for _, dated := range []bool{true, false} {
		p := prefix()
		ahead, behind := joinSkewed(t, p, 1, 5*time.Minute, time.Millisecond), joinSkewed(t, p, 2, -5*time.Minute, time.Millisecond)
		now := time.Now()
		older, newer := ahead.received("http://o/a", `"1"`, now.Add(-10*time.Second), dated), behind.received("http://o/a", `"2"`, now, dated)
		noErr(t, ahead.Publish(t.Context(), older))
		noErr(t, behind.Publish(t.Context(), newer))
		if err := ahead.Publish(t.Context(), older); !errors.Is(err, swarmcache.ErrStale) {
			t.Errorf("dated %t: the older one takes its place again: %v", dated, err)
		}
		if v, _, err := ahead.Lookup(t.Context(), "http://o/a"); err != nil || v.ID != newer.ID {
			t.Errorf("dated %t: %v, %v", dated, err, v)
		}
	}
}

// Times of a scale that is over are not compared with those of the next: nothing is
// older or newer by them, and their small doubts do not keep the record.
func TestScalesAreNotCompared(t *testing.T) {
	p := prefix()
	a := joinSkewed(t, p, 1, 0, time.Millisecond)
	now := time.Now()
	publish := func(v swarmcache.Version, scale string, offset, doubt time.Duration) *swarmcache.Version {
		t.Helper()
		a.reading.Store(&clock.Reading{Scale: scale, Offset: offset, Doubt: doubt})
		v.Stored.Ahead = -offset
		noErr(t, a.Publish(t.Context(), v))
		got, _, err := a.Lookup(t.Context(), v.Key)
		noErr(t, err)
		return got
	}
	same := a.received("http://o/same", `"1"`, now, true)
	publish(same, "one", 0, time.Millisecond)
	if v := publish(same, "two", 0, 50*time.Millisecond); v.Stored.Doubt == policy.Unknown {
		t.Error("the record of the dead scale stays")
	}
	publish(a.received("http://o/undated", `"1"`, now.Add(-time.Minute), false), "one", 0, time.Millisecond)
	newer := a.received("http://o/undated", `"2"`, now, false)
	v := publish(newer, "two", -time.Hour, time.Millisecond)
	if v.ID != newer.ID || v.Stored.Doubt != policy.Unknown {
		t.Errorf("by times of two scales: %+v", v)
	}
	if v = publish(newer, "two", -time.Hour, time.Millisecond); v.Stored.Doubt == policy.Unknown {
		t.Error("the same once more is still in doubt")
	}
	_, b, err := a.OpenFill(t.Context(), swarmcache.FillRecord{Version: a.received("http://o/fill", `"1"`, now, false), MaxSpan: 1, Opener: "x"})
	noErr(t, err)
	defer b.Leave(t.Context())
	a.reading.Store(&clock.Reading{Scale: "three", Offset: -2 * time.Hour})
	next := a.received("http://o/fill", `"2"`, now, false)
	_, b, err = a.OpenFill(t.Context(), swarmcache.FillRecord{Version: next, MaxSpan: 1, Opener: "x"})
	noErr(t, err)
	defer b.Leave(t.Context())
	if _, fill, err := a.Lookup(t.Context(), "http://o/fill"); err != nil || fill.Version.ID != next.ID {
		t.Errorf("%v, the key leads to %+v", err, fill)
	}
}

// What a node received itself it knows by its own clock, whatever it knows of others.
func TestAnOpenersOwnTimes(t *testing.T) {
	p := prefix()
	for i, r := range []clock.Reading{{}, {Scale: "one", Offset: time.Minute, Doubt: time.Second}} {
		a := joinSkewed(t, p, 1+i, 0, 0)
		a.reading.Store(&r)
		v := a.received(policy.Key("http://o/"+string(rune('a'+i))), `"1"`, time.Now(), true)
		got, b, err := a.OpenFill(t.Context(), swarmcache.FillRecord{Version: v, MaxSpan: 1, Opener: "x"})
		noErr(t, err)
		defer b.Leave(t.Context())
		if s := got.Version.Stored; s.Doubt != 0 || !s.ResponseTime.Equal(v.Stored.ResponseTime) || got.Version.Scale != "" {
			t.Errorf("%+v: %+v", r, s)
		}
	}
}

// Whose clock was set since a response came does not know when it came.
func TestAClockWasSetSince(t *testing.T) {
	p := prefix()
	a, b := joinSkewed(t, p, 1, 0, 0), joinSkewed(t, p, 2, 0, 0)
	v := a.received("http://o/a", `"1"`, time.Now(), true) // when it was an hour behind, as it was told
	v.Stored.Ahead = -time.Hour
	noErr(t, a.Publish(t.Context(), v))
	if got, _, err := b.Lookup(t.Context(), v.Key); err != nil || got.Stored.Doubt < time.Hour {
		t.Errorf("%v, %+v", err, got)
	}
}

// When something was purged is told in the time of who hears it.
func TestPurgesBetweenClocks(t *testing.T) {
	p := prefix()
	a, b := joinSkewed(t, p, 1, -5*time.Minute, time.Millisecond), joinSkewed(t, p, 2, 0, time.Millisecond)
	noErr(t, a.Purge(t.Context(), swarmcache.Purge{ID: "1", Key: "http://o/a", At: a.now()}))
	told := make(chan swarmcache.Purge, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go b.Purges(ctx, func(s swarmcache.Standing) {
		if len(s.Purges) == 1 {
			told <- s.Purges[0]
			cancel()
		}
	})
	got := <-told
	if late := b.now().Sub(got.At); late < 0 || late > time.Minute || got.Doubt != 2*time.Millisecond || got.Scale != "" {
		t.Errorf("%v ago, %+v", late, got)
	}
}

// What is asked or begun in the first moment of a run waits for the clock, or every node
// would take it for stale; but not for ever.
func TestWhoHasJustStartedWaitsForTheClock(t *testing.T) {
	p := prefix()
	start := func(i int, learnt chan struct{}) *member {
		cfg := config(p, i)
		cfg.Clocked, cfg.Clock = learnt, func() clock.Reading {
			select {
			case <-learnt:
				return clock.Reading{Scale: "one"}
			default:
				return clock.Reading{}
			}
		}
		return join(t, cfg)
	}
	v := (&skewed{}).received("http://o/young", `"1"`, time.Now(), true)
	doubt := func(m *member) time.Duration {
		t.Helper()
		_, fill, err := m.Lookup(t.Context(), v.Key)
		noErr(t, err)
		return fill.Version.Stored.Doubt
	}
	late := make(chan struct{})
	opener := start(1, late)
	time.AfterFunc(100*time.Millisecond, func() { close(late) })
	_, b, err := opener.OpenFill(t.Context(), swarmcache.FillRecord{Version: v, MaxSpan: 1, Opener: "x"})
	noErr(t, err)
	defer b.Leave(t.Context())
	learns := make(chan struct{})
	reader := start(2, learns)
	time.AfterFunc(100*time.Millisecond, func() { close(learns) })
	if d := doubt(reader); d != 0 {
		t.Errorf("in doubt by %v", d)
	}
	never := start(3, make(chan struct{}))
	if d := doubt(never); d != policy.Unknown {
		t.Errorf("in doubt by %v without a clock", d)
	}
	begun := time.Now()
	if doubt(never); time.Since(begun) > 500*time.Millisecond {
		t.Errorf("waited %v when it had long joined", time.Since(begun))
	}
}
