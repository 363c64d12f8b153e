package swarm

import (
	"testing"
	"time"
)

// course is a node's uplink on paper: who asks always has some chunks asked for.
type course struct {
	told  float64                        // bytes a second
	link  func(at time.Duration) float64 // bytes a second that it carries
	peers int                            // that ask
	each  float64                        // bytes a second that one of them can take; 0: all
	least float64                        // share of what could leave that does, over the whole
	stand time.Duration                  // for how long bytes stand in the end; 0: no matter
	held  bool                           // in the end
}

const (
	mib         = 1 << 20
	courseLen   = 2 * time.Minute
	courseChunk = 128 << 10
)

func always(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}

func first(at time.Duration, before, after float64) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		if t < at {
			return before
		}
		return after
	}
}

func TestUplinkIsHeldToWhatItCarries(t *testing.T) {
	for name, c := range map[string]course{
		"it keeps up":              {told: 5.7 * mib, link: always(6 * mib), peers: 9, least: 0.99, stand: 100 * time.Millisecond},
		"a tenth of what was told": {told: 5.7 * mib, link: always(0.6 * mib), peers: 9, least: 0.99, stand: 600 * time.Millisecond, held: true},
		"nothing was told":         {told: 1000 * mib, link: always(8 * mib), peers: 9, least: 0.99, stand: 300 * time.Millisecond, held: true},
		"it becomes slow":          {told: 5.7 * mib, link: first(courseLen/4, 6*mib, 0.6*mib), peers: 9, least: 0.99, stand: 600 * time.Millisecond, held: true},
		"it becomes fast":          {told: 5.7 * mib, link: first(courseLen/4, 0.6*mib, 6*mib), peers: 9, least: 0.98, stand: 100 * time.Millisecond},
		"its peers are slow":       {told: 50 * mib, link: always(100 * mib), peers: 20, each: 0.05 * mib, least: 0.85},
		"its only peer is slow":    {told: 50 * mib, link: always(100 * mib), peers: 1, each: 0.5 * mib, least: 0.99, held: true},
	} {
		t.Run(name, func(t *testing.T) {
			u := &uplink{}
			left, could, stood := c.run(u)
			if left < c.least*could {
				t.Errorf("%.1f MiB left, want %.2f of %.1f", left/mib, c.least, could/mib)
			}
			if c.stand > 0 && stood > c.stand {
				t.Errorf("in the end bytes stood for %v, want %v", stood, c.stand)
			}
			if c.held != (u.held > 0) {
				t.Errorf("in the end it is held to %.0f", u.held)
			}
		})
	}
}

// run returns what left, what could have left, and for how long bytes stood at
// most in the last quarter.
func (c course) run(u *uplink) (left, could float64, stood time.Duration) {
	const step = lookEvery / 10
	start := time.Now()
	queues := make([]float64, c.peers)
	tokens, gone, turn := 0.0, 0.0, 0
	for at := time.Duration(0); at < courseLen; at += step {
		rate := c.told
		if u.held > 0 {
			rate = min(rate, u.held)
		}
		tokens = min(tokens+rate*step.Seconds(), courseChunk+rate*depth.Seconds())
		for n := 0; n < c.peers && tokens >= courseChunk; n++ {
			if turn = (turn + 1) % c.peers; queues[turn] <= 3*courseChunk {
				tokens, queues[turn], n = tokens-courseChunk, queues[turn]+courseChunk, 0
			}
		}
		can := c.link(at) * step.Seconds()
		could += min(can, c.told*step.Seconds())
		busy := 0.0
		for _, q := range queues {
			if q > 0 {
				busy++
			}
		}
		for n := range queues { // those for whom something stands share alike
			if queues[n] == 0 {
				continue
			}
			x := min(queues[n], can/busy)
			busy--
			if c.each > 0 {
				x = min(x, c.each*step.Seconds())
			}
			queues[n], can, gone = queues[n]-x, can-x, gone+x
		}
		if at%lookEvery != 0 {
			continue
		}
		s := sight{at: start.Add(at), left: int64(gone)}
		for _, q := range queues {
			s.standing += int64(q)
			s.chunk = max(s.chunk, int64(min(q, courseChunk)))
		}
		if left, gone = left+gone, 0; u.held > 0 || !s.at.Before(u.free) {
			u.judge(s)
		} else {
			u.seen = nil
		}
		if at > courseLen*3/4 {
			stood = max(stood, time.Duration(float64(s.standing)/c.link(at)*float64(time.Second)))
		}
	}
	if c.each > 0 {
		could = c.each * float64(c.peers) * courseLen.Seconds()
	}
	return left, could, stood
}
