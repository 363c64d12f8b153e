package wire

import (
	"errors"
	"io"
)

// MaxOthers bounds the infohashes in the body of an announce.
const MaxOthers = 4096

var errOthers = errors.New("the body is not a list of at most 4096 infohashes")

// AppendOthers appends the body of an announce for several swarms: their
// infohashes, 20 bytes each.
func AppendOthers(dst []byte, hashes ...InfoHash) []byte {
	for _, h := range hashes {
		dst = append(dst, h[:]...)
	}
	return dst
}

// ReadOthers appends to dst what AppendOthers wrote. The errors may be shown to
// the peer.
func ReadOthers(dst []InfoHash, r io.Reader) ([]InfoHash, error) {
	for range MaxOthers {
		var h InfoHash
		switch _, err := io.ReadFull(r, h[:]); {
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return nil, errOthers
		}
		dst = append(dst, h)
	}
	if n, _ := r.Read(make([]byte, 1)); n > 0 {
		return nil, errOthers
	}
	return dst, nil
}
