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

func (s *store) EachSetting(prefix string, f func(string, []byte)) error {
	s.mu.Lock()
	all := maps.Clone(s.all)
	s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(name, prefix) {
			f(name, all[name])
		}
	}
	return nil
}

func (s *store) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(bytes.Join(slices.SortedFunc(maps.Values(s.all), bytes.Compare), nil))
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
	signed := order(Spec{URL: s.URL + "/a?v=1&X-Amz-Signature=hush"})
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
	if want := []string{goesOn, paused, secret, signed, taken}; !slices.Equal(ids, want) {
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
	for id, why := range map[string]string{secret: "credentials", signed: "credentials", taken: "exists"} {
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
	if err := os.Remove(to("taken")); err != nil {
		t.Fatal(err)
	}
	if _, err := after.Resume(taken); err != nil {
		t.Error(err)
	}
	if st := ended(t, after, taken); st.State != Done {
		t.Errorf("%+v", st)
	}
	if text := kept.text(); text != "{" { // what is unreadable is left for who can read it
		t.Errorf("kept when all is over: %s", text)
	}
}

// What cannot go on because its directory is not there yet waits for it, over
// restarts; what is outside of all that are allowed is given up.
func TestOrdersWaitForTheirDirectory(t *testing.T) {
	want, dir, kept := data(1000), t.TempDir(), &store{all: map[string][]byte{}}
	s := newServer(t, want)
	mount, other := filepath.Join(dir, "mount"), filepath.Join(dir, "other")
	for _, d := range []string{mount, other} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	before := New(Config{Transport: gated{plain(), nil}, Directories: []string{mount, other}, Store: kept})
	waits := create(t, before, Spec{URL: s.URL, Destination: filepath.Join(mount, "a"), Durable: true})
	outside := create(t, before, Spec{URL: s.URL, Destination: filepath.Join(other, "a"), Durable: true})
	before.Close()
	if err := os.Rename(mount, mount+".away"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m := New(Config{Transport: plain(), Directories: []string{mount}, Store: kept})
		m.Restore(nil)
		st, err := m.Status(waits)
		if _, resumed := m.Resume(waits); err != nil || st.State != Failed || resumed == nil {
			t.Errorf("%+v, %v, %v", st, err, resumed)
		}
		if text := kept.text(); !strings.Contains(text, waits) || strings.Contains(text, outside) {
			t.Errorf("kept: %s", text)
		}
		m.Close()
	}
	m := New(Config{Transport: plain(), Directories: []string{mount}, Store: kept})
	defer m.Close()
	m.Restore(nil)
	if err := os.Rename(mount+".away", mount); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Resume(waits); err != nil {
		t.Fatal(err)
	}
	if st := ended(t, m, waits); st.State != Done || kept.text() != "" || left(t, mount) != "a" {
		t.Errorf("%+v; kept: %s; in the directory: %s", st, kept.text(), left(t, mount))
	}
}

// killed is a store that hears no more when a download is over.
type killed struct{ *store }

func (killed) DropSetting(string) error { return nil }

// What was finished when the daemon was killed is so after it, unless the file is not
// the one that was written.
func TestWhatIsFinishedStaysSo(t *testing.T) {
	want, dir, kept := data(1000), t.TempDir(), &store{all: map[string][]byte{}}
	s := newServer(t, want)
	to := func(name string) string { return filepath.Join(dir, name) }
	before := New(Config{Transport: plain(), Directories: []string{dir}, Store: killed{kept}})
	ids := map[string]string{}
	for name, sum := range map[string]string{"plain": "", "digest": sumOf(want), "copied": sumOf(want), "other": "", "wrong": sumOf(want)} {
		ids[name] = create(t, before, Spec{URL: s.URL, Destination: to(name), SHA256: sum, Durable: true})
		ended(t, before, ids[name])
	}
	before.Close()
	for name, content := range map[string][]byte{"copied": want, "other": want, "wrong": make([]byte, 1000)} {
		if err := os.WriteFile(to("new"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(to("new"), to(name)); err != nil {
			t.Fatal(err)
		}
	}
	after := New(Config{Transport: plain(), Directories: []string{dir}, Store: kept})
	defer after.Close()
	asked := s.asked.Load()
	after.Restore(nil)
	for name, state := range map[string]string{"plain": Done, "digest": Done, "copied": Done, "other": Failed, "wrong": Failed} {
		if st := ended(t, after, ids[name]); st.State != state {
			t.Errorf("%s: %+v", name, st)
		}
		if still := strings.Contains(kept.text(), ids[name]); still != (state == Failed) {
			t.Errorf("%s: kept: %v", name, still)
		}
	}
	if n := s.asked.Load(); n != asked {
		t.Errorf("%d requests", n-asked)
	}
	for _, name := range []string{"other", "wrong"} {
		if err := os.Remove(to(name)); err != nil {
			t.Fatal(err)
		}
		if _, err := after.Resume(ids[name]); err != nil {
			t.Error(err)
		}
		if st := ended(t, after, ids[name]); st.State != Done {
			t.Errorf("%s: %+v", name, st)
		}
	}
	if kept.text() != "" || left(t, dir) != "copied digest other plain wrong" {
		t.Errorf("kept: %s; in the directory: %s", kept.text(), left(t, dir))
	}
}
