package swarm

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// By itself the engine gives the bytes of a limit to whichever connection wakes
// first, and large chunks never find enough of them: of a seeder's 8 MiB/s an
// object with eight peers and chunks of 1 MiB got nothing beside one with one
// peer and chunks of 128 KiB. So chunks wait for their turn here, in the
// storage's ReadAt and WriteAt, where the engine holds no lock.

// shaper lets chunks pass at a rate, and divides it among the objects that have
// chunks waiting, in proportion to their weights: start-time fair queueing
// (Goyal, Vin, Cheng 1996). What an object does not use the others have.
type shaper struct {
	// limiter has the bytes. Those of uploads are taken by the engine, when it
	// sends a chunk: many of those that passed are cancelled before, and to charge
	// for them made a swarm 1.8 x as slow. Its burst is never below maxBuffered,
	// for the engine panics at a larger chunk; depth bounds what is saved up.
	limiter *rate.Limiter
	engine  bool // which takes the bytes

	mu      sync.Mutex // guards the fields below; never held across a call out of this file
	told    int64      // the limit in bytes a second; 0: none
	held    int64      // what a link carries that carries less; 0: no such thing is known
	now     float64    // virtual time: the start tag of the last chunk that passed
	flows   map[swarmcache.ObjectID]*flow
	passed  []passing // to the engine, which may not have taken their bytes yet
	pending int       // bytes of passed
	timer   *time.Timer
}

const (
	// depth is how long a shaper saves up what nobody uses. More would fill the
	// link's own queue, where nothing can be put into order any more.
	depth = 50 * time.Millisecond
	// ahead is how long before its bytes are there a chunk passes to the engine.
	ahead = 5 * time.Millisecond
	// settle is how long after that the engine should have sent it, or never will.
	settle = 20 * time.Millisecond
)

// flow is an object that has chunks waiting, or had some not long ago.
type flow struct {
	weight float64
	start  float64 // virtual time at which its next chunk starts
	queue  []*turn
}

// turn is a chunk's place in the queue of its flow.
type turn struct {
	bytes int
	rank  func() float64 // the least goes first
	come  chan struct{}  // closed when it has come
}

// passing is a chunk that passed, until the engine should have sent it.
type passing struct {
	until time.Time
	bytes int
}

// weights say how the rate is divided: an object of high priority gets four
// times as much as a normal one, as long as both have bytes to move.
var weights = map[policy.Priority]float64{
	policy.PriorityLow: 1, policy.PriorityNormal: 4, policy.PriorityHigh: 16,
}

// sharer is an object as the shaper sees it.
type sharer struct {
	id       swarmcache.ObjectID
	priority func() policy.Priority
	gone     <-chan struct{} // closed when nothing of it need pass any more
}

func (o sharer) isGone() bool {
	select {
	case <-o.gone:
		return true
	default:
		return false
	}
}

// newShaper returns a shaper of so many bytes a second; 0: no limit.
func newShaper(bytes int64, engine bool) *shaper {
	return &shaper{
		limiter: rate.NewLimiter(limitOf(bytes), burstOf(bytes)), engine: engine,
		told: bytes, flows: map[swarmcache.ObjectID]*flow{},
	}
}

func burstOf(bytes int64) int { return int(maxBuffered + bytes/5) }

func limitOf(bytes int64) rate.Limit {
	if bytes == 0 {
		return rate.Inf
	}
	return rate.Limit(bytes)
}

// rate is the limit in bytes a second; 0: none.
func (s *shaper) rate() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told
}

// setRate changes the limit, at once also for what waits.
func (s *shaper) setRate(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = bytes
	s.applyLocked()
}

// hold keeps the shaper below its limit; 0: no more.
func (s *shaper) hold(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = bytes
	s.applyLocked()
}

// holding is to what the shaper is held; 0: it is not.
func (s *shaper) holding() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

func (s *shaper) applyLocked() {
	limit := limitOf(s.told)
	if s.held > 0 {
		limit = min(limit, limitOf(s.held))
	}
	s.limiter.SetBurst(burstOf(s.told))
	s.limiter.SetLimit(limit)
	s.serveLocked()
}

