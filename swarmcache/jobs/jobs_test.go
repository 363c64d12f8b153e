package jobs_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/download"
	"shatabdi/swarmcache/jobs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a directory and an origin, without wires.
type world struct {
	mu    sync.Mutex
	jobs  map[string]swarmcache.Job
	parts map[string]swarmcache.JobPart
	away  bool
	news  chan struct{} // closed and renewed
	asked map[string]int
	held  chan struct{} // /held is answered when it is closed
	drain bool
	read  map[string]int // how often the list of a job was
	tells int
}

func newWorld() *world {
	return &world{jobs: map[string]swarmcache.Job{}, parts: map[string]swarmcache.JobPart{}, news: make(chan struct{}), asked: map[string]int{}, read: map[string]int{}, held: make(chan struct{})}
}

func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.news)
	w.news = make(chan struct{})
}

func (w *world) Size() int { return 1 }

func (w *world) FollowJobs(ctx context.Context, f func([]swarmcache.Job)) error {
	for {
		w.mu.Lock()
		all, news := slices.Collect(maps.Values(w.jobs)), w.news
		w.mu.Unlock()
		for i := range all {
			all[i].URLs = nil
		}
		f(all)
		select {
		case <-news:
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *world) JobURLs(_ context.Context, j swarmcache.Job) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read[j.ID]++
	if w.away {
		return nil, swarmcache.ErrUnavailable
	}
	return w.jobs[j.ID].URLs, nil
}

func (w *world) Part(_ context.Context, job string) (swarmcache.JobPart, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.parts[job]
	switch {
	case w.away:
		return p, swarmcache.ErrUnavailable
	case !ok:
		return p, swarmcache.ErrNotFound
	}
	return p, nil
}

func (w *world) TellPart(_ context.Context, j swarmcache.Job, p swarmcache.JobPart) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, stands := w.jobs[j.ID]; !stands {
		return swarmcache.ErrNotFound
	}
	if w.away {
		return swarmcache.ErrUnavailable
	}
	w.tells++
	w.parts[j.ID] = p
	return nil
}

// RoundTrip is the origin.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.asked[r.URL.Path]++
	w.mu.Unlock()
	body, status := "0123456789", 200
	switch r.URL.Path {
	case "/held":
		select {
		case <-w.held:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	case "/list":
		body = "http://o.test/listed\n"
	case "/secrets":
		body = "http://o.test/none?X-Amz-Signature=hush\n"
	case "/none":
		status = 404
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// run runs a node until f returns.
func (w *world) run(f func(*download.Downloads)) {
	d := download.New(download.Config{Transport: w})
	ctx, cancel := context.WithCancel(context.Background())
	r := jobs.New(jobs.Config{
		Self: "me", Directory: w, Downloads: d, Resolve: func(u string) string { return u },
		Draining: func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.drain }, Logger: slog.New(slog.DiscardHandler),
	})
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	f(d)
	cancel()
	wg.Wait()
	d.Close()
}

// told is what stands of a job after some time.
func (w *world) told(job string) string {
	time.Sleep(20 * time.Second)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.parts[job]
	if !ok {
		return "nothing"
	}
	return fmt.Sprintf("over: %v, %d of %d, %d failed, %d bytes", p.Over, p.Done, p.Objects, p.Failed, p.Bytes)
}

func (w *world) start(id string, nodes []swarmcache.NodeID, paths ...string) {
	j := swarmcache.Job{ID: id, Nodes: nodes}
	for _, p := range paths {
		if p == "/list" || p == "/none" || p == "/secrets" {
			j.Manifest = "http://o.test" + p
		} else {
			j.URLs = append(j.URLs, "http://o.test"+p)
		}
	}
	w.change(func() { w.jobs[id] = j })
}

var me = []swarmcache.NodeID{"other", "me"}

func is(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

func TestANodeTakesItsPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start("1", me, "/a", "/list")
		w.start("2", []swarmcache.NodeID{"other"}, "/b")
		w.start("3", me, "/c", "/none")
		w.run(func(*download.Downloads) {
			is(t, w.told("1"), "over: true, 2 of 2, 0 failed, 20 bytes")
			is(t, w.told("2"), "nothing")
			is(t, w.told("3"), "over: true, 0 of 1, 1 failed, 0 bytes") // its list does not come
			w.start("4", me, "/a", "/none/of/them")
			is(t, w.told("4"), "over: true, 2 of 2, 0 failed, 20 bytes")
		})
		if !maps.Equal(w.read, map[string]int{"1": 1, "3": 1, "4": 1}) {
			t.Errorf("lists read: %v", w.read)
		}
		if w.asked["/b"] > 0 || w.asked["/c"] > 0 || w.asked["/none"] < 2 {
			t.Error(w.asked)
		}
		// What is over is not begun again.
		asked := maps.Clone(w.asked)
		w.run(func(*download.Downloads) { w.told("1") })
		if !maps.Equal(asked, w.asked) {
			t.Error(w.asked)
		}
	})
}

