package swarm

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"shatabdi/swarmcache"
	"shatabdi/tracker/wire"
)

// heldTeller announces what the cache holds, in memory or not: a node may hold
// ten thousand objects that nobody wants, so they cost one request for some
// thousands of them and nothing in between.
type heldTeller struct {
	a    *announcer
	url  string    // of the tracker that was told last
	next time.Time // when all is told again
	wait time.Duration
	done chan struct{} // closed when what is being told was told; nil: nothing is
}

// newLeaderSpread is how long the nodes of a fleet take, all together, to tell a
// new leader what they hold.
const newLeaderSpread = 2 * time.Second

// step begins to tell what is due. It does not wait for the tracker.
func (h *heldTeller) step(now time.Time) {
	select {
	case <-h.done:
		h.done = nil
	default:
		if h.done != nil {
			return
		}
	}
	url := h.a.s.cfg.Tracker()
	if url != h.url {
		h.url, h.wait, h.next = url, 0, now.Add(rand.N(newLeaderSpread))
	}
	if url == "" {
		return
	}
	news, lost := h.a.takeNews()
	all := !now.Before(h.next)
	if all {
		news = append(news, h.a.s.allHeld()...) // what has just been sealed may not be in the catalogue yet
	}
	if len(news)+len(lost) == 0 && !all {
		return
	}
	done := make(chan struct{})
	h.done = done
	h.a.s.goWork(func() {
		defer close(done)
		for _, ih := range lost {
			if _, err := h.a.tell(h.a.ctx, metainfo.Hash(ih), wire.Stopped, 0); err != nil {
				break // it will notice, when this node does not say again that it holds them
			}
		}
		h.a.parted(lost...)
		every, err := h.tell(url, news)
		switch {
		case err != nil:
			h.a.s.log.Debug("announce what is held", "error", err)
			h.wait = min(max(2*h.wait, hungryEvery), time.Minute)
			h.next = time.Now().Add(h.wait + rand.N(h.wait))
		case all:
			h.wait = 0
			h.next = time.Now().Add(every - rand.N(every/8))
		}
	})
}

// tell announces that this node seeds all of these, and returns when it should
// say so again.
func (h *heldTeller) tell(url string, all []wire.InfoHash) (every time.Duration, err error) {
	every = seedEvery
	for len(all) > 0 && err == nil {
		some := all[:min(len(all), wire.MaxOthers)]
		all = all[len(some):]
		r := h.a.request(metainfo.Hash(some[0]), wire.Update, 0)
		r.NumWant = -1
		ctx, cancel := context.WithTimeout(h.a.ctx, announceWait)
		var resp wire.Response
		resp, err = wire.AnnounceAll(ctx, h.a.client, url, r, some[1:])
		cancel()
		h.a.reached(h.a.ctx, url, err)
		if resp.Interval > 0 {
			every = resp.Interval
		}
	}
	return every, err
}

// sealed makes known at once what is held since a moment ago.
func (a *announcer) sealed(ih swarmcache.InfoHash) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.news = append(a.news, wire.InfoHash(ih))
	a.lost = without(a.lost, ih)
}

// vouch tells of one object that is held, once the goodbyes to it have been said.
func (a *announcer) vouch(ctx context.Context, ih metainfo.Hash) error {
	for a.parts(ih) {
		select {
		case <-time.After(partsEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		_, err := a.tell(ctx, ih, wire.Update, 0)
		if err == nil || errors.Is(err, errNoTracker) {
			return err
		}
		select {
		case <-time.After(hungryEvery):
		case <-ctx.Done():
			return err
		}
	}
}

// partsEvery is how often it is looked whether goodbyes have been said.
const partsEvery = 20 * time.Millisecond

// parts reports whether a goodbye is under way.
func (a *announcer) parts(ih metainfo.Hash) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.parting[wire.InfoHash(ih)] > 0
}

// withdrawn makes known what is held no more.
func (a *announcer) withdrawn(ih swarmcache.InfoHash) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.news = without(a.news, ih); len(a.lost) < wire.MaxOthers { // else the tracker notices by itself
		a.lost = append(a.lost, wire.InfoHash(ih))
	}
}

func without(l []wire.InfoHash, ih swarmcache.InfoHash) []wire.InfoHash {
	return slices.DeleteFunc(l, func(h wire.InfoHash) bool { return h == wire.InfoHash(ih) })
}

// takeNews begins the goodbyes to what is lost; who takes it says when they parted.
func (a *announcer) takeNews() (news, lost []wire.InfoHash) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var later []wire.InfoHash
	for _, ih := range a.news {
		if a.parting[ih] > 0 {
			later = append(later, ih)
		} else {
			news = append(news, ih)
		}
	}
	lost, a.lost = a.lost, nil
	for _, ih := range lost {
		a.parting[ih]++
	}
	a.news = later
	return news, lost
}

// holds reports whether this node has all of an object, in whichever file.
func (s *Swarm) holds(ih metainfo.Hash) bool {
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	if held == nil {
		return false
	}
	_, release, ok := held.Held(swarmcache.InfoHash(ih))
	if ok {
		release()
	}
	return ok
}

func (s *Swarm) allHeld() (all []wire.InfoHash) {
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	if held != nil {
		held.EachHeld(func(h swarmcache.InfoHash) bool { all = append(all, wire.InfoHash(h)); return true })
	}
	return all
}
