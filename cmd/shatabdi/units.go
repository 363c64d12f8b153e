package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// Size is a number of bytes, written "64MiB", "3GB" or as a plain number.
type Size int64

// UnmarshalText reads a size; units are those of IEC 80000-13 (KiB, MiB, …)
// and SI (kB, MB, …), in any case.
func (s *Size) UnmarshalText(b []byte) error {
	n, err := parseBytes(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a size; want a number of bytes such as 64MiB, 3GB or 4096", b)
	}
	*s = Size(n)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Size) String() string { return formatBytes(int64(s)) }

// Rate is a speed in bytes a second, written "4MiB/s" or "1Gbit/s". Zero means
// no limit.
type Rate int64

// UnmarshalText reads a rate. The unit of time may be left out.
func (r *Rate) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	if text == "unlimited" || text == "none" {
		*r = 0
		return nil
	}
	text = strings.TrimSpace(strings.TrimSuffix(text, "/s"))
	amount, inBits := strings.CutSuffix(text, "bit")
	if inBits {
		text = amount + "B"
	}
	n, err := parseBytes(text)
	if err != nil {
		return fmt.Errorf("%q is not a rate; want bytes or bits a second such as 4MiB/s, 1Gbit/s, or unlimited", b)
	}
	if inBits {
		n /= 8
	}
	*r = Rate(n)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r Rate) String() string {
	if r == 0 {
		return "unlimited"
	}
	return formatBytes(int64(r)) + "/s"
}

// Pace is a rate of something that may also not be done at all: zero.
type Pace int64

// UnmarshalText reads a rate, or "off".
func (p *Pace) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	var r Rate
	err := r.UnmarshalText([]byte(text))
	if text != "off" && text != "0" && (err != nil || r == 0) {
		return fmt.Errorf("%q is not a pace; want bytes or bits a second such as 10MiB/s, or off", b)
	}
	*p = Pace(r)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (p Pace) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p Pace) String() string {
	if p == 0 {
		return "off"
	}
	return Rate(p).String()
}

// rates reads and writes rates for the API.
type rates struct{}

func (rates) Parse(text string) (int64, error) {
	var r Rate
	err := r.UnmarshalText([]byte(text))
	return int64(r), err
}

func (rates) Format(n int64) string { return Rate(n).String() }

// Share is an amount of disk: a number of bytes, or a percentage of the file
// system's size. Only one of the two is set.
type Share struct {
	Bytes   Size
	Percent float64
}

// UnmarshalText reads "50GiB" or "10%".
func (s *Share) UnmarshalText(b []byte) error {
	number, isPercent := strings.CutSuffix(strings.TrimSpace(string(b)), "%")
	if !isPercent {
		var n Size
		if err := n.UnmarshalText(b); err != nil {
			return fmt.Errorf("%q is neither a size nor a percentage; want something like 50GiB or 10%%", b)
		}
		*s = Share{Bytes: n}
		return nil
	}
	p, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(p) || p < 0 || p > 100 {
		return fmt.Errorf("%q is not a percentage; want 0%% to 100%%", b)
	}
	*s = Share{Percent: p}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Share) String() string {
	if s.Percent > 0 {
		return strconv.FormatFloat(s.Percent, 'g', -1, 64) + "%"
	}
	return s.Bytes.String()
}

// Of returns the share of a file system of total bytes.
func (s Share) Of(total int64) int64 {
	if s.Percent > 0 {
		return int64(float64(total) / 100 * s.Percent)
	}
	return int64(s.Bytes)
}

// VolumeDir is a directory for objects, and what they may take there, written
// "/mnt/a" or "/mnt/a=500GiB".
type VolumeDir struct {
	Dir  string
	Size Share // zero: as the configuration says for all
}

// UnmarshalText reads a directory, and a size behind the last =.
func (v *VolumeDir) UnmarshalText(b []byte) error {
	dir, size, sized := string(b), "", false
	if i := strings.LastIndexByte(dir, '='); i >= 0 {
		dir, size, sized = dir[:i], dir[i+1:], true
	}
	*v = VolumeDir{Dir: dir}
	if !sized {
		return nil
	}
	if err := v.Size.UnmarshalText([]byte(size)); err != nil {
		return err
	}
	if v.Size == (Share{}) {
		return fmt.Errorf("%q: nothing would fit; want a size such as 500GiB or 80%%", b)
	}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (v VolumeDir) MarshalText() ([]byte, error) {
	if v.Size == (Share{}) {
		return []byte(v.Dir), nil
	}
	return []byte(v.Dir + "=" + v.Size.String()), nil
}

func parseBytes(text string) (int64, error) {
	text = strings.TrimSpace(text)
	// humanize goes through a float, which is not exact above 2^53.
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return n, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil {
		return 0, err
	}
	if n > math.MaxInt64 {
		return 0, strconv.ErrRange
	}
	return int64(n), nil
}

var byteUnits = []struct {
	name string
	size int64
}{
	{"PiB", 1 << 50}, {"PB", 1e15}, {"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9},
	{"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10},
}

// formatBytes prints n exactly: in the largest unit that divides it.
func formatBytes(n int64) string {
	for _, u := range byteUnits {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
