package cachetest

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// What the chapters of TestDirectory share: nodes, versions, and a board as one who watches it sees it.

// lab adds what the cases share.
type lab struct {
	DirectoryLab
	ctx context.Context
}

func (l lab) node(i int) swarmcache.Directory { return l.Node(labNode(i)) }

func labNode(i int) swarmcache.Node {
	return swarmcache.Node{
		ID:    swarmcache.NodeID(fmt.Sprintf("node-%d", i)),
		Peers: []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 42069)},
		Zone:  "z",
	}
}

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// version makes a version of key whose response is so old.
func version(key policy.Key, etag string, date time.Time) swarmcache.Version {
	v := swarmcache.Version{
		Key: key, URL: string(key), Validator: etag, Length: 32 << 20, PieceLen: 128 << 10,
		Stored: policy.Stored{
			Status:       200,
			Header:       http.Header{"Date": {date.Format(http.TimeFormat)}, "Etag": {etag}},
			ResponseTime: date,
		},
	}
	v.Identify()
	return v
}

func fillOf(v swarmcache.Version) swarmcache.FillRecord {
	return swarmcache.FillRecord{Version: v, MaxSpan: 4, Opener: "node-1"}
}

// hashes makes n piece hashes that depend on the seed.
func hashes(seed string, n int) []byte {
	var b []byte
	for i := range n {
		h := sha1.Sum(fmt.Appendf(nil, "%s %d", seed, i))
		b = append(b, h[:]...)
	}
	return b
}

// join opens or joins the fill of v from one node.
func (l lab) join(t *testing.T, d swarmcache.Directory, v swarmcache.Version) swarmcache.Board {
	t.Helper()
	r, b, err := d.OpenFill(l.ctx, fillOf(v))
	noErr(t, err)
	if b == nil {
		b, err = d.JoinFill(l.ctx, r)
		noErr(t, err)
	}
	return b
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// view is a board as one watcher was told.
type view struct {
	mu     sync.Mutex
	spans  map[int]swarmcache.SpanRecord
	nodes  map[swarmcache.NodeID]swarmcache.Member
	fill   swarmcache.FillRecord
	caught bool
	listed bool
	ended  chan error
}

func (l lab) watch(t *testing.T, b swarmcache.Board) *view {
	v := &view{
		spans: map[int]swarmcache.SpanRecord{}, nodes: map[swarmcache.NodeID]swarmcache.Member{},
		ended: make(chan error, 1),
	}
	ctx, cancel := context.WithCancel(l.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.ended <- b.Watch(ctx, v.apply)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return v
}

func (v *view) apply(e swarmcache.BoardEvent) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case e.Span != nil:
		v.spans[e.Span.Span] = *e.Span
	case e.Freed != nil:
		delete(v.spans, *e.Freed)
	case e.Joined != nil:
		v.nodes[e.Joined.ID] = *e.Joined
	case e.Left != "":
		delete(v.nodes, e.Left)
	case e.Fill != nil:
		v.fill = *e.Fill
	case e.Caught:
		v.caught = true
	case e.Listed:
		v.listed = true
	}
}

// until waits for a condition on the view.
func (v *view) until(t *testing.T, what string, ok func(v *view) bool) {
	t.Helper()
	eventually(t, what, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return ok(v)
	})
}

func (v *view) isListed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.listed
}

func (v *view) lists(id swarmcache.NodeID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.nodes[id]
	return ok
}

func (v *view) span(i int) swarmcache.SpanRecord {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.spans[i]
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within 15 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (l lab) claim(t *testing.T, b swarmcache.Board, spans ...swarmcache.SpanRecord) []bool {
	t.Helper()
	won, err := b.Claim(l.ctx, spans)
	noErr(t, err)
	return won
}

func free(i int) swarmcache.SpanRecord { return swarmcache.SpanRecord{Span: i} }
