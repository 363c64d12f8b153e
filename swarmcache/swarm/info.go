package swarm

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/url"
	"path"
	"strings"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"

	"shatabdi/swarmcache"
)

// fillInfo returns the info of the fill torrent of v. It exists before any byte
// does: every node computes the same one from the response header alone. Its
// piece hashes are placeholders keyed with the cluster's secret, so the
// infohash is a capability: who cannot compute it cannot ask for it.
func fillInfo(v swarmcache.Version, secret []byte) ([]byte, metainfo.Hash) {
	private := true
	n := v.Layout().Pieces()
	info := metainfo.Info{
		Name: string(v.ID), PieceLength: v.PieceLen, Length: v.Length, Private: &private,
		Pieces: make([]byte, 0, n*20),
	}
	mac := hmac.New(sha256.New, secret)
	var sum [sha256.Size]byte
	for i := range n {
		mac.Reset()
		mac.Write([]byte(v.ID))
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(i)))
		info.Pieces = append(info.Pieces, mac.Sum(sum[:0])[:20]...)
	}
	b := bencode.MustMarshal(info)
	return b, metainfo.HashBytes(b)
}

// sealedInfo returns the info of the standard torrent over the same bytes. It
// depends on nothing but the version and the bytes, so that every node that
// knows the hashes computes the same infohash.
func sealedInfo(v swarmcache.Version, hashes []byte) ([]byte, metainfo.Hash) {
	info := metainfo.Info{Name: fileName(v.URL), PieceLength: v.PieceLen, Length: v.Length, Pieces: hashes}
	b := bencode.MustMarshal(info)
	return b, metainfo.HashBytes(b)
}

// SealedInfoHash is the infohash of the sealed torrent of v, all of whose hashes
// are given.
func SealedInfoHash(v swarmcache.Version, hashes []byte) swarmcache.InfoHash {
	_, ih := sealedInfo(v, hashes)
	return swarmcache.InfoHash(ih)
}

// fileName is the last element of a URL's path, made safe as a file name on
// any system a stock client may run on.
func fileName(rawURL string) string {
	name := ""
	if u, err := url.Parse(rawURL); err == nil {
		name = path.Base(u.Path)
	}
	name = strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`/\:*?"<>|`, r) || r == 0x7f {
			return '_'
		}
		return r
	}, name)
	if name == "" || name == "." || name == ".." || name == "_" {
		return "object"
	}
	return name[:min(len(name), 200)]
}
