package wire

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxText bounds the text parameters, in bytes.
const maxText = 128

var (
	errEscape = errors.New("bad %-escape")
	errNumber = errors.New("not a number")
	errLong   = fmt.Errorf("longer than %d bytes", maxText)
)

// ParseRequest reads the query of an announce. info_hash and peer_id must be
// there. Of a parameter given twice the first counts: a client appends its own
// to those that stand in its announce URL, and a node's proof stands there.
// "ip", "ipv4" and "ipv6" are ignored, since a peer could name somebody else.
// The errors may be shown to the peer.
func ParseRequest(query string) (Request, error) {
	r := Request{Left: LeftUnknown}
	var seen params
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		p := paramOf(name)
		if p == 0 || seen&p != 0 {
			continue
		}
		seen |= p
		if err := r.set(p, value); err != nil {
			return Request{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	if seen&paramInfoHash == 0 {
		return Request{}, errors.New("info_hash: missing")
	}
	if seen&paramPeerID == 0 {
		return Request{}, errors.New("peer_id: missing")
	}
	return r, nil
}

// params is a set of parameters.
type params uint16

const (
	paramInfoHash params = 1 << iota
	paramPeerID
	paramPort
	paramUploaded
	paramDownloaded
	paramLeft
	paramEvent
	paramNumWant
	paramCompact
	paramNoPeerID
	paramNode
	paramKey
	paramTrackerID
)

func paramOf(name string) params {
	switch name {
	case "info_hash":
		return paramInfoHash
	case "peer_id":
		return paramPeerID
	case "port":
		return paramPort
	case "uploaded":
		return paramUploaded
	case "downloaded":
		return paramDownloaded
	case "left":
		return paramLeft
	case "event":
		return paramEvent
	case "numwant":
		return paramNumWant
	case "compact":
		return paramCompact
	case "no_peer_id":
		return paramNoPeerID
	case "node":
		return paramNode
	case "key":
		return paramKey
	case "trackerid":
		return paramTrackerID
	}
	return 0
}

func (r *Request) set(p params, value string) (err error) {
	switch p {
	case paramInfoHash:
		err = unescape20((*[20]byte)(&r.InfoHash), value)
	case paramPeerID:
		err = unescape20((*[20]byte)(&r.PeerID), value)
	case paramPort:
		var n uint64
		if n, err = strconv.ParseUint(value, 10, 16); err != nil {
			err = errNumber
		}
		r.Port = uint16(n)
	case paramUploaded:
		r.Uploaded, err = parseBytes(value)
	case paramDownloaded:
		r.Downloaded, err = parseBytes(value)
	case paramLeft:
		if value == "-1" { // some clients' way to say that they do not know
			r.Left = LeftUnknown
		} else {
			r.Left, err = parseBytes(value)
		}
	case paramEvent:
		r.Event = eventOf(value)
	case paramNumWant:
		r.NumWant, err = parseNumWant(value)
	case paramCompact:
		r.Dictionary = value == "0" // BEP 23: compact unless the peer declines
	case paramNoPeerID:
		r.NoPeerID = value == "1"
	case paramNode:
		r.Node, err = unescapeText(value)
	case paramKey:
		r.Key, err = unescapeText(value)
	case paramTrackerID:
		r.TrackerID, err = unescapeText(value)
	}
	return err
}

func eventOf(name string) Event {
	for e, n := range eventNames {
		if n == name {
			return Event(e)
		}
	}
	return Update
}

// parseBytes reads a count of bytes. What does not fit is as good as the largest
// that does: some clients count in unsigned 64 bits.
func parseBytes(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, errNumber
	}
	return int64(min(n, math.MaxInt64)), nil
}

// parseNumWant maps the wire's 0 (no peers) to -1 and its absent or -1 (the
// default, for many clients) to 0.
func parseNumWant(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, errNumber
	case n == 0:
		return -1, nil
	case n < 0:
		return 0, nil
	}
	return int(min(n, math.MaxInt32)), nil
}

