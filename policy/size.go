package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written "4194304", "4MiB" or "4MB" in configuration.
type Size int64

const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// units, largest first for printing; "" must be last.
var units = [...]struct {
	name  string
	bytes Size
}{
	{"TiB", 1 << 40}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}, {"", 1},
}

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.TrimSpace(text[len(digits):])
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("size %q: want a whole number of bytes, or with a unit such as 4MiB", text)
	}
	for _, u := range units {
		if !strings.EqualFold(unit, u.name) {
			continue
		}
		if n > math.MaxInt64/int64(u.bytes) {
			return fmt.Errorf("size %q: too large", text)
		}
		*s = Size(n) * u.bytes
		return nil
	}
	return fmt.Errorf("size %q: unknown unit %q, want B, KiB, MiB, GiB, TiB, KB, MB, GB or TB", text, unit)
}

// MarshalText prints a size in the largest binary unit that divides it.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Size) String() string {
	for _, u := range units[:4] {
		if s != 0 && s%u.bytes == 0 {
			return fmt.Sprintf("%d%s", s/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
