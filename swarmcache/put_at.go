package swarmcache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"shatabdi/policy"
)

var (
	// ErrOtherBytes: what was put is not what its address says.
	ErrOtherBytes = errors.New("the bytes have another SHA-256")
	// ErrPrecondition: what a request demands of what is there does not hold.
	ErrPrecondition = errors.New("the precondition does not hold")
	// ErrBeingPut: somebody else is creating it, and takes long. Try again later.
	ErrBeingPut = errors.New("it is being put there")
)

const (
	// StallPut is how long the body of a PUT may send nothing: others that want to
	// create the same wait for it.
	StallPut = 30 * time.Second
	// patiencePlace is how long they do.
	patiencePlace = 30 * time.Second
)

// Unstalled is the body of the request that w answers, for as long as no read of it
// takes longer than stall; then it is os.ErrDeadlineExceeded.
func Unstalled(w http.ResponseWriter, body io.Reader, stall time.Duration) io.Reader {
	return &unstalled{http.NewResponseController(w), body, stall}
}

type unstalled struct {
	conn  *http.ResponseController
	body  io.Reader
	stall time.Duration
}

func (u *unstalled) Read(b []byte) (int, error) {
	u.conn.SetReadDeadline(time.Now().Add(u.stall)) // what cannot have one has none
	n, err := u.body.Read(b)
	if err == io.EOF { // after anything else the server need not wait for the rest
		u.conn.SetReadDeadline(time.Time{}) // it looks whether the client is there
	}
	return n, err
}

// Place is where something is put: the path of a PutURL.
type Place struct {
	SHA256 string // in hexadecimal digits
	Name   string
	Pin    bool // what is put there stays
}

// PlaceOf reads the place that a URL of PutHost names.
func PlaceOf(u *url.URL) (Place, bool) {
	sum, name, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	return Place{SHA256: sum, Name: name, Pin: true}, IsDigest(sum) && Nameable(name)
}

// IsDigest reports whether sum can be that of an address.
func IsDigest(sum string) bool {
	return len(sum) == 64 && strings.Trim(sum, "0123456789abcdef") == ""
}

