package swarm

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"shatabdi/swarmcache"
	"shatabdi/tracker/wire"
)

// Timing of announces.
const (
	hungryEvery  = time.Second      // while pieces are missing and no peer is connected
	stalledEvery = 3 * time.Second  // while pieces are missing and none came since
	activeEvery  = 15 * time.Second // while pieces are missing
	seedEvery    = 2 * time.Minute  // while this node only gives, unless the tracker says otherwise
	announceWait = 5 * time.Second
	goodbyeWait  = time.Second // for all goodbyes together
)

// announcer tells the tracker what this node has and wants, and torrents where
// their peers are. Torrents in memory are announced one by one, what is merely
// held all together: see held.go.
type announcer struct {
	s      *Swarm
	client *http.Client
	wake   chan struct{}
	ctx    context.Context // of announces, but not of goodbyes
	cancel context.CancelFunc

	mu    sync.Mutex // guards the fields below
	due   map[metainfo.Hash]*announcement
	last  string          // the tracker's URL
	since time.Time       // of that
	news  []wire.InfoHash // objects that have just been sealed
	lost  []wire.InfoHash // objects that are held no more
	// parting counts the goodbyes that are under way: until they have been said nothing
	// else is said of theirs, lest a goodbye that was slow end what came after it.
	parting map[wire.InfoHash]int
}

type announcement struct {
	t    *joined
	next time.Time
	told bool // the tracker knows of us
	left bool // something was missing when we last told
	busy bool
	gone bool // removed while an announce was under way: a goodbye follows it

	pieces int       // that were missing when dueNow last looked
	moved  time.Time // when that changed, or the tracker was last asked
}

// stalled reports whether this node should ask for more peers before it is due:
// those that it has give nothing.
func (x *announcement) stalled(now time.Time) bool {
	if left := x.t.file.Left(); left != x.pieces {
		x.pieces, x.moved = left, now
	}
	return x.told && x.pieces > 0 && now.Sub(x.moved) >= stalledEvery
}

func newAnnouncer(s *Swarm) *announcer {
	ctx, cancel := context.WithCancel(context.Background())
	return &announcer{
		ctx: ctx, cancel: cancel,
		s: s, due: map[metainfo.Hash]*announcement{}, wake: make(chan struct{}, 1), parting: map[wire.InfoHash]int{},
		client: &http.Client{
			Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute},
		},
	}
}

// add announces a torrent at once.
func (a *announcer) add(t *joined) {
	a.mu.Lock()
	a.due[t.ih] = &announcement{t: t}
	a.mu.Unlock()
	a.poke()
}

// remove is called when a torrent leaves memory. The tracker hears a goodbye
// unless the object is held on.
func (a *announcer) remove(t *joined) {
	a.mu.Lock()
	x := a.due[t.ih]
	if x == nil || x.t != t {
		a.mu.Unlock()
		return
	}
	delete(a.due, t.ih)
	held := !t.fill && t.file.Left() == 0 && !t.file.Condemned()
	leaves := (x.told || x.busy) && !held
	if leaves {
		a.parting[wire.InfoHash(t.ih)]++
	}
	x.gone = leaves && x.busy
	now := leaves && !x.busy
	a.mu.Unlock()
	if now {
		a.s.goWork(func() { a.part(t.ih) })
	}
}

// part says goodbye to one object.
func (a *announcer) part(ih metainfo.Hash) {
	a.tell(a.ctx, ih, wire.Stopped, 0)
	a.parted(wire.InfoHash(ih))
	if a.s.holds(ih) {
		a.sealed(swarmcache.InfoHash(ih)) // anew, and that was said before
	}
}

// parted is called when goodbyes have been said, or could not be.
func (a *announcer) parted(all ...wire.InfoHash) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ih := range all {
		if a.parting[ih]--; a.parting[ih] == 0 {
			delete(a.parting, ih)
		}
	}
}

func (a *announcer) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run announces what is due, a few at a time.
func (a *announcer) run() {
	slots := make(chan struct{}, 8)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	held := heldTeller{a: a}
	for {
		select {
		case <-a.s.done:
			a.goodbye()
			return
		case <-a.wake:
		case <-tick.C:
		}
		now := time.Now()
		held.step(now)
		for _, x := range a.dueNow(now) {
			select {
			case slots <- struct{}{}:
			case <-a.s.done:
				a.goodbye()
				return
			}
			a.s.goWork(func() {
				defer func() { <-slots }()
				a.once(x)
			})
		}
	}
}

