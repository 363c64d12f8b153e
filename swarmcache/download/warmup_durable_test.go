package download

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A warm-up of this node's own that was not over goes on under its id; what may be a
// credential is in no record, and one that is over or canceled has none.
func TestWarmupsSurviveARestart(t *testing.T) {
	s, kept := newServer(t, data(1000)), &store{all: map[string][]byte{}}
	before := New(Config{Transport: gated{plain(), make(chan struct{})}, Store: kept})
	w, err := before.WarmDurably([]Spec{{URL: s.URL + "/1"}, {URL: s.URL + "/2"}, {URL: s.URL + "/3?X-Amz-Signature=hush"}})
	if err != nil {
		t.Fatal(err)
	}
	canceled, err := before.WarmDurably([]Spec{{URL: s.URL + "/4"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := before.CancelWarmup(canceled.ID); err != nil {
		t.Fatal(err)
	}
	before.Close()
	if st, err := before.Warmup(w.ID); err != nil || st.Over || st.Failed != 0 { // asked while the daemon stops
		t.Fatalf("%+v, %v", st, err)
	}
	if text := kept.text(); strings.Contains(text, "hush") || strings.Contains(text, "/4") || !strings.Contains(text, "/2") {
		t.Errorf("kept: %s", text)
	}

	var log bytes.Buffer
	reg := prometheus.NewPedanticRegistry()
	after := New(Config{Transport: plain(), Store: kept, Registerer: reg, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	defer after.Close()
	after.Restore(nil)
	st, err := after.Warmed(t.Context(), w.ID)
	if err != nil || st.Done != 2 || st.NotKept != 1 || st.Part || !st.Created.Equal(w.Created) {
		t.Errorf("%+v, %v", st, err)
	}
	if got, want := told(t, reg, "shatabdi_warmup"), map[string]float64{
		"shatabdi_warmups running": 0, "shatabdi_warmups done": 0, "shatabdi_warmups partial": 1,
		"shatabdi_warmup_objects waiting": 0, "shatabdi_warmup_objects done": 2, "shatabdi_warmup_objects failed": 0, "shatabdi_warmup_objects not_kept": 1,
		"shatabdi_warmup_bytes": 2000, "shatabdi_warmup_wanted_bytes": 2000,
	}; !maps.Equal(got, want) {
		t.Errorf("metrics: %v, want %v", got, want)
	}
	if text := log.String(); !strings.Contains(text, "left_out=1") || strings.Contains(text, "hush") {
		t.Errorf("logged: %s", text)
	}
	if text := kept.text(); text != "" {
		t.Errorf("kept when it is over: %s", text)
	}
}

// told are the metrics whose names begin so, by name and state.
func told(t *testing.T, reg *prometheus.Registry, prefix string) map[string]float64 {
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if strings.HasPrefix(name, prefix) {
				all[name] = m.GetGauge().GetValue()
			}
		}
	}
	return all
}

// The record goes with the last object, though nobody asks.
func TestWarmupsThatAreOverAreNotRemembered(t *testing.T) {
	s, kept := newServer(t, data(1000)), &store{all: map[string][]byte{}}
	open := make(chan struct{})
	m := New(Config{Transport: gated{plain(), open}, Store: kept})
	defer m.Close()
	if _, err := m.WarmDurably([]Spec{{URL: s.URL + "/1"}, {URL: s.URL + "/2"}}); err != nil {
		t.Fatal(err)
	}
	close(open)
	for deadline := time.Now().Add(time.Minute); kept.text() != ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("kept when it is over: %s", kept.text())
		}
	}
}

// What goes on was admitted before: it leaves no warm-up out, nor what is ordered now.
func TestWarmupsGoOnHoweverManyTheyAre(t *testing.T) {
	m := New(Config{Transport: plain()})
	m.mu.Lock()
	defer m.mu.Unlock()
	for range maxWaiting {
		m.all[NewID()] = &download{spec: Spec{later: true}}
	}
	if err := m.admitLocked(Spec{}); err != nil {
		t.Error(err)
	}
	for range maxWaiting {
		m.all[NewID()] = &download{}
	}
	if err := m.admitLocked(Spec{later: true}); err != nil {
		t.Error(err)
	}
	if err := m.admitLocked(Spec{}); err != ErrTooMany {
		t.Errorf("%v where so many wait", err)
	}
}

// A record that stays would bring the warm-up back: it is not canceled then.
func TestWarmupsAreCanceledWithTheirRecord(t *testing.T) {
	kept := &fixed{store: store{all: map[string][]byte{}}}
	m := New(Config{Transport: gated{plain(), nil}, Store: kept})
	defer m.Close()
	w, err := m.WarmDurably([]Spec{{URL: "http://origin.test/"}})
	if err != nil {
		t.Fatal(err)
	}
	kept.broken.Store(true)
	if err := m.CancelWarmup(w.ID); !errors.Is(err, errFixed) {
		t.Errorf("%v, and the record is there", err)
	}
	kept.broken.Store(false)
	if err := m.CancelWarmup(w.ID); err != nil || kept.text() != "" {
		t.Errorf("%v; kept: %s", err, kept.text())
	}
}

// No more is kept than a store takes, and what is not kept does not begin.
func TestWarmupsTooLongToKeep(t *testing.T) {
	kept := &store{all: map[string][]byte{}}
	m := New(Config{Transport: plain(), Store: kept})
	defer m.Close()
	_, err := m.WarmDurably([]Spec{{URL: "http://origin.test/" + strings.Repeat("a", maxRecord)}})
	if !errors.Is(err, ErrTooLong) || kept.text() != "" || len(m.Warmups()) != 0 {
		t.Errorf("%v; %d warm-ups", err, len(m.Warmups()))
	}
}

// All that is kept goes on at once after a restart, so there is a bound for it, which
// a restart neither lifts nor lowers, and what is over or canceled makes room.
func TestWarmupsKeptHaveABound(t *testing.T) {
	kept := &store{all: map[string][]byte{}}
	order := func(m *Downloads, n int) (Warmup, error) {
		var specs []Spec
		for i := range n {
			specs = append(specs, Spec{URL: fmt.Sprint("http://origin.test/", i)})
		}
		return m.WarmDurably(specs)
	}
	fill := func(m *Downloads, left keptSize) { // as others would that are not over
		m.mu.Lock()
		defer m.mu.Unlock()
		m.kept = keptSize{maxKept.urls - left.urls, maxKept.bytes - left.bytes}
	}
	before := New(Config{Transport: gated{plain(), nil}, Store: kept})
	if _, err := order(before, 3); err != nil {
		t.Fatal(err)
	}
	size := before.kept
	before.Close()
	m := New(Config{Transport: gated{plain(), nil}, Store: kept})
	defer m.Close()
	m.Restore(nil)
	if m.kept != size || size.urls != 3 || size.bytes != len(kept.text()) {
		t.Fatalf("%+v after a restart, %+v before", m.kept, size)
	}
	fill(m, keptSize{2, 1000})
	w, err := order(m, 2)
	if err != nil {
		t.Fatal(err)
	}
	text := kept.text()
	if _, err := order(m, 1); !errors.Is(err, ErrTooManyKept) || kept.text() != text || len(m.Warmups()) != 2 {
		t.Errorf("%v where so many are kept", err)
	}
	if err := m.CancelWarmup(w.ID); err != nil {
		t.Error(err)
	}
	if _, err := order(m, 2); err != nil {
		t.Error(err)
	}
	fill(m, keptSize{100, 10})
	if _, err := order(m, 1); !errors.Is(err, ErrTooManyKept) {
		t.Errorf("%v where so much is kept", err)
	}
}

// What is wrong with a URL is said without what it may have of credentials.
func TestURLsAreToldWithoutSecrets(t *testing.T) {
	for _, raw := range []string{
		"http://user:hush@origin.test/a", "http://hush@origin.test", "http://user:h%ush@origin.test/a", "ftp:origin.test?sig=hush", "origin.test/a?v=1&access_token=hush",
	} {
		if err := CheckURL(raw); err == nil || strings.Contains(err.Error(), "ush") || !strings.Contains(err.Error(), "origin.test") {
			t.Errorf("%s: %v", raw, err)
		}
	}
	w := Warmup{Objects: 1, Failed: 1, Failures: []Failure{{"http://origin.test/a?Signature=hush", errFixed}}}
	if got := w.Err().Error(); got != "1 of 1 objects: http://origin.test/a: the disk is broken" {
		t.Error(got)
	}
}

// fixed is a store that may lose nothing for a while.
type fixed struct {
	store
	broken atomic.Bool
}

var errFixed = errors.New("the disk is broken")

func (f *fixed) DropSetting(name string) error {
	if f.broken.Load() {
		return errFixed
	}
	return f.store.DropSetting(name)
}
