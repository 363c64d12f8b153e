package small

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var rules policy.Caching

// version of key, in a language if one is named.
func version(key policy.Key, length int64, language string) swarmcache.Version {
	s := policy.Stored{Status: 200, Header: http.Header{"Etag": {`"1"`}}, ResponseTime: time.Now()}
	if language != "" {
		s.Header.Set("Vary", "Accept-Language")
		s.Selecting = http.Header{"Accept-Language": {language}}
	}
	return swarmcache.Version{Key: key, Stored: s, Length: length, Validator: `"1"`}
}

// epochs are those of all caches here.
var epochs swarmcache.Epochs

func asking(language string) http.Header { return http.Header{"Accept-Language": {language}} }

func put(t *testing.T, c *Cache, key policy.Key, body, language string) {
	t.Helper()
	if err := c.Put(version(key, 0, language), []byte(body), epochs.Mark(key)); err != nil {
		t.Fatal(err)
	}
}

// found is the body of what answers, "-" for none, "other" for another variant.
func found(c *Cache, key policy.Key, h http.Header) string {
	switch o, selected := c.Find(key, h, &rules); {
	case selected:
		return string(o.Bytes())
	case o != nil:
		return "other"
	}
	return "-"
}

func TestVariants(t *testing.T) {
	c := New(Config{Size: 1 << 20})
	put(t, c, "k", "de", "de")
	put(t, c, "k", "fr", "fr")
	put(t, c, "k", "de again", "de")
	for language, want := range map[string]string{"de": "de again", "fr": "fr", "en": "other"} {
		if got := found(c, "k", asking(language)); got != want {
			t.Errorf("%s: %q, want %q", language, got, want)
		}
	}
	o, _ := c.Find("k", asking("de"), &rules)
	o.Withdraw(t.Context())
	if de, fr := found(c, "k", asking("de")), found(c, "k", asking("fr")); de != "other" || fr != "fr" {
		t.Errorf("after one was withdrawn: %q, %q", de, fr)
	}
	for i := range 2 * maxVariants {
		put(t, c, "k", "x", fmt.Sprint("x-", i))
	}
	if got := found(c, "k", asking("fr")); got != "other" {
		t.Errorf("all are kept: %q", got)
	}
	if got := found(c, "k", asking(fmt.Sprint("x-", 2*maxVariants-1))); got != "x" {
		t.Errorf("the newest is gone: %q", got)
	}
	c.Forget("k")
	if got := found(c, "k", asking("fr")); got != "-" {
		t.Errorf("after Forget: %q", got)
	}
}

// What was begun before its key was forgotten does not come back.
func TestForgottenMeanwhile(t *testing.T) {
	for name, forget := range map[string]func(*Cache){"one": func(c *Cache) { c.Forget("k") }, "all": (*Cache).ForgetAll} {
		c := New(Config{Size: 1 << 20})
		mark := epochs.Mark("k")
		o, err := c.Open(version("k", 4, ""), mark)
		if err != nil {
			t.Fatal(err)
		}
		mark.Advance()
		forget(c)
		if err := o.Fill(strings.NewReader("body")); err != nil || string(o.Bytes()) != "body" {
			t.Errorf("%s: who reads it already gets %q, %v", name, o.Bytes(), err)
		}
		if err := c.Put(version("k", 0, ""), []byte("body"), mark); !errors.Is(err, ErrForgotten) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Open(version("k", 4, ""), mark); !errors.Is(err, ErrForgotten) {
			t.Errorf("%s: %v", name, err)
		}
		o.Refresh(t.Context(), o.Version().Stored)
		if got := found(c, "k", nil); got != "-" || c.Coming() != 0 {
			t.Errorf("%s: %q, %d bytes coming", name, got, c.Coming())
		}
	}
}

// An answer that took long to come does not take the place of a more recent one.
func TestMoreRecentResponseStays(t *testing.T) {
	c := New(Config{Size: 1 << 20})
	mark := epochs.Mark("k")
	slow := version("k", 0, "")
	slow.Stored.Header.Set("Date", slow.Stored.ResponseTime.Add(-time.Minute).UTC().Format(http.TimeFormat))
	put(t, c, "k", "new", "")
	if err := c.Put(slow, []byte("old"), mark); !errors.Is(err, ErrOutdated) {
		t.Errorf("the older one is kept: %v", err)
	}
	if got := found(c, "k", nil); got != "new" {
		t.Errorf("%q, want the more recent one", got)
	}
}

// Variants that are here weigh what they weigh, though another is on its way, and
// so do the fields that select them.
func TestWeightOfVariants(t *testing.T) {
	c := New(Config{Size: 1 << 20})
	for i := range 8 {
		put(t, c, "k", strings.Repeat("x", 1000), strings.Repeat(fmt.Sprint(i), 9000))
	}
	if _, err := c.Open(version("k", 2, "on its way"), epochs.Mark("k")); err != nil {
		t.Fatal(err)
	}
	c.entries.CleanUp()
	if got := c.entries.WeightedSize(); got < 8*10_000 {
		t.Errorf("8 objects of 1000 bytes, selected by 9000 each, weigh %d", got)
	}
}