// dueNow picks what is to be announced now.
func (a *announcer) dueNow(now time.Time) (l []*announcement) {
	url := a.s.cfg.Tracker()
	a.mu.Lock()
	defer a.mu.Unlock()
	if url != a.last {
		a.beginAnewLocked(url, now)
	}
	if url == "" {
		return nil
	}
	for ih, x := range a.due {
		if !x.busy && a.parting[wire.InfoHash(ih)] == 0 && (!now.Before(x.next) || x.stalled(now)) {
			x.busy, x.moved = true, now
			l = append(l, x)
		}
	}
	return l
}

// beginAnewLocked turns to another tracker. It knows nothing: all is due, spread
// over a while, for all nodes turn to it at once.
func (a *announcer) beginAnewLocked(url string, now time.Time) {
	a.last, a.since = url, now
	for _, x := range a.due {
		x.told = false
		x.t.seedless.Store(false) // so said the other one
		x.next = now.Add(rand.N(min(5*time.Second, time.Duration(len(a.due))*10*time.Millisecond) + time.Millisecond))
	}
}

// once announces one swarm and plans the next time.
func (a *announcer) once(x *announcement) {
	t, ih, event := x.t, x.t.ih, wire.Update
	a.mu.Lock()
	if a.due[ih] != x { // it left while it waited for its turn
		gone := x.gone
		a.mu.Unlock()
		if gone {
			a.part(ih)
		}
		return
	}
	if !x.told {
		event = wire.Started
	}
	left := int64(t.file.Left()) * t.file.Layout().PieceLen
	if x.left && left == 0 && x.told {
		event = wire.Completed
	}
	a.mu.Unlock()

	url := a.s.cfg.Tracker()
	resp, err := a.tell(a.ctx, ih, event, left)
	if err != nil {
		a.s.log.Debug("announce", "infohash", swarmcache.InfoHash(ih), "error", err)
	} else if left > 0 {
		t.seedless.Store(resp.Complete == 0 && a.settled(url, time.Now()))
		t.told(resp.Peers)
	}

	every := seedEvery
	switch {
	case err != nil:
		every = hungryEvery
	case left > 0 && t.Stats().Peers == 0:
		every = hungryEvery
	case left > 0:
		every = activeEvery
	case resp.Interval > 0:
		every = resp.Interval // a tracker forgets who waits longer
	}
	a.mu.Lock()
	x.busy, x.left = false, left > 0
	x.told = x.told || err == nil
	x.next = time.Now().Add(every - rand.N(every/8))
	gone := x.gone
	a.mu.Unlock()
	if gone {
		a.part(ih)
	}
}

// settled reports whether that tracker leads for so long that all nodes will have
// told it what they hold.
func (a *announcer) settled(url string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return url == a.last && now.Sub(a.since) > seedEvery+announceWait
}

// errNoTracker: nobody leads now.
var errNoTracker = errors.New("no tracker is known")

func (a *announcer) tell(ctx context.Context, ih metainfo.Hash, e wire.Event, left int64) (wire.Response, error) {
	url := a.s.cfg.Tracker()
	if url == "" {
		return wire.Response{}, errNoTracker
	}
	announce, cancel := context.WithTimeout(ctx, announceWait)
	defer cancel()
	resp, err := wire.Announce(announce, a.client, url, a.request(ih, e, left))
	a.reached(ctx, url, err)
	return resp, err
}

// reached passes on whether the tracker answered: a refusal is an answer too.
func (a *announcer) reached(ctx context.Context, url string, err error) {
	var refusal *wire.Failure
	if a.s.cfg.Reached != nil && ctx.Err() == nil {
		a.s.cfg.Reached(url, err == nil || errors.As(err, &refusal))
	}
}

func (a *announcer) request(ih metainfo.Hash, e wire.Event, left int64) wire.Request {
	return wire.Request{
		InfoHash: wire.InfoHash(ih), PeerID: wire.PeerID(a.s.client.PeerID()), Port: uint16(a.s.Port()),
		Left: left, Event: e, NumWant: 50, Node: string(a.s.cfg.Node),
		Key:        wire.Proof(a.s.cfg.Secret(), string(a.s.cfg.Node)),
		Dictionary: a.s.zoned() && left > 0, // their ids tell where they stand
	}
}

// goodbye tells the tracker, for a moment at most, that this node leaves.
func (a *announcer) goodbye() {
	a.mu.Lock()
	var told []metainfo.Hash
	for ih, x := range a.due {
		if x.told && len(told) < 200 {
			told = append(told, ih)
		}
	}
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeWait)
	defer cancel()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, ih := range told {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			a.tell(ctx, ih, wire.Stopped, 0)
		})
	}
	wg.Wait()
	a.client.CloseIdleConnections()
}
