package swarm

import "time"

// A limit may be above what the link carries, and nobody may have told one. Then
// what is uploaded stands in queues, and before what this node asks of others: a
// node with a tenth of the uplink that it was told needed 1.8 x the time of the
// others for its own downloads. So a link that does not keep up is held to what
// leaves, and a little more as long as little stands.

// uplink holds a shaper to what the link carries. Its goroutine looks at the
// sockets; the fields below belong to it.
type uplink struct {
	shaper  *shaper
	sockets *sockets

	seen []sight   // in the last meanwhile
	held float64   // bytes a second; 0: the link keeps up
	most float64   // that left in a meanwhile since it is held
	calm time.Time // since when it keeps up with that
	free time.Time // it is not held until then
}

// sight is what was seen of the link at a time.
type sight struct {
	at       time.Time
	busy     time.Duration // something stood, since the first sight
	left     int64         // bytes that arrived at peers since then
	standing int64         // bytes on their way
	chunk    int64         // the largest message of those
	rtt      time.Duration // of those, with empty queues
}

const (
	// lookEvery is how often the sockets are looked at, once a write was late.
	lookEvery = 50 * time.Millisecond
	// meanwhile is the time over which is counted what leaves.
	meanwhile = time.Second
	// mayStand is how long bytes may be on their way, beside a chunk and mayTurn
	// round trips in which windows grow.
	mayStand = 250 * time.Millisecond
	mayTurn  = 4
	// drain is the time in which what stands beyond that should be gone.
	drain = 500 * time.Millisecond
	// leastRate is what a link carries at least.
	leastRate = 64 << 10
	// calmFor is how long a link has to keep up before it is not held any more.
	calmFor = 10 * time.Second
	// If less than this share leaves where less is let in, then not the link was
	// slow but the peers: nothing is held for a while.
	lost    = 0.75
	freeFor = time.Minute
)

// run looks at the sockets when writes are late. On a link that keeps up none is.
func (u *uplink) run(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-u.sockets.late:
			if time.Now().After(u.free) {
				u.watch(done)
			}
		}
	}
}

// watch looks for a while, and as long as the link is held.
func (u *uplink) watch(done <-chan struct{}) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	u.seen = nil
	for end := time.Now().Add(2 * meanwhile); ; {
		select {
		case <-done:
			return
		case now := <-tick.C:
			u.judge(u.see(now))
			u.shaper.hold(int64(u.held))
			if u.held == 0 && (now.After(end) || now.Before(u.free)) {
				return
			}
		}
	}
}

// see asks the kernel about all sockets.
func (u *uplink) see(now time.Time) sight {
	s := sight{at: now}
	var since time.Duration // the last sight
	if n := len(u.seen); n > 0 {
		since = now.Sub(u.seen[n-1].at)
	}
	var turns float64
	for _, k := range u.sockets.list() {
		given := k.given.Load()
		p, ok := k.progress()
		if !ok {
			continue
		}
		left, full := p.acked-k.acked, p.blocked-k.blocked
		k.acked, k.blocked = p.acked, p.blocked
		if left > 0 {
			k.moved = now
		}
		s.left += left
		if full > since/2 || now.Sub(k.moved) > meanwhile {
			continue // the peer takes no more, which says nothing of the link
		}
		stands := max(0, given-p.acked)
		s.standing += stands
		s.chunk = max(s.chunk, min(stands, k.chunk.Load()))
		turns += float64(stands) * p.rtt.Seconds()
	}
	if s.standing > 0 {
		s.rtt = time.Duration(turns / float64(s.standing) * float64(time.Second))
	}
	return s
}

// judge decides to what the link is held, when it has got another sight.
func (u *uplink) judge(s sight) {
	if n := len(u.seen); n > 0 {
		last := u.seen[n-1]
		s.left, s.busy = s.left+last.left, last.busy
		if s.standing > 0 || last.standing > 0 {
			s.busy += s.at.Sub(last.at)
		}
	}
	u.seen = append(u.seen, s)
	for s.at.Sub(u.seen[0].at) > meanwhile {
		u.seen = u.seen[1:]
	}
	busy := s.busy - u.seen[0].busy
	if busy < 2*lookEvery {
		// It is not put to the test. A link that is fast, or idle, while it is held
		// never would be: it is let go, and found again if need be.
		switch {
		case u.held == 0:
			u.calm = s.at
		case s.at.Sub(u.calm) > calmFor:
			u.held = 0
		}
		return
	}
	leaves, stands := float64(s.left-u.seen[0].left)/busy.Seconds(), float64(s.standing)
	may := leaves*(mayStand+mayTurn*s.rtt).Seconds() + float64(s.chunk)
	next := max(leaves+(may-stands)/drain.Seconds(), leaves/4, leastRate)
	if busy > meanwhile*3/4 {
		u.most = max(u.most, leaves)
	}
	if stands > may/2 {
		u.calm = s.at
	}
	switch {
	case s.at.Sub(u.calm) > calmFor:
		u.held = 0
	case stands <= may:
		if u.held > 0 {
			u.held = max(u.held, next)
		}
	case u.held > 0 && leaves < lost*u.most:
		u.held, u.free = 0, s.at.Add(freeFor)
	default:
		if u.held == 0 {
			u.most, u.seen, u.calm = 0, []sight{s}, s.at
		}
		u.held = next
	}
}
