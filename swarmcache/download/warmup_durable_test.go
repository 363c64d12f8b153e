package download

import (
	"strings"
	"testing"
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
	if st, err := before.Warmup(w.ID); err != nil || !st.Over { // asked while the daemon stops
		t.Fatalf("%+v, %v", st, err)
	}
	if text := kept.text(); strings.Contains(text, "hush") || strings.Contains(text, "/4") || !strings.Contains(text, "/2") {
		t.Errorf("kept: %s", text)
	}

	after := New(Config{Transport: plain(), Store: kept})
	defer after.Close()
	after.Restore(nil)
	st, err := after.Warmed(t.Context(), w.ID)
	if err != nil || st.Done != 2 || st.Part || !st.Created.Equal(w.Created) {
		t.Errorf("%+v, %v", st, err)
	}
	if text := kept.text(); text != "" {
		t.Errorf("kept when it is over: %s", text)
	}
}
