package swarmcache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"

	"shatabdi/policy"
	"shatabdi/swarmcache/layout"
)

// ObjectID names one version of one object: H(key, variant, validator, length,
// coding). Two versions never share an id, and so never a fill, a file or an
// infohash. Lower-case hex, 64 digits.
type ObjectID string

// LogValue shortens the id to what an eye can compare.
func (id ObjectID) LogValue() slog.Value { return slog.StringValue(string(id[:min(12, len(id))])) }

// InfoHash names a swarm (BEP 3). The zero value means "none yet".
type InfoHash [20]byte

func (h InfoHash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether there is no infohash.
func (h InfoHash) IsZero() bool { return h == InfoHash{} }

// LogValue shortens the infohash.
func (h InfoHash) LogValue() slog.Value { return slog.StringValue(h.String()[:12]) }

// MarshalText writes hex, and nothing for the zero value.
func (h InfoHash) MarshalText() ([]byte, error) {
	if h.IsZero() {
		return nil, nil
	}
	return []byte(h.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (h *InfoHash) UnmarshalText(b []byte) error {
	*h = InfoHash{}
	if len(b) == 0 {
		return nil
	}
	if len(b) != 40 {
		return fmt.Errorf("infohash: %d digits, want 40", len(b))
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// Version is one stored response: what an ObjectID stands for. It is what the
// catalogue keeps and what the directory publishes.
type Version struct {
	ID     ObjectID      `json:"id"`
	Key    policy.Key    `json:"key"`
	URL    string        `json:"url"` // as fetched; names the file in the sealed torrent
	Stored policy.Stored `json:"stored"`
	// Scale names the time in which the directory keeps that of Stored; on a node,
	// whose own it is then, it is empty.
	Scale string `json:"scale,omitempty"`
	// Validator is what goes into If-Range: a strong entity tag, or a
	// Last-Modified that is strong by RFC 9110 §8.8.2.2. Empty: none, so spans
	// of this version cannot be fetched apart.
	Validator string   `json:"validator,omitempty"`
	Length    int64    `json:"length"`            // bytes of the body
	PieceLen  int64    `json:"piece_len"`         // bytes of a piece, all but the last
	SHA256    string   `json:"sha256,omitempty"`  // of the body, hex; set when known
	InfoHash  InfoHash `json:"infohash,omitzero"` // of the sealed torrent; zero until sealed
	Attempt   int      `json:"attempt,omitempty"` // how often a fill of this version was restarted
	Nonce     string   `json:"nonce,omitempty"`   // tells apart versions that have no validator
	// Obeyed is what Directory.Obeyed was when this was last sure not to have been
	// purged; 0: what it is.
	Obeyed int64 `json:"-"`
}

// Identify sets v.ID from what identifies a version.
func (v *Version) Identify() {
	h := sha256.New()
	for _, s := range []string{
		string(v.Key), v.Validator, v.Nonce, v.Stored.Header.Get("Content-Encoding"),
		fmt.Sprint(v.Length), fmt.Sprint(v.Attempt), selecting(v.Stored),
	} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	v.ID = ObjectID(hex.EncodeToString(h.Sum(nil)))
}

// older reports whether the origin certainly made v before other.
func (v *Version) older(other *Version) bool { return policy.Older(&v.Stored, &other.Stored) }

// selecting prints the request fields that chose this variant, in a fixed order.
func selecting(s policy.Stored) string {
	if len(s.Selecting) == 0 {
		return ""
	}
	// fmt prints maps in key order.
	return fmt.Sprint(map[string][]string(s.Selecting))
}

// Layout returns the arithmetic of v's pieces.
func (v *Version) Layout() layout.Layout {
	return layout.Layout{Length: v.Length, PieceLen: v.PieceLen}
}
