package swarmcache

import (
	"context"
	"sync/atomic"
	"time"
)

// Patience is how long one request has waited for a directory that is slow: it may meet
// it when it claims, when it looks up and when it opens a fill, and its client waits for
// all of them together.
type Patience struct{ spent atomic.Int64 }

type patienceKey struct{}

// Patiently has all that is done with ctx share one Patience.
func Patiently(ctx context.Context) context.Context {
	if PatienceOf(ctx) != nil {
		return ctx
	}
	return context.WithValue(ctx, patienceKey{}, new(Patience))
}

// PatienceOf is the one that is shared with ctx, or nil.
func PatienceOf(ctx context.Context) *Patience {
	p, _ := ctx.Value(patienceKey{}).(*Patience)
	return p
}

// Spend notes a wait.
func (p *Patience) Spend(d time.Duration) {
	if p != nil {
		p.spent.Add(int64(d))
	}
}

// Spent is how long was waited so far.
func (p *Patience) Spent() time.Duration {
	if p == nil {
		return 0
	}
	return time.Duration(p.spent.Load())
}
