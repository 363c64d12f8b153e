package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
)

// A job has a lease of its own, which is no node's: what is told of the job keeps
// it, and when nothing is any more, it and its parts go by themselves. Each node
// follows the jobs, and nobody the lists of URLs, which its nodes read once, and the
// parts, which are read when an operator asks.
const jobFor = 24 * time.Hour

// StartJob lets all nodes know of a job.
func (c *Cluster) StartJob(ctx context.Context, j swarmcache.Job) error {
	list := encode(j.URLs)
	if len(j.URLs) > 0 {
		j.URLs, j.Size = nil, len(list)
	}
	if len(encode(j))+j.Size > swarmcache.MaxJob {
		return swarmcache.ErrJobTooLong
	}
	standing, err := c.Jobs(ctx)
	if err != nil {
		return err
	}
	if err := hasRoom(standing, j); err != nil {
		return err
	}
	return c.do(ctx, opJob, func(ctx context.Context, client *clientv3.Client) error {
		l, err := client.Grant(ctx, int64(jobFor/time.Second))
		if err != nil {
			return err
		}
		j.Lease = int64(l.ID)
		puts := []clientv3.Op{clientv3.OpPut(c.keys.job(j.ID), encode(j), clientv3.WithLease(l.ID))}
		if j.Size > 0 {
			puts = append(puts, clientv3.OpPut(c.keys.jobList(j.ID), list, clientv3.WithLease(l.ID)))
		}
		if _, err = client.Txn(ctx).Then(puts...).Commit(); err != nil {
			c.revoke(client, l.ID)
		}
		return err
	})
}

// hasRoom says why the directory takes no j beside those that stand.
func hasRoom(standing []swarmcache.Job, j swarmcache.Job) error {
	if len(standing) >= swarmcache.MaxJobs {
		return swarmcache.ErrTooManyJobs
	}
	taken := 0
	for _, other := range standing {
		taken += other.Size
	}
	if taken+j.Size > swarmcache.MaxJobLists {
		return fmt.Errorf("%w, or put the list into a manifest: it has %d bytes, theirs have %d, and there is room for %d",
			swarmcache.ErrTooManyJobs, j.Size, taken, swarmcache.MaxJobLists)
	}
	return nil
}

// CancelJob ends a job, or returns ErrNotFound. Nothing is left of it.
func (c *Cluster) CancelJob(ctx context.Context, id string) error {
	j, err := c.Job(ctx, id)
	if err != nil {
		return err
	}
	return c.do(ctx, opJob, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Revoke(ctx, clientv3.LeaseID(j.Lease))
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil // it has just gone
		}
		return err
	})
}

// Jobs returns all that stand, without their URLs, in the order of their making.
func (c *Cluster) Jobs(ctx context.Context) (all []swarmcache.Job, err error) {
	err = c.pages(ctx, c.keys.jobs(), func(kvs []*mvccpb.KeyValue) { all = append(all, decodeAll[swarmcache.Job](c, kvs)...) })
	return all, err
}

// Job returns one, or ErrNotFound.
func (c *Cluster) Job(ctx context.Context, id string) (j swarmcache.Job, err error) {
	err = c.get(ctx, c.keys.job(id), &j)
	return j, err
}

// JobURLs returns the list of a job, or ErrNotFound when the job is gone.
func (c *Cluster) JobURLs(ctx context.Context, j swarmcache.Job) (urls []string, err error) {
	if j.Size == 0 {
		return j.URLs, nil
	}
	err = c.get(ctx, c.keys.jobList(j.ID), &urls)
	return urls, err
}

// FollowJobs calls f, from one goroutine, with all jobs that stand, without their
// URLs, and again whenever one has come or gone. It returns when ctx is done.
func (c *Cluster) FollowJobs(ctx context.Context, f func([]swarmcache.Job)) error {
	standing := map[string]swarmcache.Job{}
	take := func(kv *mvccpb.KeyValue) {
		for _, j := range decodeAll[swarmcache.Job](c, []*mvccpb.KeyValue{kv}) {
			standing[string(kv.Key)] = j
		}
	}
	tell := func() error { f(slices.Collect(maps.Values(standing))); return nil }
	return c.follow(ctx, follower{
		prefix: c.keys.jobs(),
		state: func(_ int64, kvs []*mvccpb.KeyValue) error {
			clear(standing)
			for _, kv := range kvs {
				take(kv)
			}
			return tell()
		},
		changed: func(events changes) error {
			for _, e := range events {
				if delete(standing, string(e.Kv.Key)); e.Type != clientv3.EventTypeDelete {
					take(e.Kv)
				}
			}
			return tell()
		},
	})
}

// TellPart says how far this node has come with a job that stands, and keeps that
// standing; ErrNotFound when it does not.
func (c *Cluster) TellPart(ctx context.Context, j swarmcache.Job, p swarmcache.JobPart) error {
	key := c.keys.part(j.ID, p.Node)
	return c.do(ctx, opJob, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(c.keys.job(j.ID)), ">", 0)).
			Then(clientv3.OpPut(key, encode(p), clientv3.WithLease(clientv3.LeaseID(j.Lease)))).Commit()
		if err == nil && !r.Succeeded {
			return swarmcache.ErrNotFound
		}
		if err == nil {
			_, err = client.KeepAliveOnce(ctx, clientv3.LeaseID(j.Lease))
		}
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return swarmcache.ErrNotFound
		}
		return err
	})
}

// Parts returns what the nodes of a job have told; an empty id means those of all.
func (c *Cluster) Parts(ctx context.Context, id string) (all []swarmcache.JobPart, err error) {
	prefix := c.keys.parts()
	if id != "" {
		prefix = c.keys.part(id, "")
	}
	err = c.pages(ctx, prefix, func(kvs []*mvccpb.KeyValue) { all = append(all, decodeAll[swarmcache.JobPart](c, kvs)...) })
	return all, err
}

// Part returns what this node has told of a job, or ErrNotFound.
func (c *Cluster) Part(ctx context.Context, id string) (p swarmcache.JobPart, err error) {
	err = c.get(ctx, c.keys.part(id, c.cfg.Self.ID), &p)
	return p, err
}

func (k keys) jobs() string                               { return k.prefix + "jobs/" }
func (k keys) job(id string) string                       { return k.jobs() + id }
func (k keys) jobList(id string) string                   { return k.prefix + "joblists/" + id }
func (k keys) parts() string                              { return k.prefix + "jobparts/" }
func (k keys) part(id string, n swarmcache.NodeID) string { return k.parts() + id + "/" + string(n) }