func TestBounds(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := New(Config{Size: 1 << 20, Registerer: reg})
	if c.Takes(1<<18+1) || !c.Takes(1<<18) || (*Cache)(nil).Takes(0) {
		t.Error("takes too much, or too little")
	}
	for i := range 1000 {
		put(t, c, policy.Key(fmt.Sprint("k", i)), strings.Repeat("x", 10_000), "")
	}
	c.entries.CleanUp()
	if got := c.entries.WeightedSize(); got > 1<<20 || got < 1<<19 {
		t.Errorf("%d bytes are kept", got)
	}
	var open []*Object
	for i := range 5 {
		key := policy.Key(fmt.Sprint("open", i))
		o, err := c.Open(version(key, 1<<18, ""), epochs.Mark(key))
		if (err == nil) != (i < 4) {
			t.Errorf("open %d: %v", i, err)
		}
		if err == nil {
			open = append(open, o)
		}
	}
	if c.Reserve(1) {
		t.Error("no bound on what is on its way")
	}
	for _, o := range open {
		if o.Fill(strings.NewReader("short")) == nil {
			t.Error("a short body is whole")
		}
	}
	if c.Coming() != 0 || !c.Reserve(1) {
		t.Error("what failed stays reserved")
	}
	if metrics, err := reg.Gather(); err != nil || len(metrics) != 4 {
		t.Errorf("%d metrics, %v", len(metrics), err)
	}
}

// What is on its way is found even where there is no room: others wait for it.
func TestOnItsWayInAFullCache(t *testing.T) {
	c := New(Config{Size: 1 << 20})
	hot := func() {
		for range 5 {
			for i := range 200 {
				key := policy.Key(fmt.Sprint("hot", i))
				if found(c, key, nil) == "-" {
					put(t, c, key, strings.Repeat("x", 10_000), "")
				}
			}
			c.entries.CleanUp()
		}
	}
	hot()
	body := strings.Repeat("y", 1<<18)
	o, err := c.Open(version("k", 1<<18, ""), epochs.Mark("k"))
	if err != nil {
		t.Fatal(err)
	}
	hot()
	if other, ok := c.Find("k", nil, &rules); other != o || !ok {
		t.Error("it was evicted")
	}
	if err := o.Fill(strings.NewReader(body)); err != nil {
		t.Error(err)
	}
	hot()
	if got := c.entries.WeightedSize(); got > 1<<20 {
		t.Errorf("then %d bytes are kept", got)
	}
}

// Readers follow a body as it comes, to its end or to its failure.
func TestReadersFollow(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 20_000)
	for name, early := range map[string]bool{"whole": false, "cut short": true} {
		t.Run(name, func(t *testing.T) {
			c := New(Config{Size: 1 << 20})
			o, err := c.Open(version("k", int64(len(body)), ""), epochs.Mark("k"))
			if err != nil {
				t.Fatal(err)
			}
			sent := body
			if early {
				sent = body[:150_000]
			}
			var wg sync.WaitGroup
			for i := range 8 {
				r := o.NewReader(t.Context(), int64(i*10_000), int64(len(body)-i))
				wg.Go(func() {
					defer r.Close()
					got, err := io.ReadAll(r)
					want := sent[i*10_000 : min(len(sent), len(body)-i)]
					if !bytes.Equal(got, want) || (err != nil) != early {
						t.Errorf("reader %d: %d bytes, want %d; %v", i, len(got), len(want), err)
					}
				})
			}
			err = o.Fill(iotest.HalfReader(bytes.NewReader(sent)))
			wg.Wait()
			if o.Read() || early != (err != nil) || o.Complete() == early {
				t.Errorf("read: %v, complete: %v, %v", o.Read(), o.Complete(), err)
			}
			if got := found(c, "k", nil); early != (got == "-") {
				t.Errorf("%d bytes are found", len(got))
			}
		})
	}
}

// Whoever reads one moment sees one version whole, however many write.
func TestConcurrently(t *testing.T) {
	c := New(Config{Size: 256 << 10})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 300 {
				key := policy.Key(fmt.Sprint("k", j%7))
				switch (i + j) % 4 {
				case 0:
					o, err := c.Open(version(key, 2000, fmt.Sprint("l-", j%3)), epochs.Mark(key))
					if err == nil {
						o.Fill(strings.NewReader(strings.Repeat(string(key), 1000)))
					}
				case 1:
					epochs.Mark(key).Advance()
					c.Forget(key)
				default:
					if o, ok := c.Find(key, asking(fmt.Sprint("l-", j%3)), &rules); ok && o.Complete() {
						if got := string(o.Bytes()); got != strings.Repeat(string(key), 1000) {
							t.Errorf("%s is %.20q", key, got)
						}
						o.Withdraw(t.Context())
					}
				}
			}
		})
	}
	wg.Wait()
	if c.Coming() != 0 {
		t.Error("bytes stay reserved")
	}
}