// Nameable reports whether name can be the last part of an address.
func Nameable(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.Contains(name, "/") &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Tag is the entity tag of what is at the place.
func (p Place) Tag() string { return `"` + p.SHA256 + `"` }

// Precondition is what a request demands of what is at the place; nil: nothing.
func (p Place) Precondition(h http.Header) (holds func(exists bool) bool) {
	if !policy.HasPrecondition(h) {
		return nil
	}
	return func(exists bool) bool {
		if !exists {
			return policy.MayChange(h, "")
		}
		return policy.MayChange(h, p.Tag())
	}
}

// PutAt is Put at a place that is known before: bytes of another digest are
// ErrOtherBytes. created tells that the cluster had nothing there, as far as it could
// be asked. With a precondition it must be: holds is told whether there is something,
// before a byte is read, and ErrPrecondition is what its no means. Of several that
// create the same at once, on whichever nodes, one finds nothing there, and the others
// wait for what comes of it; if that takes long, ErrBeingPut. While the directory was
// not told of it others cannot find it there: ErrUnavailable, though it is here.
func (c *Cache) PutAt(ctx context.Context, at Place, key func(*url.URL) policy.Key, holds func(exists bool) bool, r io.Reader) (rec Record, created bool, err error) {
	exists, release, err := c.claimPlace(ctx, key(PutURL(at.SHA256, at.Name)), holds != nil)
	if err != nil {
		return Record{}, false, err
	}
	defer release()
	if holds != nil && !holds(exists) {
		return Record{}, false, ErrPrecondition
	}
	rec, err = c.put(ctx, at.Name, at.SHA256, key, r)
	if err == nil && at.Pin && !rec.Pinned {
		err = c.SetPinned(rec.Version.ID, true)
		rec.Pinned = err == nil
	}
	if err == nil && holds != nil && !exists && rec.Untold {
		err = ErrUnavailable
	}
	if err == nil && holds != nil && !exists {
		c.vouch(ctx, rec.Version.InfoHash) // under its claim: the next one would not find it
		c.awaitCopy(ctx, rec.Version.InfoHash, patiencePlace)
	}
	return rec, !exists, err
}

// claimPlace tells whether the cluster has what key selects. If it must be sure of
// that, and there is nothing, nobody else finds out so much before release.
func (c *Cache) claimPlace(ctx context.Context, key policy.Key, sure bool) (exists bool, release func(), err error) {
	release = func() {}
	if r, err := c.Selected(key); err == nil && r.Complete {
		return true, release, nil
	}
	wait, cancel := context.WithTimeout(ctx, patiencePlace)
	defer cancel()
	for {
		v, fill, err := c.cfg.Directory.Lookup(ctx, key)
		switch {
		case err == nil && sure && v != nil && fill == nil:
			return c.claimLost(wait, key, v.InfoHash)
		case err == nil || !sure:
			return err == nil, release, nil
		case !errors.Is(err, ErrNotFound):
			return false, nil, err
		}
		claimed, err := c.claimPut(wait, key)
		if claimed != nil || err != nil {
			return false, claimed, err
		}
		if ctx.Err() != nil {
			return false, nil, ctx.Err()
		}
	}
}

// claimPut claims key; without a claim and an error another node had it, and something
// may be there now.
func (c *Cache) claimPut(wait context.Context, key policy.Key) (release func(), err error) {
	release, _, err = c.cfg.Directory.ClaimFirst(wait, key)
	if held := (*ClaimedError)(nil); !errors.As(err, &held) {
		return release, err
	}
	if errors.Is(wait.Err(), context.DeadlineExceeded) {
		return nil, ErrBeingPut
	}
	return nil, nil
}

// claimLost is claimPlace where the directory knows of a torrent: one that no live node
// has all of is not there, as a GET would say. Its record stands, so it is not the
// record's key by which those who create it again wait for each other.
func (c *Cache) claimLost(wait context.Context, key policy.Key, torrent InfoHash) (exists bool, release func(), err error) {
	if c.copied(wait, torrent) {
		return true, func() {}, nil
	}
	for release == nil {
		if release, err = c.claimPut(wait, key+"\nlost"); err != nil {
			return false, nil, err
		}
		if release == nil && wait.Err() != nil {
			return false, nil, context.Cause(wait)
		}
	}
	// Who has just come may not have told the tracker yet.
	if c.awaitCopy(wait, torrent, patienceSeed) {
		release()
		return true, func() {}, nil
	}
	if wait.Err() != nil {
		release()
		return false, nil, ErrBeingPut
	}
	return false, release, nil
}

// vouch waits until the tracker knows that this node has a torrent. That it knows of some
// copy would not do: another node may not have obeyed yet the purge of what was here before.
func (c *Cache) vouch(ctx context.Context, torrent InfoHash) {
	if c.cfg.Swarm == nil || torrent.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patiencePlace)
	defer cancel()
	if err := c.cfg.Swarm.Vouch(ctx, torrent); err != nil {
		c.log.Debug("tell the tracker what was put", "error", err) // it hears of it later
	}
}

// awaitCopy waits until there is a copy of a torrent.
func (c *Cache) awaitCopy(ctx context.Context, torrent InfoHash, patience time.Duration) bool {
	for begun := c.now(); !c.copied(ctx, torrent); {
		if c.now().Sub(begun) >= patience {
			return false
		}
		select {
		case <-time.After(patienceSeedless / 6):
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// copied reports whether there is a copy of a torrent; if nobody can be asked there is.
func (c *Cache) copied(ctx context.Context, torrent InfoHash) bool {
	if c.cfg.Copies == nil || torrent.IsZero() {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	copies, err := c.cfg.Copies(ctx, []InfoHash{torrent})
	return err != nil || copies[torrent] > 0
}
