package swarm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"shatabdi/swarmcache"
)

func silent(w http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }

// alternate answers every request from the other one of two servers.
func alternate(bodies ...[]byte) http.HandlerFunc {
	var turn atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		k := int(turn.Add(1)) % len(bodies)
		w.Header().Set("Etag", fmt.Sprintf(`"server-%d"`, k))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(bodies[k]))
	}
}

// openUnder lists this process's open files under dir.
func openUnder(t *testing.T, dir string) (l []string) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err == nil && strings.HasPrefix(name, dir) {
			l = append(l, name)
		}
	}
	return l
}

// once passes the first n requests to h.
func once(n int64, h http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	var k atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool {
		if k.Add(1) > n {
			return false
		}
		h(w, r)
		return true
	}
}

// An origin that misbehaves for a while: the object comes all the same.
func TestOriginRecovers(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"503 with Retry-After": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(503)
		},
		"refuses": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"stalls before the header": func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(3 * time.Second):
			}
			panic(http.ErrAbortHandler)
		},
		"stalls in the body": func(w http.ResponseWriter, r *http.Request) {
			ranged(w, r, 100)
			w.(counted).Flush()
			<-r.Context().Done()
		},
		"a short body":        func(w http.ResponseWriter, r *http.Request) { ranged(w, r, 1000); panic(http.ErrAbortHandler) },
		"a status of its own": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(599) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 4<<20)
			s.breaks(1<<20, once(1, h))
			newLab(t, 1).all(t, s)
		})
	}
}

// ranged answers a Range request with its header and the first n bytes, which
// are those of every site.
func ranged(w http.ResponseWriter, r *http.Request, n int) {
	var from, to int
	fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, 4<<20))
	w.Header().Set("Content-Length", fmt.Sprint(to-from+1))
	w.WriteHeader(206)
	w.Write(siteData(4 << 20)[from : from+n])
}

// An origin that has another version now: right bytes, then an error, never a
// mixture (RFC 9110 §13.1.5, §15.3.7).
func TestOriginChanges(t *testing.T) {
	t.Parallel()
	wrong := bytes.Repeat([]byte("wrong"), 1<<20)
	content := func(tag string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", tag)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(wrong[:4<<20]))
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"404": http.NotFound,
		"416": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(416) },
		"a 206 with another tag": func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("If-Range")
			content(`"v2"`)(w, r)
		},
		"a 206 without a tag": func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("If-Range")
			w.Header().Del("Etag")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(wrong[:4<<20]))
		},
		"a 200 of another version": content(`"v2"`),
		"a Content-Range of other bytes": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", 4<<20-1, 4<<20))
			w.WriteHeader(206)
			w.Write(wrong[:4<<20])
		},
		"a Content-Range of another length": func(w http.ResponseWriter, r *http.Request) {
			var from, to int
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, 5<<20))
			w.WriteHeader(206)
			w.Write(wrong[from : to+1])
		},
		// The tag is the same, but the piece in which the first body broke off
		// begins otherwise now: only its readers can tell.
		"other bytes under the same tag": content(`"v1"`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 4<<20)
			// In the first piece of a span: nothing before it is read again.
			const at = 10*128<<10 + 777
			s.taken = make(chan struct{})
			s.breaks(at, func(w http.ResponseWriter, r *http.Request) bool { h(w, r); return true })
			l := newLab(t, 1)
			obj, err := l.nodes[0].get(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			defer obj.Close()
			r := obj.NewReader(t.Context(), 0, obj.Version().Length)
			defer r.Close()
			b := make([]byte, at)
			if _, err := io.ReadFull(r, b); err != nil {
				t.Fatal(err)
			}
			close(s.taken)
			rest, err := io.ReadAll(r)
			if b = append(b, rest...); !errors.Is(err, swarmcache.ErrFillEnded) || !bytes.HasPrefix(s.data, b) {
				t.Errorf("%d bytes, right %v, then %v; want ErrFillEnded", len(b), bytes.HasPrefix(s.data, b), err)
			}
		})
	}
}

// More than was announced: the surplus is not the object's.
func TestOriginSendsMore(t *testing.T) {
	t.Parallel()
	s := newSite(t, 4<<20)
	s.breaks(1<<20, func(w http.ResponseWriter, r *http.Request) bool {
		var from, to int
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(s.data)))
		w.WriteHeader(206) // chunked
		w.Write(append(bytes.Clone(s.data[from:to+1]), "surplus"...))
		return true
	})
	newLab(t, 1).all(t, s)
}

// An origin that is slow to answer is asked for much at a time, and what broke
// off in the middle of a span is not asked for again.
func TestSlowOriginIsAskedSeldom(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	s.latency = 3 * time.Second
	var broken atomic.Bool
	var asked sync.Map
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		if _, twice := asked.LoadOrStore(r.Header.Get("Range"), true); twice {
			t.Errorf("%q was asked for twice", r.Header.Get("Range"))
		}
		if from := int64(0); r.Header.Get("Range") != "" && broken.CompareAndSwap(false, true) {
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			w.Header().Set("Content-Range", fmt.Sprintf("%s/%d", strings.Replace(r.Header.Get("Range"), "=", " ", 1), len(s.data)))
			w.Header().Set("Content-Length", fmt.Sprint(4<<20))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(s.data[from : from+3<<20])
			return // too little: the connection ends, but what was sent arrives
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.data))
	}
	l := newLab(t, 3)
	l.all(t, s)
	t.Logf("%d GETs, origin %.3f x", s.gets.Load(), s.times())
	if s.gets.Load() > 6 {
		t.Errorf("%d GETs for four spans", s.gets.Load())
	}
}

// The cluster's budget for an origin is kept: what is beyond it waits, and reads
// from peers. The body that opened the fill runs already, and counts.
func TestOriginBudgetIsKept(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := &lab{budget: 1}
	l.add(t, 4)
	l.all(t, s)
	t.Logf("%d GETs, at most %d at a time, origin %.3f x", s.gets.Load(), s.peak.Load(), s.times())
	if s.peak.Load() > 2 {
		t.Errorf("%d streams at a time", s.peak.Load())
	}
}
