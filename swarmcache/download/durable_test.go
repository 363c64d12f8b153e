package download

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// store keeps records as long as a test runs.
type store struct {
	mu  sync.Mutex
	all map[string][]byte
}

func (s *store) SetSetting(name string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[name] = value
	return nil
}

func (s *store) DropSetting(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, name)
	return nil
}

func (s *store) EachSetting(_ string, f func(string, []byte)) error {
	s.mu.Lock()
	all := maps.Clone(s.all)
	s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f(name, all[name])
	}
	return nil
}

func (s *store) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(bytes.Join(slices.Collect(maps.Values(s.all)), nil))
}

// What was not over when the daemon stopped, or was killed, goes on under its id;
// what was paused waits on; and what had credentials says why it does not.
func TestDownloadsSurviveARestart(t *testing.T) {
	want, dir, kept := data(1<<20), t.TempDir(), &store{all: map[string][]byte{}}
	s := newServer(t, want)
	open := make(chan struct{})
	before := New(Config{Transport: gated{plain(), open}, Directories: []string{dir}, Store: kept})
	to := func(name string) string { return filepath.Join(dir, name) }
	order := func(s Spec) string { s.Durable = true; return create(t, before, s) }
	goesOn := order(Spec{URL: s.URL, Destination: to("a"), SHA256: sumOf(want), Header: http.Header{"Accept": {"*/*"}}})
	paused := order(Spec{URL: s.URL, Limit: 1 << 30})
	secret := order(Spec{URL: s.URL, Header: http.Header{"Authorization": {"Bearer hush"}}})
	taken := order(Spec{URL: s.URL, Destination: to("taken")})
	canceled := order(Spec{URL: s.URL})
	create(t, before, Spec{URL: s.URL}) // not durable
	if _, err := before.Pause(paused); err != nil {
		t.Fatal(err)
	}
	if err := before.Cancel(canceled); err != nil {
		t.Fatal(err)
	}
	if text := kept.text(); strings.Contains(text, "hush") || !strings.Contains(text, "*/*") {
		t.Errorf("kept: %s", text)
	}
	// One that is killed leaves its files.
	if names := left(t, dir); len(strings.Fields(names)) != 2 {
		t.Fatalf("in the directory: %s", names)
	}
	for _, e := range strings.Fields(left(t, dir)) {
		if err := os.Link(to(e), to(e+".killed")); err != nil {
			t.Fatal(err)
		}
	}
	before.Close()
	for _, e := range strings.Fields(left(t, dir)) {
		if err := os.Rename(to(e), to(strings.TrimSuffix(e, ".killed"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(to("taken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kept.SetSetting(inStore+"damaged", []byte("{"))

	after := New(Config{Transport: plain(), Directories: []string{dir}, Store: kept})
	defer after.Close()
	ready := make(chan struct{})
	after.Restore(func(ctx context.Context) {
		select {
		case <-ready:
		case <-ctx.Done():
		}
	})
	var ids []string
	for _, st := range after.List("", 100) {
		ids = append(ids, st.ID)
	}
	if want := []string{goesOn, paused, secret, taken}; !slices.Equal(ids, want) {
		t.Fatalf("listed are %v, want %v", ids, want)
	}
	if st, _ := after.Status(goesOn); st.State != Queued || st.Created.IsZero() || st.SHA256 != sumOf(want) {
		t.Errorf("before all is ready: %+v", st)
	}
	close(ready)
	if st := ended(t, after, goesOn); st.State != Done {
		t.Errorf("%+v", st)
	}
	if got, err := os.ReadFile(to("a")); err != nil || !bytes.Equal(got, want) || left(t, dir) != "a taken" {
		t.Errorf("%d bytes, %v; in the directory: %s", len(got), err, left(t, dir))
	}
	for id, why := range map[string]string{secret: "credentials", taken: "exists"} {
		st, err := after.Status(id)
		if err != nil || st.State != Failed || !strings.Contains(st.Err.Error(), why) {
			t.Errorf("%+v, %v; want %s", st, err, why)
		}
		if _, err := after.Resume(id); err == nil {
			t.Errorf("resumed: %+v", st)
		}
	}
	if st, _ := after.Status(paused); st.State != Paused || st.Limit != 1<<30 {
		t.Errorf("paused: %+v", st)
	}
	if _, err := after.Resume(paused); err != nil {
		t.Error(err)
	}
	if st := ended(t, after, paused); st.State != Done {
		t.Errorf("%+v", st)
	}
	if text := kept.text(); text != "{" { // what is unreadable is left for who can read it
		t.Errorf("kept when all is over: %s", text)
	}
}
