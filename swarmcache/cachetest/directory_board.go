package cachetest

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"shatabdi/swarmcache"
)

// sheet is what all nodes' boards of one fill write on; guarded by dir.mu.
type sheet struct {
	dir      *Directories
	fill     swarmcache.FillRecord
	spans    map[int]swarmcache.SpanRecord // immutable once stored
	nodes    map[swarmcache.NodeID]swarmcache.Member
	watchers map[*watcher]bool
	deleted  bool
}

// watcher is one Watch in progress.
type watcher struct {
	self   swarmcache.NodeID
	listed bool          // who is not is told of no participant
	queue  []delivery    // guarded by dir.mu
	news   chan struct{} // room for one
}

// delivery is a change on its way; the zero event says that the board is deleted.
type delivery struct {
	at    time.Time
	event swarmcache.BoardEvent
}

func (s *sheet) tellLocked(e swarmcache.BoardEvent) {
	for w := range s.watchers {
		if !w.listed && (e.Joined != nil || e.Left != "") {
			continue
		}
		w.pushLocked(delivery{time.Now().Add(s.dir.delay), e})
	}
}

func (w *watcher) pushLocked(d delivery) {
	if d.event.Left == w.self && w.self != "" || d.event.Joined != nil && d.event.Joined.ID == w.self {
		return
	}
	w.queue = append(w.queue, d)
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (s *sheet) setLocked(r swarmcache.SpanRecord) {
	s.dir.rev++
	r.Rev = s.dir.rev
	s.spans[r.Span] = r
	s.tellLocked(swarmcache.BoardEvent{Span: &r})
}

// freeLocked ends id's claim on a span, if it has it. Hashes that landed stay.
func (s *sheet) freeLocked(i int, id swarmcache.NodeID) {
	r, ok := s.spans[i]
	if !ok || r.Owner != id {
		return
	}
	if r.Landed {
		r.Owner = ""
		s.setLocked(r)
		return
	}
	delete(s.spans, i)
	s.tellLocked(swarmcache.BoardEvent{Freed: &i})
}

// departLocked ends everything that id has on the board.
func (s *sheet) departLocked(id swarmcache.NodeID) {
	for _, i := range slices.Sorted(maps.Keys(s.spans)) {
		s.freeLocked(i, id)
	}
	if _, ok := s.nodes[id]; ok {
		delete(s.nodes, id)
		s.tellLocked(swarmcache.BoardEvent{Left: id})
	}
}

// finishedLocked reports whether nobody needs the board once all have left.
func (s *sheet) finishedLocked() bool {
	v := s.dir.objects[s.fill.Version.Key]
	return s.fill.Ended != "" || !s.fill.Version.InfoHash.IsZero() ||
		v.ID == s.fill.Version.ID && !v.InfoHash.IsZero()
}

func (s *sheet) deleteLocked() {
	s.deleted = true
	delete(s.dir.boards, s.fill.Version.ID)
	if p := s.dir.filling[s.fill.Version.Key]; p != nil && p.fill == s.fill.Version.ID {
		p.fill = "" // the pointer stays for its count of restarts
	}
	s.tellLocked(swarmcache.BoardEvent{})
}

// board is one node's hand on a sheet.
type board struct {
	*sheet
	self   swarmcache.NodeID
	listed bool
}

// lock locks the directory for one request on this board, or tells why not.
func (b *board) lock(ctx context.Context, counter *int) error {
	if err := b.dir.lock(ctx, counter); err != nil {
		return err
	}
	if b.deleted {
		b.dir.mu.Unlock()
		return swarmcache.ErrNotFound
	}
	return nil
}

func (b *board) Watch(ctx context.Context, f func(swarmcache.BoardEvent)) error {
	w := &watcher{self: b.self, listed: b.listed, news: make(chan struct{}, 1)}
	b.dir.mu.Lock()
	b.standsLocked(w)
	b.watchers[w] = true
	b.dir.mu.Unlock()
	defer func() {
		b.dir.mu.Lock()
		delete(b.watchers, w)
		b.dir.mu.Unlock()
	}()
	for {
		b.dir.mu.Lock()
		queue := w.queue
		w.queue = nil
		b.dir.mu.Unlock()
		for _, d := range queue {
			if !waitUntil(ctx, d.at) {
				return nil
			}
			if d.event == (swarmcache.BoardEvent{}) {
				return swarmcache.ErrNotFound
			}
			f(d.event)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.news:
		}
	}
}

// standsLocked queues what stands on the board now.
func (b *board) standsLocked(w *watcher) {
	if b.deleted {
		w.pushLocked(delivery{})
		return
	}
	fill := b.fill
	w.pushLocked(delivery{event: swarmcache.BoardEvent{Fill: &fill}})
	for _, n := range b.nodes {
		w.pushLocked(delivery{event: swarmcache.BoardEvent{Joined: &n}})
	}
	for _, i := range slices.Sorted(maps.Keys(b.spans)) {
		r := b.spans[i]
		w.pushLocked(delivery{event: swarmcache.BoardEvent{Span: &r}})
	}
	w.pushLocked(delivery{event: swarmcache.BoardEvent{Caught: true}})
	if b.listed {
		w.pushLocked(delivery{event: swarmcache.BoardEvent{Listed: true}})
	}
}

func waitUntil(ctx context.Context, at time.Time) bool {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (b *board) Claim(ctx context.Context, spans []swarmcache.SpanRecord) ([]bool, error) {
	if err := b.lock(ctx, new(int)); err != nil {
		return nil, err
	}
	defer b.dir.mu.Unlock()
	won := make([]bool, len(spans))
	for i, want := range spans {
		b.dir.counts.Claims++
		r := b.spans[want.Span]
		if r.Rev != want.Rev {
			b.dir.counts.LostClaims++
			continue
		}
		r.Span, r.Owner = want.Span, b.self
		b.setLocked(r)
		won[i] = true
	}
	return won, nil
}

func (b *board) Progress(ctx context.Context, span int, hashes []byte) error {
	if err := b.lock(ctx, &b.dir.counts.Progresses); err != nil {
		return err
	}
	defer b.dir.mu.Unlock()
	r := b.spans[span]
	switch {
	case !agree(r.Hashes, hashes):
		return swarmcache.ErrPoisoned
	case r.Landed:
		return nil
	case r.Owner != b.self:
		return &swarmcache.ClaimedError{Holder: r.Owner}
	case len(hashes) > len(r.Hashes):
		r.Hashes = bytes.Clone(hashes)
		b.setLocked(r)
	}
	return nil
}

func (b *board) Land(ctx context.Context, span int, hashes []byte) error {
	if err := b.lock(ctx, &b.dir.counts.Lands); err != nil {
		return err
	}
	defer b.dir.mu.Unlock()
	r := b.spans[span]
	switch {
	case !agree(r.Hashes, hashes) || r.Landed && len(r.Hashes) != len(hashes):
		return swarmcache.ErrPoisoned
	case r.Landed:
		b.freeLocked(span, b.self)
	default:
		b.setLocked(swarmcache.SpanRecord{Span: span, Landed: true, By: b.self, Hashes: bytes.Clone(hashes)})
	}
	return nil
}

func (b *board) Release(ctx context.Context, spans ...int) error {
	if err := b.lock(ctx, &b.dir.counts.Free); err != nil {
		return err
	}
	defer b.dir.mu.Unlock()
	for _, i := range spans {
		b.freeLocked(i, b.self)
	}
	return nil
}

func (b *board) Update(ctx context.Context, r swarmcache.FillRecord) error {
	if err := b.lock(ctx, new(int)); err != nil {
		return err
	}
	defer b.dir.mu.Unlock()
	next := b.fill
	next.Version = merge(next.Version, r.Version)
	next.Single = next.Single || r.Single
	if next.Ended == "" && r.Ended != "" {
		next.Ended = r.Ended
		b.restartedLocked(r.Ended)
	}
	b.fill = next
	b.tellLocked(swarmcache.BoardEvent{Fill: &next})
	return nil
}

// restartedLocked remembers, with the key, that a fill will have to be restarted.
func (b *board) restartedLocked(why string) {
	p := b.dir.filling[b.fill.Version.Key]
	if p == nil || p.fill != b.fill.Version.ID {
		return
	}
	if time.Since(p.last) > restartWindow {
		p.restarts, p.poisoned = 0, false
	}
	switch why {
	case swarmcache.EndChanged:
		p.restarts++
	case swarmcache.EndPoisoned:
		p.poisoned = true
	}
	p.last = time.Now()
}

func (b *board) Leave(ctx context.Context) error {
	if err := b.lock(ctx, &b.dir.counts.Leaves); err != nil {
		if err == swarmcache.ErrNotFound {
			return nil // nothing to leave
		}
		return err
	}
	defer b.dir.mu.Unlock()
	b.departLocked(b.self)
	if len(b.nodes) == 0 && b.finishedLocked() {
		b.deleteLocked()
	}
	return nil
}