// limited reports whether chunks have to wait.
func (s *shaper) limited() bool { return s.limiter.Limit() != rate.Inf }

// pass waits until a chunk of o may pass. Within o those go first whose rank is
// the least. It returns false when o is gone before that.
func (s *shaper) pass(o sharer, bytes int, rank func() float64) bool {
	if !s.limited() {
		return true
	}
	t := &turn{bytes, rank, make(chan struct{})}
	s.mu.Lock()
	f := s.flows[o.id]
	if f == nil {
		f = &flow{}
		s.flows[o.id] = f
	}
	if len(f.queue) == 0 {
		f.start = max(f.start, s.now)
	}
	f.weight = weights[o.priority()]
	f.queue = append(f.queue, t)
	s.serveLocked()
	s.mu.Unlock()
	select {
	case <-t.come:
		return true
	case <-o.gone:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.queue = slices.DeleteFunc(f.queue, func(x *turn) bool { return x == t })
	return false
}

// serveLocked lets pass what may, and comes back when more may.
func (s *shaper) serveLocked() {
	for f, largest := s.nextLocked(); f != nil; f, largest = s.nextLocked() {
		k := f.first()
		f.queue[0], f.queue[k] = f.queue[k], f.queue[0]
		t := f.queue[0]
		if wait := s.waitLocked(t.bytes, largest); wait > 0 {
			if s.timer == nil {
				s.timer = time.AfterFunc(wait, s.serve)
			} else {
				s.timer.Reset(wait)
			}
			return
		}
		f.queue[0] = nil
		f.queue = f.queue[1:]
		s.now = f.start
		f.start += float64(t.bytes) / f.weight
		close(t.come)
	}
}

// first picks the turn whose rank is least, any of them among equals: in the order
// of arrival the first peers to ask would have all their chunks before the last
// one has any, and a first byte took 2 s.
func (f *flow) first() int {
	least, found := math.Inf(1), rand.IntN(len(f.queue))
	for n, k := len(f.queue), found; n > 0; n, k = n-1, (k+1)%len(f.queue) {
		if rank := f.queue[k].rank(); rank < least {
			least, found = rank, k
		}
	}
	return found
}

func (s *shaper) serve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serveLocked()
}

// nextLocked returns the flow whose chunk starts first, and the largest chunk
// that is first in its flow. It forgets flows that have nothing waiting and have
// not had more than their share.
func (s *shaper) nextLocked() (next *flow, largest int) {
	for id, f := range s.flows {
		if len(f.queue) == 0 {
			if f.start <= s.now {
				delete(s.flows, id)
			}
			continue
		}
		largest = max(largest, f.queue[0].bytes)
		if next == nil || f.start < next.start {
			next = f
		}
	}
	return next, largest
}

// waitLocked lets a chunk pass and returns 0, or says when to ask again.
func (s *shaper) waitLocked(bytes, largest int) time.Duration {
	limit := float64(s.limiter.Limit())
	if s.limiter.Limit() == rate.Inf {
		return 0
	}
	now := time.Now()
	for len(s.passed) > 0 && !now.Before(s.passed[0].until) {
		s.pending -= s.passed[0].bytes
		s.passed = s.passed[1:]
	}
	have := s.limiter.TokensAt(now)
	if most := float64(largest+s.pending) + limit*depth.Seconds(); have > most {
		s.limiter.AllowN(now, int(have-most))
		have = most
	}
	wait := time.Duration((float64(bytes+s.pending) - have) / limit * float64(time.Second))
	if !s.engine {
		if wait <= 0 {
			s.limiter.AllowN(now, bytes)
		}
		return wait
	}
	if wait > ahead {
		wait -= ahead
		if len(s.passed) > 0 {
			wait = min(wait, s.passed[0].until.Sub(now))
		}
		return wait
	}
	s.passed = append(s.passed, passing{now.Add(max(0, wait) + settle), bytes})
	s.pending += bytes
	return 0
}
