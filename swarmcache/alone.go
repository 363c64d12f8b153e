package swarmcache

import (
	"context"
	"sync"
)

// aloneBoard is the board of a fill that only this node takes part in: the
// directory is away, or everybody else is done.
type aloneBoard struct {
	mu     sync.Mutex
	events chan BoardEvent
	rev    int64
}

func newAloneBoard() *aloneBoard { return &aloneBoard{events: make(chan BoardEvent, 256)} }

func (b *aloneBoard) tell(ctx context.Context, e BoardEvent) error {
	b.mu.Lock()
	if e.Span != nil {
		b.rev++
		e.Span.Rev = b.rev
	}
	b.mu.Unlock()
	select {
	case b.events <- e:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Watch implements Board.
func (b *aloneBoard) Watch(ctx context.Context, f func(BoardEvent)) error {
	f(BoardEvent{Caught: true})
	for {
		select {
		case e := <-b.events:
			f(e)
		case <-ctx.Done():
			return nil
		}
	}
}

// Claim implements Board: nobody else wants anything.
func (b *aloneBoard) Claim(_ context.Context, spans []SpanRecord) ([]bool, error) {
	won := make([]bool, len(spans))
	for i := range won {
		won[i] = true
	}
	return won, nil
}

// Progress implements Board.
func (b *aloneBoard) Progress(context.Context, int, []byte) error { return nil }

// Land implements Board.
func (b *aloneBoard) Land(ctx context.Context, span int, hashes []byte) error {
	return b.tell(ctx, BoardEvent{Span: &SpanRecord{Span: span, Landed: true, Hashes: hashes}})
}

// Release implements Board.
func (b *aloneBoard) Release(ctx context.Context, spans ...int) error {
	for _, i := range spans {
		if err := b.tell(ctx, BoardEvent{Freed: &i}); err != nil {
			return err
		}
	}
	return nil
}

// Update implements Board.
func (b *aloneBoard) Update(ctx context.Context, r FillRecord) error {
	return b.tell(ctx, BoardEvent{Fill: &r})
}

// Leave implements Board.
func (b *aloneBoard) Leave(context.Context) error { return nil }
