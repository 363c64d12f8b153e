package swarmcache

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Budget lets tests use a budget on its own.
type Budget struct{ *budget }

func NewBudget(ctx context.Context, d Directory, node, cluster int, r prometheus.Registerer) Budget {
	start := func(f func()) bool { go f(); return true }
	return Budget{newBudget(ctx, start, d, node, cluster, time.Now, r)}
}

func (b Budget) Take(ctx context.Context, origin string) (func(), error) { return b.take(ctx, origin) }
func (b Budget) Force(origin string) func()                              { return b.force(origin) }
func (b Budget) Busy(origin string) bool                                 { return b.busy(origin) }
func (b Budget) Cool(origin string, until time.Time)                     { b.cool(origin, until) }

// Lines is how many origins the budget knows something of.
func (b Budget) Lines() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.lines)
}

var OriginOf = originOf
