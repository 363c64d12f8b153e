package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shatabdi/policy"
	"shatabdi/proxy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/download"
)

// startDownloads lets the operator, and the configuration's warm-up, fetch through
// px.
func (d *daemon) startDownloads(p *parts, px *proxy.Proxy) {
	p.proxy = px
	p.downloads = download.New(download.Config{
		Transport: px, Quiet: unasked{px}, Directories: d.cfg.Downloads.Directories, Resolve: swarmcache.Resolve, List: p.list,
		Prioritize: func(object, priority string) error {
			return p.cache.SetPriority(swarmcache.ObjectID(object), policy.Priority(priority))
		},
		Pin:    func(object string) error { return p.cache.SetPinned(swarmcache.ObjectID(object), true) },
		Store:  p.index,
		Events: d.events, Logger: d.log.With("component", "downloads"), Registerer: d.reg,
	})
	d.stack.push("downloads", func(context.Context) error { p.downloads.Close(); return nil })
	p.downloads.Restore(func(ctx context.Context) { d.meet(ctx, p) })
	if w := d.cfg.Warmup; w.wanted() {
		gate := func(error) {}
		if w.Gate {
			gate = d.ready.helpful("warm-up", w.Deadline).settle
		}
		d.runWarmup(p, w, gate)
	}
}

func (d *daemon) runWarmup(p *parts, w Warmup, settled func(error)) {
	d.run("warm-up", func(ctx context.Context) error {
		settled(d.warmUp(ctx, p, w))
		return nil
	})
}

// meet waits until the directory can say who has what, but not for ever.
func (d *daemon) meet(ctx context.Context, p *parts) error {
	select {
	case <-p.cluster.FirstContact():
	case <-time.After(d.patience):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// warmUp fetches what the configuration lists, once the directory can say who has
// it: a fleet that starts must not go to the origin each for itself.
func (d *daemon) warmUp(ctx context.Context, p *parts, listed Warmup) error {
	if err := d.meet(ctx, p); err != nil {
		return err
	}
	log := d.log.With("component", "warm-up")
	urls, err := listed.list(ctx, p.downloads)
	hot, cold := p.hottest(ctx, listed.Hot)
	err = errors.Join(err, cold)
	if err != nil && len(urls)+len(hot) == 0 {
		log.Warn("nothing to warm up", "error", err)
		return err
	}
	began := time.Now()
	specs, listing := p.downloads.Expand(ctx, urls, d.cfg.Warmup.Pinned)
	if listing != nil {
		log.Warn("nothing to warm up", "error", listing)
		return listing
	}
	w, warming := p.downloads.Warm("", append(specs, hot...))
	if warming == nil {
		w, warming = p.downloads.Warmed(ctx, w.ID)
	}
	if err = errors.Join(err, warming, w.Err()); err != nil {
		log.Warn("not everything is warm", "objects", w.Objects, "done", w.Done, "failed", w.Failed, "error", err)
		return err
	}
	log.Info("warm", "objects", w.Objects, "bytes", w.Bytes, "from_peers", w.From.Peers, "from_origin", w.From.Origin,
		"took", time.Since(began).Round(time.Millisecond))
	return nil
}

// list is what the configuration lists. The manifest is asked for until it
// comes or the gate's deadline is over: who has it may be starting too.
func (w Warmup) list(ctx context.Context, downloads *download.Downloads) (urls []string, err error) {
	for _, raw := range w.URLs {
		urls = append(urls, swarmcache.Resolve(raw))
	}
	if w.Manifest == "" {
		return urls, nil
	}
	for wait, until := time.Second, time.Now().Add(w.Deadline); ; wait = min(2*wait, time.Minute) {
		var more []string
		if more, err = downloads.Manifest(ctx, swarmcache.Resolve(w.Manifest)); err == nil {
			return append(urls, more...), nil
		}
		if time.Now().Add(wait).After(until) {
			public, _ := download.Public(w.Manifest)
			return urls, fmt.Errorf("the manifest %s: %w", redact(public), err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return urls, context.Cause(ctx)
		}
	}
}
