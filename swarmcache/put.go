package swarmcache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"shatabdi/policy"
	"shatabdi/swarmcache/layout"
)

// PutHost is the host of what was put into the cluster: of it there is no origin,
// and no name service knows it. Proxies answer http://objects.shatabdi/SHA256/NAME
// from what nodes hold. People may write shatabdi://SHA256/NAME.
const PutHost = "objects.shatabdi"

const putScheme = "shatabdi://"

// PutURL is where a body with that digest is found, once it was put.
func PutURL(sha256, name string) *url.URL {
	return &url.URL{Scheme: "http", Host: PutHost, Path: "/" + sha256 + "/" + name}
}

// PutAddress is u, a PutURL, as people write it.
func PutAddress(u *url.URL) string { return putScheme + strings.TrimPrefix(u.EscapedPath(), "/") }

// Resolve turns an address that people write into a URL; others stay.
func Resolve(raw string) string {
	if rest, ok := strings.CutPrefix(raw, putScheme); ok {
		return "http://" + PutHost + "/" + rest
	}
	return raw
}

// ErrEmpty: what was put has no bytes.
var ErrEmpty = errors.New("it is empty")

// Put makes the bytes of r an object that has no origin: this node is the first
// that holds it. key tells what selects it. Where its name and bytes are known
// already, it is the same object. The record says Untold when the directory has
// not heard of it yet; it will.
func (c *Cache) Put(ctx context.Context, name string, key func(*url.URL) policy.Key, r io.Reader) (Record, error) {
	return c.put(ctx, name, "", key, r)
}

// put is Put of bytes that have a digest; empty: any.
func (c *Cache) put(ctx context.Context, name, want string, key func(*url.URL) policy.Key, r io.Reader) (Record, error) {
	s := c.Spool(Version{})
	defer s.Abort()
	var head bytes.Buffer
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(&head, s, sum), r, sniffed); err != nil && err != io.EOF {
		return Record{}, err
	}
	if _, err := io.CopyBuffer(io.MultiWriter(s, sum), r, make([]byte, 256<<10)); err != nil {
		return Record{}, err
	}
	if s.n == 0 {
		return Record{}, ErrEmpty
	}
	got := hex.EncodeToString(sum.Sum(nil))
	if want != "" && want != got {
		return Record{}, fmt.Errorf("%w: %s", ErrOtherBytes, got)
	}
	v := putVersion(name, got, s.n, head.Bytes(), policy.Stored{RequestTime: c.now(), ResponseTime: c.now()}, key)
	if have, err := c.Record(v.ID); err == nil && !have.Complete {
		c.forget(v.ID).wait() // a part of it came from peers; here is all
	}
	c.spools.mu.Lock()
	s.v = v
	c.spools.mu.Unlock()
	if err := s.Commit(ctx, 1); err != nil {
		return Record{}, err
	}
	if err := c.publishStored(v.ID, soon); err != nil && !errors.Is(err, ErrUnavailable) {
		c.log.Warn("publish what was put", "object", v.ID, "error", err)
	}
	rec, err := c.Record(v.ID)
	if err == nil && !rec.Complete {
		err = errPutAgain
	}
	return rec, err
}

// putAgain reports whether v was certainly put after was, of the same bytes: who forgets
// was, late, must not take v out of the directory. There is no origin to have it from.
func putAgain(v, was *Version) bool {
	return isPut(*v) && v.Stored.ResponseTime.Sub(was.Stored.ResponseTime) > policy.Doubts(v.Stored.Doubt, was.Stored.Doubt)
}

// errPutAgain: somebody here began to read the object from peers while it was put.
var errPutAgain = errors.New("a part of it came from peers meanwhile: put it once more")

// sniffed is how many bytes http.DetectContentType looks at.
const sniffed = 512

// putVersion is the version of a body: all of it follows from the name and the
// bytes, so that it is the same wherever it is put.
func putVersion(name, sum string, length int64, head []byte, s policy.Stored, key func(*url.URL) policy.Key) Version {
	u := PutURL(sum, name)
	tag := `"` + sum + `"`
	s.Status = http.StatusOK
	s.Header = http.Header{
		"Etag": {tag}, "Content-Type": {http.DetectContentType(head)},
		"Cache-Control": {"public, max-age=31536000, immutable"},
	}
	s = policy.Dated(s)
	v := Version{
		Key: key(u), URL: u.String(), Stored: s, Validator: tag, SHA256: sum,
		Length: length, PieceLen: layout.PieceLenFor(length),
	}
	v.Identify()
	return v
}
