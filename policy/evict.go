package policy

import "container/list"

// Eviction chooses what goes when space is short: S3-FIFO (Yang et al., SOSP
// 2023), by bytes. What is new waits in a short queue; what nobody used before it
// came to that queue's end goes, so that a scan passes through and takes nothing
// else along. What was used, or comes again soon after it went, moves to the long
// queue, where each use spares it one time round. It is not safe for concurrent
// use.
type Eviction[K comparable] struct {
	capacity int64
	places   map[K]*list.Element // in one of the queues; the value is a *place
	short    queue
	long     queue
	ghosts   map[K]*list.Element
	gone     queue // that left the short queue, to know again
}

// shortShare is the part of the capacity that what is new may take, and maxUses
// how often one may be spared.
const (
	shortShare = 10
	maxUses    = 3
)

type place struct {
	key  any
	size int64
	uses int
	in   *queue
}

// queue holds places; the next to go is at its front.
type queue struct {
	list.List
	bytes int64
}

func (q *queue) push(p *place) *list.Element {
	p.in = q
	q.bytes += p.size
	return q.PushBack(p)
}

func (q *queue) remove(e *list.Element) *place {
	p := q.Remove(e).(*place)
	q.bytes -= p.size
	return p
}

// NewEviction returns the choice for a store of that many bytes.
func NewEviction[K comparable](capacity int64) *Eviction[K] {
	return &Eviction[K]{capacity: capacity, places: map[K]*list.Element{}, ghosts: map[K]*list.Element{}}
}

// Resize makes it the choice for a store of that many bytes.
func (e *Eviction[K]) Resize(capacity int64) { e.capacity = capacity }

// Add takes in what was stored.
func (e *Eviction[K]) Add(k K, size int64) {
	e.Remove(k)
	q := &e.short
	if g := e.ghosts[k]; g != nil {
		e.forget(g)
		q = &e.long
	}
	e.places[k] = q.push(&place{key: k, size: size})
}

// Restore takes in what was stored before, in the order of its last use: it had
// its time in the short queue.
func (e *Eviction[K]) Restore(k K, size int64) {
	e.Remove(k)
	e.places[k] = e.long.push(&place{key: k, size: size})
}

// Use notes that k was used.
func (e *Eviction[K]) Use(k K) {
	if at := e.places[k]; at != nil {
		p := at.Value.(*place)
		p.uses = min(p.uses+1, maxUses)
	}
}

// Remove forgets what went for another reason.
func (e *Eviction[K]) Remove(k K) {
	if at := e.places[k]; at != nil {
		at.Value.(*place).in.remove(at)
		delete(e.places, k)
	}
}

// Next takes out what goes next; may tells what can go now. False: nothing.
func (e *Eviction[K]) Next(may func(K) bool) (k K, ok bool) {
	// In so many turns every use in the long queue is used up. Where nothing of it
	// can go, it is the turn of what is new.
	turns := (maxUses + 1) * len(e.places)
	for turn := range turns + len(e.places) {
		late := turn >= turns
		q := &e.long
		if e.short.bytes*shortShare > e.capacity || e.long.Len() == 0 || late && e.short.Len() > 0 {
			q = &e.short
		}
		p := q.remove(q.Front())
		k = p.key.(K)
		switch {
		case (p.uses == 0 || late) && may(k):
			delete(e.places, k)
			if q == &e.short {
				e.remember(p)
			}
			return k, true
		case q == &e.short:
			p.uses = 0
		case p.uses > 0:
			p.uses--
		}
		e.places[k] = e.long.push(p)
	}
	return k, false
}

// remember keeps the name of what went, among as many bytes as are stored.
func (e *Eviction[K]) remember(p *place) {
	e.ghosts[p.key.(K)] = e.gone.push(p)
	for e.gone.bytes > e.capacity {
		e.forget(e.gone.Front())
	}
}

func (e *Eviction[K]) forget(g *list.Element) {
	delete(e.ghosts, e.gone.remove(g).key.(K))
}
