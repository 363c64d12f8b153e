package policy

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSize(t *testing.T) {
	for in, want := range map[string]Size{
		"0": 0, "4194304": 4 * MiB, "4MiB": 4 * MiB, "4 mib": 4 * MiB, "4MB": 4e6, "1KiB": 1024, "7B": 7, "2TiB": 2 << 40,
	} {
		var got Size
		if err := got.UnmarshalText([]byte(in)); err != nil || got != want {
			t.Errorf("%q: got %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "1.5GiB", "4M", "4 M B", "99999999999TiB", "9223372036854775808", "+4"} {
		var got Size
		if err := got.UnmarshalText([]byte(in)); err == nil && in != "+4" {
			t.Errorf("%q: accepted as %d", in, got)
		}
	}
}

func TestSizePrintsWhatItReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Size(rapid.Int64Min(0).Draw(t, "n"))
		if rapid.Bool().Draw(t, "round") {
			s = s >> 20 << 20
		}
		text, _ := s.MarshalText()
		var again Size
		if err := again.UnmarshalText(text); err != nil || again != s {
			t.Fatalf("%d: printed %q, read %d, %v", s, text, again, err)
		}
	})
}
