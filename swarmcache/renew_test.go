package swarmcache_test

import (
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// What one node learns from the origin the others take over: fresher facts, and
// another version. What is older there, or not there, is no news.
func TestRenew(t *testing.T) {
	dir := cachetest.NewDirectory()
	open := func(id swarmcache.NodeID) *swarmcache.Cache {
		self := swarmcache.Node{ID: id}
		c, err := swarmcache.Open(swarmcache.Config{
			Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: dir.Node(self), Node: self, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	said := func(at time.Time) policy.Stored {
		return policy.Stored{Status: 200, Header: http.Header{"Etag": {`"1"`}, "Date": {at.UTC().Format(http.TimeFormat)}}, RequestTime: at, ResponseTime: at}
	}
	a, b, m, now := open("a"), open("b"), newMemory("m", 1<<20), time.Now().Truncate(time.Second)
	at := fill(t, a, m)
	defer at.Close()
	there := fill(t, b, m)
	defer there.Close()
	eventually(t, func() bool {
		v, _, err := dir.Node(swarmcache.Node{}).Lookup(t.Context(), "m")
		return err == nil && v != nil
	})

	for _, s := range []struct {
		at   time.Time
		news bool
	}{{now.Add(time.Hour), true}, {now.Add(time.Hour), false}, {now.Add(2 * time.Hour), true}} {
		if s.news {
			if err := a.Refresh(t.Context(), at, said(s.at)); err != nil {
				t.Fatal(err)
			}
		}
		news, err := b.Renew(t.Context(), there)
		if err != nil || news != s.news {
			t.Errorf("facts of %v: news %v, %v", s.at, news, err)
		}
		if got := there.Version().Stored.ResponseTime; !got.Equal(s.at) {
			t.Errorf("facts of %v are those of %v", s.at, got)
		}
		if rec, err := b.Record(there.Version().ID); err != nil || !rec.Version.Stored.ResponseTime.Equal(s.at) {
			t.Errorf("the catalogue has %v, %v", rec.Version.Stored.ResponseTime, err)
		}
	}

	v := m.version()
	v.Validator, v.Stored = `"2"`, said(now.Add(3*time.Hour))
	obj, err := a.Fill(t.Context(), v, true, nil, m)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	if news, err := b.Renew(t.Context(), there); !news || err != nil {
		t.Errorf("another version: %v, %v", news, err)
	}
	if got, err := b.Local("m", m); err != nil || got.Version().ID != obj.Version().ID {
		t.Errorf("it is not selected: %v", err)
	} else {
		got.Close()
	}

	dir.SetAvailable(false)
	if news, err := b.Renew(t.Context(), there); news || !errors.Is(err, swarmcache.ErrUnavailable) {
		t.Errorf("without a directory: %v, %v", news, err)
	}
}
