package index

import (
	"errors"
	"maps"
	"testing"

	"shatabdi/swarmcache"
)

// Settings of one beginning are told of, in a catalogue that was opened again too,
// and what was dropped is not.
func TestEachSetting(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	for _, name := range []string{"download/1", "download/2", "download/3", "other"} {
		must(t, x.SetSetting(name, []byte("of "+name)))
	}
	must(t, x.DropSetting("download/2"))
	must(t, x.DropSetting("none"))
	must(t, x.Close())
	x = open(t, dir)
	got := map[string]string{}
	must(t, x.EachSetting("download/", func(name string, value []byte) { got[name] = string(value) }))
	if want := map[string]string{"download/1": "of download/1", "download/3": "of download/3"}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := x.Setting("download/2"); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("dropped: %v", err)
	}
}
