package main

import (
	"context"
	"errors"
	"time"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/download"
	"shatabdi/swarmcache/replica"
	"shatabdi/tracker"
)

// keepReplicas has this node make the copies it is asked for and, while it leads,
// ask for them.
func (d *daemon) keepReplicas(p *parts, tr *tracker.Tracker) {
	leader := replica.NewLeader(replica.LeaderConfig{
		Directory: p.cluster,
		Leads:     func() bool { _, _, self := p.cluster.Leader(); return self },
		EachSeeder: func(ih swarmcache.InfoHash, f func(swarmcache.NodeID) bool) {
			tr.EachSeeder(ih, func(node string) bool { return f(swarmcache.NodeID(node)) })
		},
		After: d.cfg.Cache.HealAfter, Settle: settle(d.cfg.Cache.HealAfter), Logger: d.log, Registerer: d.reg,
	})
	worker := replica.NewWorker(replica.WorkerConfig{
		Orders: p.cluster, Replicate: p.cache.Replicate, Refetch: p.refetch, Draining: p.cache.Draining, Logger: d.log,
	})
	d.run("replicas", leader.Run)
	d.run("replicas of others", worker.Run)
}

// settle is how long a new leader waits until all have told what they have. Who
// makes copies soon waits for less: then a node that tells late may get one more.
func settle(healAfter time.Duration) time.Duration {
	return min(10*time.Second, 4*time.Second+healAfter)
}

// refetch has an object come from its origin, as a client of this node would.
func (p *parts) refetch(ctx context.Context, url string) error {
	st, err := p.downloads.Fetch(ctx, download.Spec{URL: url})
	if err == nil && st.Object == "" {
		err = errors.New("its origin's response is not to be stored now")
	}
	return err
}
