package swarmcache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

const sumOfHello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

// Of several that create the same at once, on two nodes, one does, and when that fails
// another. What a precondition refuses is not read.
func TestOneCreates(t *testing.T) {
	all := cachetest.NewDirectory()
	var nodes []*swarmcache.Cache
	for _, id := range []swarmcache.NodeID{"a", "b"} {
		self := swarmcache.Node{ID: id}
		c, err := swarmcache.Open(swarmcache.Config{Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: all.Node(self), Node: self, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		must(t, err)
		t.Cleanup(func() { c.Close() })
		nodes = append(nodes, c)
	}
	at := swarmcache.Place{SHA256: sumOfHello, Name: "f", Pin: true}
	absent := func(exists bool) bool { return !exists }
	try := func(bodies ...io.Reader) (created, refused, failed int32) {
		var all sync.WaitGroup
		for i, body := range bodies {
			all.Go(func() {
				rec, new, err := nodes[i%2].PutAt(t.Context(), at, keyOf, absent, body)
				switch {
				case err == nil && new && rec.Complete && rec.Pinned:
					atomic.AddInt32(&created, 1)
				case errors.Is(err, swarmcache.ErrPrecondition):
					atomic.AddInt32(&refused, 1)
				case errors.Is(err, swarmcache.ErrOtherBytes):
					atomic.AddInt32(&failed, 1)
				default:
					t.Errorf("%+v, new %t, %v", rec, new, err)
				}
			})
		}
		all.Wait()
		return created, refused, failed
	}
	wrong := func() io.Reader { return strings.NewReader("wrong") }
	if c, r, f := try(wrong(), wrong(), wrong()); c+r != 0 || f != 3 {
		t.Errorf("wrong bytes: %d created, %d refused, %d failed", c, r, f)
	}
	var bodies []io.Reader
	for range 8 {
		bodies = append(bodies, strings.NewReader("hello"))
	}
	if c, r, f := try(bodies...); c != 1 || r != 7 || f != 0 {
		t.Errorf("%d created, %d refused, %d failed", c, r, f)
	}
	if c, r, f := try(failing{}, failing{}); c+f != 0 || r != 2 {
		t.Errorf("it is there: %d created, %d refused, %d failed", c, r, f)
	}
}

// What is there may be put again, also where only another node has it; what a
// precondition needs to know must be known.
func TestPutAtItsPlace(t *testing.T) {
	d := newDoubter(t, nothing)
	at := swarmcache.Place{SHA256: sumOfHello, Name: "f"}
	hello := func() io.Reader { return strings.NewReader("hello") }
	exists := func(exists bool) bool { return exists }
	if _, _, err := d.PutAt(t.Context(), at, keyOf, exists, failing{}); !errors.Is(err, swarmcache.ErrPrecondition) {
		t.Errorf("where nothing is: %v", err)
	}
	d.all.SetAvailable(false)
	if _, _, err := d.PutAt(t.Context(), at, keyOf, exists, failing{}); !errors.Is(err, swarmcache.ErrUnavailable) {
		t.Errorf("nobody can be asked: %v", err)
	}
	rec, created, err := d.PutAt(t.Context(), at, keyOf, nil, hello())
	if err != nil || !created || !rec.Untold || rec.Pinned || rec.Version.Stored.Header.Get("Etag") != at.Tag() {
		t.Errorf("%+v, %t, %v", rec, created, err)
	}
	_, created, err = d.PutAt(t.Context(), at, keyOf, exists, hello())
	if err != nil || created {
		t.Errorf("it is here: created %t, %v", created, err)
	}
}

// telling does something when it is read.
type telling struct {
	io.Reader
	do func()
}

func (r telling) Read(b []byte) (int, error) {
	r.do()
	return r.Reader.Read(b)
}

// Who created something that others cannot find there cannot say so: they would too.
func TestCreatedAndUntold(t *testing.T) {
	d := newDoubter(t, nothing)
	at := swarmcache.Place{SHA256: sumOfHello, Name: "f", Pin: true}
	body := telling{strings.NewReader("hello"), func() { d.all.SetAvailable(false) }}
	rec, _, err := d.PutAt(t.Context(), at, keyOf, func(exists bool) bool { return !exists }, body)
	if !errors.Is(err, swarmcache.ErrUnavailable) || !rec.Complete || !rec.Pinned {
		t.Errorf("%+v, %v", rec, err)
	}
}

// Who creates something slowly holds up others for a while, not for ever.
func TestBeingPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoubter(t, nothing)
		defer d.Close()
		at := swarmcache.Place{SHA256: sumOfHello, Name: "f"}
		release, _, err := d.all.Node(swarmcache.Node{ID: "slow"}).ClaimFirst(t.Context(), keyOf(swarmcache.PutURL(at.SHA256, at.Name)))
		must(t, err)
		defer release()
		if _, _, err := d.PutAt(t.Context(), at, keyOf, func(bool) bool { return true }, failing{}); !errors.Is(err, swarmcache.ErrBeingPut) {
			t.Error(err)
		}
	})
}

