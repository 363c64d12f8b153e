package cluster

import (
	"context"
	"errors"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// changes is one batch of what happened, in order.
type changes = []*clientv3.Event

// follower is told the state under a prefix and then what changes. state is
// called again whenever the thread of changes was lost: when the history was
// compacted while this node was away, or when etcd may be another one.
type follower struct {
	prefix  string // or a key
	begin   snapshot
	state   func(rev int64, kvs []*mvccpb.KeyValue) error
	changed func(changes) error
	// part, if it is set, is what to watch of that: from which key on, and until
	// when, nil being for ever.
	part func(context.Context) (from string, until <-chan struct{})
}

// snapshot is a state that a follower may begin with, where somebody has read it
// already; lost is closed when the connection of that time is gone.
type snapshot struct {
	lost <-chan struct{}
	rev  int64 // 0: nobody has
	kvs  []*mvccpb.KeyValue
}

// follow returns when ctx is done (nil), a callback fails (its error), or Run
// has ended (ErrUnavailable). Both callbacks run in this goroutine.
func (c *Cluster) follow(ctx context.Context, f follower) error {
	for first := true; ; first = false {
		if err := c.health.wait(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if !first {
			c.m.rereads.Inc()
		}
		at, err := f.begin, error(nil)
		if f.begin = (snapshot{}); at.rev == 0 {
			at.lost = c.health.lost()
			at.rev, at.kvs, err = c.read(ctx, f.prefix)
		}
		if err == nil {
			if err := f.state(at.rev, at.kvs); err != nil {
				return err
			}
			err = c.changes(ctx, f, at)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		pause(ctx, retryMin) // never a tight loop, whatever goes wrong
	}
}

// read returns the state and its revision. It tries until etcd answers.
func (c *Cluster) read(ctx context.Context, prefix string) (rev int64, kvs []*mvccpb.KeyValue, err error) {
	for {
		err = c.do(ctx, opRead, func(ctx context.Context, client *clientv3.Client) error {
			r, err := client.Get(ctx, prefix, clientv3.WithPrefix())
			if err == nil {
				rev, kvs = r.Header.Revision, r.Kvs
			}
			return err
		})
		if err == nil || ctx.Err() != nil {
			return rev, kvs, err
		}
		if !pause(ctx, retryMin) {
			return 0, nil, ctx.Err()
		}
		if err := c.health.wait(ctx); err != nil {
			return 0, nil, err
		}
	}
}

// changes tells what happens after a state that was told, until the thread is lost (nil)
// or a callback fails.
func (c *Cluster) changes(ctx context.Context, f follower, told snapshot) error {
	client := c.client.Load()
	if client == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	first, until := f.prefix, (<-chan struct{})(nil)
	if f.part != nil {
		first, until = f.part(ctx)
	}
	ch := client.Watch(ctx, first, clientv3.WithRange(clientv3.GetPrefixRangeEnd(f.prefix)), clientv3.WithCreatedNotify())
	rev := told.rev
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-told.lost:
			return nil
		case <-until:
			return nil
		case r, ok := <-ch:
			if !ok || r.Err() != nil {
				return nil
			}
			c.saw(r.Header)
			if r.Created && r.Header.Revision > rev {
				var err error
				switch rev, err = c.missed(ctx, f, first, told); {
				case errors.Is(err, errLostThread):
					return nil
				case err != nil:
					return err
				}
			}
			told.kvs = nil
			events := after(rev, r.Events)
			c.m.watchEvents.Add(float64(len(events)))
			if len(events) == 0 {
				continue
			}
			if err := f.changed(events); err != nil {
				return err
			}
		}
	}
}

// followMode keeps the fleet-wide switch at hand.
func (c *Cluster) followMode(ctx context.Context) {
	set := func(mode string) {
		if old := c.mode.Swap(&mode); *old != mode {
			c.log.Info("the fleet's mode changed", "mode", mode)
		}
	}
	c.follow(ctx, follower{
		prefix: c.keys.mode(),
		state: func(_ int64, kvs []*mvccpb.KeyValue) error {
			mode := ""
			if len(kvs) > 0 {
				mode = string(kvs[0].Value)
			}
			set(mode)
			return nil
		},
		changed: func(events changes) error {
			for _, e := range events {
				set(string(e.Kv.Value)) // none when it was deleted
			}
			return nil
		},
	})
}

// Mode is the fleet-wide switch: "" for normal, "pass" for no caching at all. It
// does no I/O; while etcd is away the last known mode stays.
func (c *Cluster) Mode() string { return *c.mode.Load() }

// SetMode turns the switch for every node.
func (c *Cluster) SetMode(ctx context.Context, mode string) error {
	return c.do(ctx, opMode, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Put(ctx, c.keys.mode(), mode)
		return err
	})
}

// pauseUntil waits for a signal, at most d.
func pauseUntil(ctx context.Context, signal <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-signal:
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