// What a manifest lists may be signed: who reads the directory sees nothing of that.
func TestNoCredentialsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start("1", me, "/secrets")
		w.run(func(*download.Downloads) {
			is(t, w.told("1"), "over: true, 0 of 1, 1 failed, 0 bytes")
			is(t, fmt.Sprint(w.parts["1"].Failures), "[{http://o.test/none the answer is 404 Not Found}]")
		})
	})
}

// It goes on when the node, or the directory, was away, and waits while it drains.
func TestANodeGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start("1", me, "/a", "/held")
		w.run(func(*download.Downloads) { is(t, w.told("1"), "over: false, 1 of 2, 0 failed, 10 bytes") })
		is(t, w.told("1"), "over: false, 1 of 2, 0 failed, 10 bytes")
		w.drain = true
		w.run(func(d *download.Downloads) {
			w.told("1")
			if len(d.List("", 10)) > 0 {
				t.Error("it draws while it drains")
			}
			w.change(func() { w.drain, w.away = false, true })
			w.told("1")
			w.change(func() { w.away = false })
			is(t, w.told("1"), "over: false, 1 of 2, 0 failed, 10 bytes")
			w.change(func() { w.away = true })
			close(w.held)
			w.told("1")
			w.change(func() { w.away = false })
			is(t, w.told("1"), "over: true, 2 of 2, 0 failed, 20 bytes")
		})
	})
}

// A node that comes no further says so only for the job to stand; and many nodes do
// not read a long list all at once.
func TestANodeSparesTheDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start("1", me, "/a", "/held")
		w.run(func(*download.Downloads) {
			for range 15 { // times 20 s
				is(t, w.told("1"), "over: false, 1 of 2, 0 failed, 10 bytes")
			}
			if w.tells < 5 || w.tells > 8 {
				t.Errorf("told %d times in 5 minutes", w.tells)
			}
		})
		var after []time.Duration
		for range 20 {
			w, at := newWorld(), time.Now()
			w.jobs["1"] = swarmcache.Job{ID: "1", Nodes: slices.Repeat(me, 256), URLs: []string{"http://o.test/a"}, Size: swarmcache.MaxJob}
			w.run(func(*download.Downloads) { is(t, w.told("1"), "over: true, 1 of 1, 0 failed, 10 bytes") })
			after = append(after, w.parts["1"].At.Sub(at))
		}
		if first, last := slices.Min(after), slices.Max(after); last-first < 4*time.Second || last > 17*time.Second {
			t.Errorf("they read it after %v", after)
		}
	})
}

// Nothing is left of a job that is canceled half-way.
func TestAJobIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start("1", me, "/a", "/held")
		w.run(func(d *download.Downloads) {
			is(t, w.told("1"), "over: false, 1 of 2, 0 failed, 10 bytes")
			w.change(func() { delete(w.jobs, "1"); delete(w.parts, "1") })
			is(t, w.told("1"), "nothing")
			if all := d.Warmups(); len(all) > 0 {
				t.Errorf("%+v", all)
			}
			for _, st := range d.List("", 10) {
				if st.State != download.Done {
					t.Errorf("%+v", st)
				}
			}
		})
	})
}
