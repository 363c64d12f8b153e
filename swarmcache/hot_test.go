package swarmcache_test

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// What clients use is hot, more so the more they do, and cools down when they do
// not. What lies there is not, and the parts of one download are one use.
func TestWhatIsUsedIsHot(t *testing.T) {
	now := time.Now()
	self := swarmcache.Node{ID: "me"}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: cachetest.NewDirectory().Node(self), Node: self,
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	var keys []policy.Key
	for i := range 3 {
		r, err := c.Put(t.Context(), fmt.Sprint(i), func(u *url.URL) policy.Key { return policy.Key(u.String()) }, strings.NewReader(fmt.Sprint("object ", i)))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, r.Version.Key)
	}
	use := func(i, times int, every time.Duration) {
		o, err := c.Local(keys[i], nil)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		for range times {
			o.Used()
			now = now.Add(every)
		}
	}
	is := func(want ...string) {
		t.Helper()
		var got []string
		for _, h := range c.Hot(10) {
			for i, k := range keys {
				if k == h.Key && h.URL != "" && h.Length == 8 {
					got = append(got, fmt.Sprintf("%d: %.1f", i, h.Heat))
				}
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	is()
	use(1, 20, time.Second/10)
	use(2, 3, 20*time.Second)
	is("2: 3.0", "1: 1.0")
	if h := c.Hot(1); len(h) != 1 {
		t.Errorf("%v", h)
	}
	now = now.Add(time.Hour)
	is("2: 1.5", "1: 0.5")
	use(1, 2, 20*time.Second)
	is("1: 2.5", "2: 1.5")
	now = now.Add(4 * time.Hour)
	is("1: 0.2") // 0.1 is where it ends
}
