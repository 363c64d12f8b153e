package main

import (
	"math"
	"strings"
	"testing"
)

func TestSize(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Size
		back string
	}{
		{"0", 0, "0"},
		{"4096", 4096, "4KiB"},
		{"64MiB", 64 << 20, "64MiB"},
		{"64 mib", 64 << 20, "64MiB"},
		{"64M", 64e6, "64MB"},
		{"3GB", 3e9, "3GB"},
		{"1.5GiB", 3 << 29, "1536MiB"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807"},
	} {
		var s Size
		if err := s.UnmarshalText([]byte(tt.text)); err != nil || s != tt.want || s.String() != tt.back {
			t.Errorf("%q = %d (%s), %v; want %d (%s)", tt.text, s, s, err, tt.want, tt.back)
		}
	}
	for _, text := range []string{"", "lots", "-1", "-1KiB", "4MiB/s", "16EiB", "9223372036854775808", "NaN", "1e3"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %s", text, s)
		} else if !strings.Contains(err.Error(), "want") {
			t.Errorf("%q: %v; it does not say what would be accepted", text, err)
		}
	}
}

func TestRate(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Rate
		back string
	}{
		{"4MiB/s", 4 << 20, "4MiB/s"},
		{"4MiB", 4 << 20, "4MiB/s"},
		{"1Gbit/s", 125e6, "125MB/s"},
		{"100Mbit", 12_500_000, "12500000/s"},
		{"unlimited", 0, "unlimited"},
		{"0", 0, "unlimited"},
	} {
		var r Rate
		if err := r.UnmarshalText([]byte(tt.text)); err != nil || r != tt.want || r.String() != tt.back {
			t.Errorf("%q = %d (%s), %v; want %d (%s)", tt.text, r, r, err, tt.want, tt.back)
		}
	}
	for _, text := range []string{"", "/s", "fast", "4MiB/h", "-1/s", "bit/s"} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %s", text, r)
		}
	}
}

func TestPace(t *testing.T) {
	for text, want := range map[string]string{"10MiB/s": "10MiB/s", "80Mbit/s": "10MB/s", "off": "off", "0": "off"} {
		var p Pace
		if err := p.UnmarshalText([]byte(text)); err != nil || p.String() != want {
			t.Errorf("%q = %s, %v; want %s", text, p, err, want)
		}
	}
	for _, text := range []string{"", "unlimited", "none", "slow", "-1"} {
		var p Pace
		if err := p.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %s", text, p)
		}
	}
}

func TestShare(t *testing.T) {
	for _, tt := range []struct {
		text string
		of   int64 // of 1000 bytes
		back string
	}{
		{"10%", 100, "10%"},
		{"12.5 %", 125, "12.5%"},
		{"0%", 0, "0"},
		{"100%", 1000, "100%"},
		{"300", 300, "300"},
	} {
		var s Share
		if err := s.UnmarshalText([]byte(tt.text)); err != nil || s.Of(1000) != tt.of || s.String() != tt.back {
			t.Errorf("%q = %s, %d of 1000, %v; want %s, %d", tt.text, s, s.Of(1000), err, tt.back, tt.of)
		}
	}
	for _, text := range []string{"", "%", "101%", "-1%", "NaN%", "half"} {
		var s Share
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %s", text, s)
		}
	}
}

func TestUplinkLeavesRoomForHeaders(t *testing.T) {
	if got := (Peer{Uplink: 100e6}).Upload(); got != 92e6 {
		t.Errorf("of an uplink of 100MB/s uploads take %s", got)
	}
	if got := (Peer{UploadLimit: 100e6}).Upload(); got != 100e6 {
		t.Errorf("an upload limit of 100MB/s became %s", got)
	}
}

// What is read prints back as something that reads the same.
func FuzzUnits(f *testing.F) {
	for _, s := range []string{"64MiB", "3GB", "4MiB/s", "1Gbit/s", "12.5%", "9007199254740993", "1,000", "unlimited", "8191PiB", "1.0000001PB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, s2 Size
		if s.UnmarshalText([]byte(text)) == nil {
			if err := s2.UnmarshalText([]byte(s.String())); err != nil || s != s2 || s < 0 {
				t.Errorf("size %q = %d prints as %s = %d (%v)", text, s, s, s2, err)
			}
		}
		var r, r2 Rate
		if r.UnmarshalText([]byte(text)) == nil {
			if err := r2.UnmarshalText([]byte(r.String())); err != nil || r != r2 || r < 0 {
				t.Errorf("rate %q = %d prints as %s = %d (%v)", text, r, r, r2, err)
			}
		}
		var h, h2 Share
		if h.UnmarshalText([]byte(text)) == nil {
			if err := h2.UnmarshalText([]byte(h.String())); err != nil || h != h2 || h.Of(1<<40) < 0 {
				t.Errorf("share %q = %v prints as %s = %v (%v)", text, h, h, h2, err)
			}
		}
	})
}
