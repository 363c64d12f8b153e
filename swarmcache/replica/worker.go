package replica

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"shatabdi/swarmcache"
)

// Orders is the part of a cluster.Cluster that a node needs to obey.
type Orders interface {
	FollowOrders(ctx context.Context, f func(swarmcache.Order)) error
	FailOrder(context.Context, swarmcache.Order) error
	EndOrder(context.Context, swarmcache.Order) error
}

// WorkerConfig is what a Worker is made of.
type WorkerConfig struct {
	Orders Orders
	// Replicate gets a copy from peers, Refetch has it fetched anew, from its origin.
	Replicate func(context.Context, swarmcache.Kept) error
	Refetch   func(ctx context.Context, url string) error
	// Draining reports whether this node takes on nothing more.
	Draining func() bool
	Logger   *slog.Logger
}

// Worker makes the copies that its node is asked for.
type Worker struct {
	cfg WorkerConfig
	log *slog.Logger

	mu   sync.Mutex // guards the fields below
	busy map[swarmcache.ObjectID]bool
}

// NewWorker returns a Worker that obeys nobody before Run.
func NewWorker(cfg WorkerConfig) *Worker {
	return &Worker{cfg: cfg, log: cfg.Logger.With("component", "replicas"), busy: map[swarmcache.ObjectID]bool{}}
}

// obeyWithin bounds an order's end being told.
const obeyWithin = 5 * time.Second

// Run obeys until ctx is done.
func (w *Worker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	slots := make(chan struct{}, maxPerNode)
	return w.cfg.Orders.FollowOrders(ctx, func(o swarmcache.Order) {
		if o.Failed != "" || !w.begin(o) {
			return
		}
		wg.Go(func() {
			defer w.end(o)
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-slots }()
			w.obey(ctx, o)
		})
	})
}

func (w *Worker) begin(o swarmcache.Order) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[o.Kept.ID] {
		return false
	}
	w.busy[o.Kept.ID] = true
	return true
}

func (w *Worker) end(o swarmcache.Order) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.busy, o.Kept.ID)
}

var errDraining = errors.New("the node is draining")

func (w *Worker) obey(ctx context.Context, o swarmcache.Order) {
	began := time.Now()
	err := errDraining
	switch {
	case w.cfg.Draining():
	case o.Origin:
		err = w.cfg.Refetch(ctx, o.Kept.URL)
	default:
		err = w.cfg.Replicate(ctx, o.Kept)
	}
	if ctx.Err() != nil {
		return // the next run begins with it
	}
	ctx, cancel := context.WithTimeout(ctx, obeyWithin)
	defer cancel()
	if err != nil {
		o.Failed = err.Error()
		w.log.Warn("make a copy", "url", o.Kept.URL, "error", err)
		err = w.cfg.Orders.FailOrder(ctx, o)
	} else {
		w.log.Info("a copy was made", "url", o.Kept.URL, "bytes", o.Kept.Length, "took", time.Since(began).Round(time.Millisecond))
		err = w.cfg.Orders.EndOrder(ctx, o)
	}
	if err != nil {
		w.log.Debug("tell what came of an order", "error", err)
	}
}