// unescape20 decodes exactly 20 bytes. "+" is a space, as in forms: clients that
// print a space so are more than those that leave 0x2b unescaped.
func unescape20(dst *[20]byte, s string) error {
	n := 0
	for i := 0; i < len(s); n++ {
		c, width := unescapeAt(s, i)
		if width == 0 {
			return errEscape
		}
		if n < len(dst) {
			dst[n] = c
		}
		i += width
	}
	if n != len(dst) {
		return fmt.Errorf("%d bytes, want %d", n, len(dst))
	}
	return nil
}

// unescapeText decodes a short text; without escapes it is a part of s.
func unescapeText(s string) (string, error) {
	if !strings.ContainsAny(s, "%+") {
		if len(s) > maxText {
			return "", errLong
		}
		return s, nil
	}
	var buf [maxText]byte
	n := 0
	for i := 0; i < len(s); n++ {
		c, width := unescapeAt(s, i)
		if width == 0 {
			return "", errEscape
		}
		if n == len(buf) {
			return "", errLong
		}
		buf[n] = c
		i += width
	}
	return string(buf[:n]), nil
}

// unescapeAt decodes the byte at s[i:] and says how many bytes of s it took; 0:
// a bad escape.
func unescapeAt(s string, i int) (c byte, width int) {
	switch s[i] {
	case '+':
		return ' ', 1
	case '%':
		if len(s)-i < 3 {
			return 0, 0
		}
		hi, lo := unhex(s[i+1]), unhex(s[i+2])
		if hi > 15 || lo > 15 {
			return 0, 0
		}
		return hi<<4 | lo, 3
	}
	return s[i], 1
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// AppendQuery appends the announce as a query, without "?".
func (r *Request) AppendQuery(dst []byte) []byte {
	dst = appendEscaped(append(dst, "info_hash="...), string(r.InfoHash[:]))
	dst = appendEscaped(append(dst, "&peer_id="...), string(r.PeerID[:]))
	dst = strconv.AppendUint(append(dst, "&port="...), uint64(r.Port), 10)
	dst = strconv.AppendInt(append(dst, "&uploaded="...), max(r.Uploaded, 0), 10)
	dst = strconv.AppendInt(append(dst, "&downloaded="...), max(r.Downloaded, 0), 10)
	dst = strconv.AppendInt(append(dst, "&left="...), max(r.Left, 0), 10)
	if r.Event != Update {
		dst = append(append(dst, "&event="...), r.Event.String()...)
	}
	if r.NumWant != 0 {
		dst = strconv.AppendInt(append(dst, "&numwant="...), int64(max(r.NumWant, 0)), 10)
	}
	if r.Dictionary {
		dst = append(dst, "&compact=0"...)
	} else {
		dst = append(dst, "&compact=1"...)
	}
	if r.NoPeerID {
		dst = append(dst, "&no_peer_id=1"...)
	}
	for _, t := range [...]struct{ name, value string }{
		{"&node=", r.Node}, {"&key=", r.Key}, {"&trackerid=", r.TrackerID},
	} {
		if t.value != "" {
			dst = appendEscaped(append(dst, t.name...), t.value)
		}
	}
	return dst
}

// AppendScrape appends the infohashes that the query of a scrape names to dst,
// at most limit of them. The errors may be shown to the peer.
func AppendScrape(dst []InfoHash, query string, limit int) ([]InfoHash, error) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		value, ok := strings.CutPrefix(pair, "info_hash=")
		if !ok {
			continue
		}
		if limit--; limit < 0 {
			return nil, errors.New("too many infohashes")
		}
		var h InfoHash
		if err := unescape20((*[20]byte)(&h), value); err != nil {
			return nil, fmt.Errorf("info_hash: %w", err)
		}
		dst = append(dst, h)
	}
	return dst, nil
}

// AppendScrapeQuery appends the query that asks for hashes, without "?".
func AppendScrapeQuery(dst []byte, hashes ...InfoHash) []byte {
	for i, h := range hashes {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = appendEscaped(append(dst, "info_hash="...), string(h[:]))
	}
	return dst
}

// appendEscaped escapes all but the unreserved characters (RFC 3986 §2.3).
func appendEscaped(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}
