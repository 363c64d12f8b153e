package swarm

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"shatabdi/swarmcache"
	"shatabdi/tracker/wire"
)

// Timing of announces.
const (
	hungryEvery  = time.Second      // while pieces are missing and no peer is connected
	activeEvery  = 15 * time.Second // while pieces are missing
	seedEvery    = 10 * time.Minute // while this node only gives; the tracker's interval may be longer
	announceWait = 5 * time.Second
	goodbyeWait  = time.Second // for all goodbyes together
)

// announcer tells the tracker what this node has and wants, and torrents where
// their peers are. Torrents in memory and objects merely held are alike to it.
type announcer struct {
	s      *Swarm
	client *http.Client
	wake   chan struct{}
	ctx    context.Context // of announces, but not of goodbyes
	cancel context.CancelFunc

	mu   sync.Mutex // guards the fields below
	due  map[metainfo.Hash]*announcement
	last string // the tracker's URL
}

type announcement struct {
	t    *joined // nil: only held
	next time.Time
	told bool // the tracker knows of us
	left bool // something was missing when we last told
	busy bool
}

func newAnnouncer(s *Swarm) *announcer {
	ctx, cancel := context.WithCancel(context.Background())
	return &announcer{
		ctx: ctx, cancel: cancel,
		s: s, due: map[metainfo.Hash]*announcement{}, wake: make(chan struct{}, 1),
		client: &http.Client{
			Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute},
		},
	}
}

// add announces a torrent at once.
func (a *announcer) add(t *joined) {
	a.mu.Lock()
	x := a.due[t.ih]
	if x == nil {
		x = &announcement{}
		a.due[t.ih] = x
	}
	x.t, x.next = t, time.Time{}
	a.mu.Unlock()
	a.poke()
}

// remove is called when a torrent leaves memory. What is still held goes on
// being announced; else the tracker hears a goodbye.
func (a *announcer) remove(t *joined) {
	a.mu.Lock()
	x := a.due[t.ih]
	if x == nil || x.t != t {
		a.mu.Unlock()
		return
	}
	x.t = nil
	held := a.heldLocked(t.ih)
	if !held {
		delete(a.due, t.ih)
	}
	told := x.told
	a.mu.Unlock()
	if told && !held {
		a.s.goWork(func() { a.tell(a.ctx, t.ih, wire.Stopped, 0) })
	}
}

// heldLocked reports whether the cache holds the object without the engine.
func (a *announcer) heldLocked(ih metainfo.Hash) (yes bool) {
	a.s.mu.Lock()
	held := a.s.held
	a.s.mu.Unlock()
	if held == nil {
		return false
	}
	held.EachHeld(func(h swarmcache.InfoHash) bool {
		yes = metainfo.Hash(h) == ih
		return !yes
	})
	return yes
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
	lastHeld := time.Time{}
	for {
		select {
		case <-a.s.done:
			a.goodbye()
			return
		case <-a.wake:
		case <-tick.C:
		}
		now := time.Now()
		if now.Sub(lastHeld) > 10*time.Second {
			lastHeld = now
			a.addHeld()
		}
		for _, ih := range a.dueNow(now) {
			select {
			case slots <- struct{}{}:
			case <-a.s.done:
				a.goodbye()
				return
			}
			a.s.goWork(func() {
				defer func() { <-slots }()
				a.once(ih)
			})
		}
	}
}

// addHeld takes up what the cache holds without the engine knowing.
func (a *announcer) addHeld() {
	a.s.mu.Lock()
	held := a.s.held
	a.s.mu.Unlock()
	if held == nil {
		return
	}
	now := time.Now()
	is := map[metainfo.Hash]bool{}
	held.EachHeld(func(h swarmcache.InfoHash) bool { is[metainfo.Hash(h)] = true; return true })
	a.mu.Lock()
	defer a.mu.Unlock()
	for ih := range is {
		if a.due[ih] == nil {
			// Spread: a fleet that restarts must not announce everything at once.
			a.due[ih] = &announcement{next: now.Add(rand.N(min(seedEvery, time.Duration(len(is))*20*time.Millisecond) + time.Millisecond))}
		}
	}
	for ih, x := range a.due {
		if x.t == nil && !is[ih] && !x.busy {
			delete(a.due, ih) // evicted; the tracker forgets by itself
		}
	}
}

// dueNow picks what is to be announced now. A new leader knows nothing: all is
// due, spread over a while.
func (a *announcer) dueNow(now time.Time) (l []metainfo.Hash) {
	url := a.s.cfg.Tracker()
	a.mu.Lock()
	defer a.mu.Unlock()
	if url != a.last {
		a.last = url
		for _, x := range a.due {
			x.told = false
			x.next = now.Add(rand.N(min(5*time.Second, time.Duration(len(a.due))*10*time.Millisecond) + time.Millisecond))
		}
	}
	if url == "" {
		return nil
	}
	for ih, x := range a.due {
		if !x.busy && !now.Before(x.next) {
			x.busy = true
			l = append(l, ih)
		}
	}
	return l
}

// once announces one swarm and plans the next time.
func (a *announcer) once(ih metainfo.Hash) {
	a.mu.Lock()
	x := a.due[ih]
	if x == nil {
		a.mu.Unlock()
		return
	}
	t, event := x.t, wire.Update
	if !x.told {
		event = wire.Started
	}
	left := int64(0)
	if t != nil {
		left = int64(t.file.Left()) * t.file.Layout().PieceLen
	}
	if x.left && left == 0 && x.told {
		event = wire.Completed
	}
	a.mu.Unlock()

	resp, err := a.tell(a.ctx, ih, event, left)
	if err != nil {
		a.s.log.Debug("announce", "infohash", swarmcache.InfoHash(ih), "error", err)
	} else if t != nil && left > 0 {
		var addrs []netip.AddrPort
		for _, p := range resp.Peers {
			addrs = append(addrs, p.Addr)
		}
		t.AddPeers(addrs)
	}

	every := seedEvery
	switch {
	case err != nil:
		every = hungryEvery
	case left > 0 && t.Stats().Peers == 0:
		every = hungryEvery
	case left > 0:
		every = activeEvery
	default:
		every = max(every, resp.Interval)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	x.busy, x.left = false, left > 0
	x.told = x.told || err == nil
	x.next = time.Now().Add(every + rand.N(every/4))
}

func (a *announcer) tell(ctx context.Context, ih metainfo.Hash, e wire.Event, left int64) (wire.Response, error) {
	url := a.s.cfg.Tracker()
	if url == "" {
		return wire.Response{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, announceWait)
	defer cancel()
	return wire.Announce(ctx, a.client, url, wire.Request{
		InfoHash: wire.InfoHash(ih), PeerID: wire.PeerID(a.s.client.PeerID()), Port: uint16(a.s.Port()),
		Left: left, Event: e, NumWant: 50, Node: string(a.s.cfg.Node),
	})
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
