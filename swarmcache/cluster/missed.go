package cluster

import (
	"context"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A watch that begins in the past etcd serves in rounds, ten a second, and where
// something is always being written, every watch that begins at what was read a moment
// ago begins in the past: a node that took part in a fill heard of the first hashes a
// tenth of a second late. So a watch begins now, and what it missed is read.

// missed reads what changed from key first on, of what a follower watches, since the state
// it was told, and tells it. It returns up to which revision that is.
func (c *Cluster) missed(ctx context.Context, f follower, first string, told snapshot) (rev int64, err error) {
	var r *clientv3.GetResponse
	err = c.do(ctx, opRead, func(ctx context.Context, client *clientv3.Client) (err error) {
		r, err = client.Get(ctx, first, clientv3.WithRange(clientv3.GetPrefixRangeEnd(f.prefix)), clientv3.WithMinModRev(told.rev+1))
		return err
	})
	if err != nil {
		return 0, errLostThread
	}
	left, news := r.Count, changes(nil) // the count is of all keys there
	for _, kv := range told.kvs {
		if string(kv.Key) >= first {
			left--
		}
	}
	for _, kv := range r.Kvs {
		if kv.CreateRevision > told.rev {
			left--
		}
		news = append(news, &clientv3.Event{Type: clientv3.EventTypePut, Kv: kv})
	}
	if left < 0 { // something was deleted
		rev, kvs, err := c.read(ctx, f.prefix)
		if err == nil {
			err = f.state(rev, kvs)
		}
		return rev, err
	}
	if len(news) > 0 {
		slices.SortFunc(news, func(a, b *clientv3.Event) int { return int(a.Kv.ModRevision - b.Kv.ModRevision) })
		c.m.watchEvents.Add(float64(len(news)))
		err = f.changed(news)
	}
	return r.Header.Revision, err
}

// after is what happened after a revision.
func after(rev int64, events changes) changes {
	return slices.DeleteFunc(events, func(e *clientv3.Event) bool { return e.Kv.ModRevision <= rev })
}

// isGone reports whether a key does not stand any more, or was made after a revision.
func (c *Cluster) isGone(ctx context.Context, k string, rev int64) (gone bool, err error) {
	err = c.do(ctx, opRead, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Get(ctx, k, clientv3.WithKeysOnly())
		if err == nil {
			gone = !slices.ContainsFunc(r.Kvs, func(kv *mvccpb.KeyValue) bool { return kv.CreateRevision <= rev })
		}
		return err
	})
	return gone, err
}