// What the directory knows and no live node has is not there: a GET finds nothing, and
// one of those who create it does. When the tracker cannot tell, it is there.
func TestPutOfWhatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var copies atomic.Int32
		var away atomic.Bool
		ask := func(_ context.Context, of []swarmcache.InfoHash) (map[swarmcache.InfoHash]int, error) {
			if away.Load() {
				return nil, swarmcache.ErrUnavailable
			}
			return map[swarmcache.InfoHash]int{of[0]: int(copies.Load())}, nil
		}
		d := newDoubter(t, func(c *swarmcache.Config) { c.Copies, c.Swarm = ask, sealing{} })
		defer d.Close()
		at := swarmcache.Place{SHA256: sumOfHello, Name: "f"}
		hello := swarmcache.Version{Key: keyOf(swarmcache.PutURL(at.SHA256, at.Name)), Length: 5, InfoHash: swarmcache.InfoHash{1},
			Stored: policy.Stored{Status: 200, Header: http.Header{"Etag": {at.Tag()}}, ResponseTime: time.Now()}}
		must(t, d.all.Node(swarmcache.Node{ID: "gone"}).Publish(t.Context(), hello))
		absent := func(exists bool) bool { return !exists }

		for name, there := range map[string]func(){
			"another has it":         func() { copies.Store(1); away.Store(false) },
			"nobody knows":           func() { away.Store(true) },
			"it comes while we look": func() { copies.Store(0); away.Store(false); time.AfterFunc(time.Second, func() { copies.Store(1) }) },
		} {
			there()
			if _, _, err := d.PutAt(t.Context(), at, keyOf, absent, failing{}); !errors.Is(err, swarmcache.ErrPrecondition) {
				t.Errorf("%s: %v", name, err)
			}
			time.Sleep(2 * time.Second)
		}
		copies.Store(0)
		away.Store(false)
		ctx, leave := context.WithCancel(t.Context())
		d.directory.claimed = leave
		if _, _, err := d.PutAt(ctx, at, keyOf, absent, failing{}); err == nil || ctx.Err() == nil {
			t.Errorf("who left while claiming: %v", err) // and kept no claim, see below
		}
		d.directory.claimed = nil
		if _, _, err := d.PutAt(t.Context(), at, keyOf, func(exists bool) bool { return exists }, failing{}); !errors.Is(err, swarmcache.ErrPrecondition) {
			t.Errorf("If-Match where nothing is: %v", err)
		}
		var created, refused atomic.Int32
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				told := sync.OnceFunc(func() { time.AfterFunc(10*time.Second, func() { copies.Store(1) }) }) // the tracker is slow
				body := telling{strings.NewReader("hello"), told}
				switch rec, new, err := d.PutAt(t.Context(), at, keyOf, absent, body); {
				case err == nil && new && rec.Complete:
					created.Add(1)
				case errors.Is(err, swarmcache.ErrPrecondition):
					refused.Add(1)
				default:
					t.Errorf("%+v, new %t, %v", rec, new, err)
				}
			})
		}
		all.Wait()
		if created.Load() != 1 || refused.Load() != 3 {
			t.Errorf("%d created, %d refused", created.Load(), refused.Load())
		}
	})
}

// A body that sends nothing more ends.
func TestUnstalled(t *testing.T) {
	ended := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, swarmcache.Unstalled(w, r.Body, 100*time.Millisecond))
		ended <- err
	}))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	must(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nx")
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// Who obeys a purge late takes what was there before it out of the directory, and not
// what was put again meanwhile, though it is the same object.
func TestPutAgainAfterAPurge(t *testing.T) {
	for after, stays := range map[time.Duration]bool{0: false, 2 * time.Second: true} {
		d := newDoubter(t, nothing)
		at := swarmcache.Place{SHA256: sumOfHello, Name: "f"}
		rec, _, err := d.PutAt(t.Context(), at, keyOf, nil, strings.NewReader("hello"))
		must(t, err)
		other, again := d.all.Node(swarmcache.Node{ID: "other"}), rec.Version
		purge := swarmcache.Purge{ID: "p", Key: again.Key, At: again.Stored.ResponseTime.Add(time.Second)}
		must(t, other.Purge(t.Context(), purge))
		again.Stored.ResponseTime = again.Stored.ResponseTime.Add(after)
		must(t, other.Publish(t.Context(), again))
		d.tell(swarmcache.Standing{Purges: []swarmcache.Purge{purge}})
		eventually(t, func() bool { return slices.Contains(remembered(d.index), purge.Key) })
		if _, _, err := other.Lookup(t.Context(), purge.Key); (err == nil) != stays {
			t.Errorf("published by another %v after the put here: %v", after, err)
		}
	}
}
