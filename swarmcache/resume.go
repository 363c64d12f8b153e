package swarmcache

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// resume hashes the pieces that an earlier run left on disk, whose hashes died
// with that run: so they can be landed instead of fetched again, and the object
// sealed. It goes on beside everything else; readers do not wait for it.
func (t *transfer) resume(ctx context.Context) {
	stored := t.file.stored()
	if t.resuming || len(stored) == 0 {
		return
	}
	t.resuming = true
	t.background.Go(func() {
		told := time.Now()
		for _, i := range stored {
			if ctx.Err() != nil {
				return
			}
			if err := t.file.rehash(i); err != nil {
				t.send(damaged{err})
				return
			}
			if time.Since(told) > publishEvery {
				told = time.Now()
				t.send(rehashed{})
			}
		}
		t.send(rehashed{})
	})
}

// landStored publishes the spans that an earlier run left whole and that nobody
// has landed meanwhile.
func (t *transfer) landStored() {
	if !t.resuming || !t.caught || t.rec == nil {
		return
	}
	for i := range t.spans {
		s := &t.spans[i]
		if s.Landed || s.mine || s.landing || !t.here(i) {
			continue
		}
		if hashes := t.file.hashesOf(t.plan.Span(i)); hashes != nil {
			s.landing = true
			t.lander.land(i, hashes)
		}
	}
}

// stored are the pieces that were here when the file was opened.
func (f *File) stored() (l []int) {
	for i := range f.state {
		if From(f.state[i].Load()) == FromStore {
			l = append(l, i)
		}
	}
	return l
}

// rehash learns the hash of piece i from its bytes. When another one was
// published, the bytes on disk are not to be trusted.
func (f *File) rehash(i int) error {
	sum, err := f.sum(i, f.layout.Piece(i).Len())
	if err != nil {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	if _, err := f.Learn(i, sum[:]); errors.Is(err, ErrPoisoned) {
		return fmt.Errorf("%w: piece %d is not what was stored", errDisk, i)
	}
	return nil
}
