package download

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// gate is a transport behind which a server waits for its release.
type gated struct {
	http.RoundTripper
	open chan struct{}
}

func (g gated) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-g.open:
		return g.RoundTripper.RoundTrip(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func newDownloads(t *testing.T, tr http.RoundTripper, dirs ...string) *Downloads {
	m := New(Config{Transport: tr, Directories: dirs})
	t.Cleanup(m.Close)
	return m
}

func plain() *http.Transport { return &http.Transport{DisableKeepAlives: true} }

// ended waits until a download has come to an end.
func ended(t *testing.T, m *Downloads, id string) Status {
	t.Helper()
	for deadline := time.After(30 * time.Second); ; {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		st, err := m.Status(id)
		if err != nil {
			t.Fatal(err)
		}
		if !st.Ended.IsZero() {
			return st
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("it does not end: %+v", st)
		}
	}
}

func create(t *testing.T, m *Downloads, s Spec) string {
	t.Helper()
	st, err := m.Create(s)
	if err != nil {
		t.Fatal(err)
	}
	return st.ID
}

// left are the names in dir.
func left(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestDownloadToFile(t *testing.T) {
	want, dir := data(1<<20), t.TempDir()
	s := newServer(t, want, 300_000)
	m := newDownloads(t, plain(), dir)
	to := filepath.Join(dir, "a.bin")
	st := ended(t, m, create(t, m, Spec{URL: s.URL, Destination: to, SHA256: strings.ToUpper(sumOf(want))}))
	if st.State != Done || st.Err != nil || st.Bytes != 1<<20 || st.Total != 1<<20 {
		t.Errorf("%+v", st)
	}
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, want) || left(t, dir) != "a.bin" {
		t.Errorf("%d bytes, %v; in the directory: %s", len(got), err, left(t, dir))
	}
	// What is there already is not touched.
	if _, err := m.Create(Spec{URL: s.URL, Destination: to}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("exists: %v", err)
	}
}

// A wrong digest, another status and a file that came in between leave nothing.
func TestFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, data(1000))
	open := make(chan struct{})
	m := newDownloads(t, gated{plain(), open}, dir)
	to := func(name string) string { return filepath.Join(dir, name) }
	wrong := create(t, m, Spec{URL: s.URL, Destination: to("wrong"), SHA256: sumOf(nil)})
	late := create(t, m, Spec{URL: s.URL, Destination: to("late")})
	gone := create(t, m, Spec{URL: "http://127.0.0.1:1/", Destination: to("gone")})
	if err := os.WriteFile(to("late"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	close(open)
	for _, id := range []string{wrong, late, gone} {
		if st := ended(t, m, id); st.State != Failed || st.Err == nil {
			t.Errorf("%+v", st)
		}
		if _, err := m.Resume(id); !errors.Is(err, ErrState) {
			t.Errorf("resumed: %v", err)
		}
	}
	if b, _ := os.ReadFile(to("late")); string(b) != "mine" || left(t, dir) != "late" {
		t.Errorf("%q; in the directory: %s", b, left(t, dir))
	}
}

func TestDestinations(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	s := newServer(t, data(1000))
	m := newDownloads(t, plain(), dir)
	if err := os.Symlink(other, filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		filepath.Join(other, "a"): ErrOutside, dir: ErrOutside, dir + "/": ErrOutside, dir + "x/a": ErrOutside,
		dir + "/../x": ErrOutside, "a": ErrOutside, "/etc/passwd": ErrOutside,
		filepath.Join(dir, "none", "a"): fs.ErrNotExist, filepath.Join(dir, "file"): fs.ErrExist,
	} {
		if _, err := m.Create(Spec{URL: s.URL, Destination: path}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	for _, path := range []string{filepath.Join(dir, "out", "a"), filepath.Join(dir, "file", "a")} {
		if _, err := m.Create(Spec{URL: s.URL, Destination: path}); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
	if left(t, other) != "" || left(t, dir) != "file out" {
		t.Errorf("left: %s; %s", left(t, other), left(t, dir))
	}
}

// long is an answer that no disk has room for.
type long struct{}

func (long) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: 1 << 60, Body: io.NopCloser(strings.NewReader("begun")), Request: r}, nil
}

// A destination that cannot be written, or has no room, is told early, and nothing is
// left there.
func TestDestinationsThatTakeNothing(t *testing.T) {
	dir := t.TempDir()
	m := newDownloads(t, long{}, dir, "/sys")
	if _, err := m.Create(Spec{URL: "http://o.test/a", Destination: "/sys/a"}); !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		t.Errorf("not writable: %v", err)
	}
	id := create(t, m, Spec{URL: "http://o.test/a", Destination: filepath.Join(dir, "a")})
	if st := ended(t, m, id); st.State != Failed || !errors.Is(st.Err, syscall.ENOSPC) || left(t, dir) != "" {
		t.Errorf("full: %+v; in the directory: %s", st, left(t, dir))
	}
}

// Paused, it holds what it has; resumed, it goes on; canceled, nothing is left.
func TestPauseResumeCancel(t *testing.T) {
	want, dir := data(1<<20), t.TempDir()
	s := newServer(t, want)
	open := make(chan struct{})
	m := newDownloads(t, gated{plain(), open}, dir)
	to := filepath.Join(dir, "a")
	id := create(t, m, Spec{URL: s.URL, Destination: to})
	if st, err := m.Pause(id); err != nil || st.State != Paused {
		t.Fatalf("%+v, %v", st, err)
	}
	if st, err := m.Pause(id); err != nil || st.State != Paused {
		t.Errorf("twice: %+v, %v", st, err)
	}
	if _, err := m.Create(Spec{URL: s.URL, Destination: to}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second one to the same file: %v", err)
	}
	close(open)
	if _, err := m.Resume(id); err != nil {
		t.Fatal(err)
	}
	if st := ended(t, m, id); st.State != Done {
		t.Errorf("%+v", st)
	}
	if _, err := m.Pause(id); !errors.Is(err, ErrState) {
		t.Errorf("paused when done: %v", err)
	}
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}

	slow := int64(100_000)
	id = create(t, m, Spec{URL: s.URL, Destination: to + "2", Limit: slow})
	if err := m.Cancel(id); err != nil {
		t.Fatal(err)
	}
	if left(t, dir) != "a" {
		t.Errorf("a canceled download left %s", left(t, dir))
	}
	if _, err := m.Status(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if err := m.Cancel(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}

	// What still runs when the daemon stops leaves nothing either.
	create(t, m, Spec{URL: s.URL, Destination: to + "3", Limit: slow})
	m.Close()
	if left(t, dir) != "a" {
		t.Errorf("closing left %s", left(t, dir))
	}
}

func TestListIsInOrder(t *testing.T) {
	s := newServer(t, data(10))
	m := newDownloads(t, plain())
	var ids []string
	for range 5 {
		ids = append(ids, create(t, m, Spec{URL: s.URL}))
	}
	var got []string
	for after := ""; ; {
		page := m.List(after, 2)
		if len(page) == 0 {
			break
		}
		for _, st := range page {
			got = append(got, st.ID)
		}
		after = got[len(got)-1]
	}
	if strings.Join(got, " ") != strings.Join(ids, " ") {
		t.Errorf("%v, want %v", got, ids)
	}
}

// A warm-up that is canceled leaves no download, and whoever waits for it is told.
func TestWarmupIsCanceled(t *testing.T) {
	asked := make(chan struct{}, 10)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer s.Close()
	m := newDownloads(t, plain())
	w, err := m.Warm("", []Spec{{URL: s.URL + "/a"}, {URL: s.URL + "/b"}})
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	over := make(chan error)
	go func() {
		_, err := m.Warmed(t.Context(), w.ID)
		over <- err
	}()
	if err := m.CancelWarmup(w.ID); err != nil {
		t.Error(err)
	}
	if err := <-over; err != ErrNotFound {
		t.Errorf("%v", err)
	}
	if l := m.List("", 10); len(l) > 0 {
		t.Errorf("%+v", l)
	}
}

// However many come after it, one that runs is remembered, and so is how it ended.
// What is fetched for somebody who waits is no warm-up.
func TestWarmupsAreForgottenWhenTheyAreOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := make(chan struct{})
		m := New(Config{Transport: transport(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/held" {
				<-held
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: 1, Body: io.NopCloser(strings.NewReader("1"))}, nil
		})})
		defer m.Close()
		warm := func(id, path string) {
			t.Helper()
			if _, err := m.Warm(id, []Spec{{URL: "http://o.test" + path}}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		warm("0", "/held")
		for i := range 2 * maxWarmups {
			warm(fmt.Sprintf("1%03d", i), "/")
			time.Sleep(lastSeen / 100)
		}
		time.Sleep(2 * lastSeen)
		warm("2", "/")
		if w, err := m.Warmup("0"); err != nil || w.Over || len(m.Warmups()) != maxWarmups {
			t.Errorf("of %d: %+v, %v", len(m.Warmups()), w, err)
		}
		close(held)
		synctest.Wait()
		if w, err := m.Warmed(t.Context(), "0"); err != nil || w.Done != 1 {
			t.Errorf("%+v, %v", w, err)
		}
		warm("3", "/")
		if w, err := m.Warmup("0"); err != nil || !w.Over {
			t.Errorf("forgotten when it was just over: %+v, %v", w, err)
		}
		if st, err := m.Fetch(t.Context(), Spec{URL: "http://o.test/"}); err != nil || st.Bytes != 1 || len(m.Warmups()) > maxWarmups {
			t.Errorf("%+v, %v; %d warm-ups", st, err, len(m.Warmups()))
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func TestWarm(t *testing.T) {
	s := newServer(t, data(1000))
	m := newDownloads(t, plain())
	urls, err := ReadList(strings.NewReader("# two of them\n"+s.URL+"/a\n\n  http://127.0.0.1:1/b  \n"), nil)
	if err != nil || len(urls) != 2 {
		t.Fatalf("%v, %v", urls, err)
	}
	specs, err := m.Expand(t.Context(), append(urls, urls[0]), false)
	if err != nil || len(specs) != 3 {
		t.Fatalf("%v, %v", specs, err)
	}
	w, err := m.Warm("", specs)
	if err != nil {
		t.Fatal(err)
	}
	w, err = m.Warmed(t.Context(), w.ID)
	if err != nil || !w.Over || w.Objects != 2 || w.Done != 1 || w.Failed != 1 || w.Bytes != 1000 || w.Err() == nil || len(m.Warmups()) != 1 {
		t.Errorf("%+v, %v", w, err)
	}
	if err := m.CancelWarmup(w.ID); err != nil || len(m.Warmups()) != 0 || m.CancelWarmup(w.ID) != ErrNotFound {
		t.Errorf("it was over, and is not forgotten: %v", err)
	}
	for _, bad := range []string{"a", "mailto:a", "http://u:p@h/", "http:///x"} {
		if _, err := ReadList(strings.NewReader(bad), nil); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
