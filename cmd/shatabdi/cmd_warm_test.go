package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vbauerster/mpb/v8"

	"shatabdi/swarmcache/api"
)

// answers is a daemon without a wire, for time that is made up.
type answers func(http.ResponseWriter)

func (f answers) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	f(w)
	res := w.Result()
	res.Request = r
	return res, nil
}

// Who waits for a warm-up of several nodes sits out a directory that is away for a
// moment, and not one that stays away.
func TestWarmedSitsOutTheDirectory(t *testing.T) {
	for away, code := range map[time.Duration]int{20 * time.Second: exitOK, 5 * time.Minute: exitFailure} {
		synctest.Test(t, func(t *testing.T) {
			c, err := newClient(daemonAt{})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			c.http.Transport = answers(func(w http.ResponseWriter) {
				if time.Since(begin) < away {
					api.WriteProblem(w, http.StatusServiceUnavailable, "away")
					return
				}
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, `{"state":"done","objects":2,"done":2}`)
			})
			w, err := c.warmed(t.Context(), api.Warmup{ID: "1", State: "running"}, io.Discard)
			if got := speak(io.Discard, err); got != code || (w.State == "done") != (code == exitOK) {
				t.Errorf("away for %v: exit code %d, want %d; %+v", away, got, code, w)
			}
			if d := time.Since(begin); d > away+10*time.Second || d > time.Minute {
				t.Errorf("away for %v: waited %v", away, d)
			}
		})
	}
}

// A warm-up that is short is not waited for longer than it takes, and one that is long
// is not asked about all the time.
func TestWarmedAsksSeldom(t *testing.T) {
	for takes, most := range map[time.Duration]int{300 * time.Millisecond: 3, time.Minute: 40} {
		synctest.Test(t, func(t *testing.T) {
			c, err := newClient(daemonAt{})
			if err != nil {
				t.Fatal(err)
			}
			begin, asked := time.Now(), 0
			c.http.Transport = answers(func(w http.ResponseWriter) {
				asked++
				state := "running"
				if time.Since(begin) >= takes {
					state = "done"
				}
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, `{"id":"1","state":"`+state+`"}`)
			})
			_, err = c.warmed(t.Context(), api.Warmup{ID: "1", State: "running"}, io.Discard)
			if d := time.Since(begin); err != nil || asked > most || d > takes+2*time.Second || d > 3*takes {
				t.Errorf("one of %v: asked %d times in %v: %v", takes, asked, d, err)
			}
		})
	}
}

// A daemon of an earlier version does not know of waiting.
func TestWarmedAsksAnOlderDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := newClient(daemonAt{})
		if err != nil {
			t.Fatal(err)
		}
		c.http.Transport = older{}
		if w, err := c.warmed(t.Context(), api.Warmup{ID: "1", State: "running"}, io.Discard); err != nil || w.State != "done" {
			t.Errorf("%+v, %v", w, err)
		}
	})
}

// older is a daemon that knows no parameters.
type older struct{}

func (older) RoundTrip(r *http.Request) (*http.Response, error) {
	return answers(func(w http.ResponseWriter) {
		if r.URL.RawQuery != "" {
			api.WriteProblem(w, http.StatusUnprocessableEntity, "unknown query parameter")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"id":"1","state":"done"}`)
	}).RoundTrip(r)
}

// The bar of a warm-up counts objects, and tells the rate between two answers.
func TestWarmBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		bars := mpb.New(mpb.WithOutput(&out), mpb.WithAutoRefresh(), mpb.WithWidth(80), mpb.WithRefreshRate(100*time.Millisecond))
		b := addWarmBar(bars, api.Warmup{State: "running", Objects: 4})
		time.Sleep(2 * time.Second)
		b.draw(api.Warmup{State: "running", Objects: 4, Done: 2, Failed: 1, Bytes: 4 << 20, From: api.From{Peers: 3 << 20, Origin: 1 << 20}})
		if a := b.amount(); a.rate != 2<<20 || a.done() != "3 of 4" || a.share() != "  75 % peers" || b.bar.Current() != 3 {
			t.Errorf("%+v, %d", a, b.bar.Current())
		}
		time.Sleep(time.Second)
		b.end()
		if text := out.String(); !strings.Contains(text, "3 of 4") || !strings.Contains(text, "2.0 MiB/s") {
			t.Errorf("drawn: %q", text)
		}
	})
	if newWarmBar(io.Discard, api.Warmup{State: "running"}) != nil {
		t.Error("a bar where there is no terminal")
	}
}
