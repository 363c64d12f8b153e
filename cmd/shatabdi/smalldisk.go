package main

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"syscall"

	"shatabdi/proxy/small"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/index"
)

// smallToken is the setting that says whose the small objects on the disk are: those
// of a node that was there whenever something was purged. A run without them takes it
// away.
const smallToken = "small-objects"

// openSmall makes the place for small objects, if they are cached: memory, and the
// disk behind it. Where the disk will not do the memory has to.
func (d *daemon) openSmall(p *parts) error {
	cfg := d.cfg.Cache
	on := cfg.Small == SmallCache && cfg.SmallDisk > 0
	store, err := d.openSmallDisk(p, on)
	switch {
	case on && err != nil:
		d.log.Error("small objects are kept in memory only", "error", err,
			"hint", "with another version's directory go back to that version, or remove the directory")
	case err != nil:
		d.log.Warn("small objects on the disk are not removed", "error", err)
	}
	if cfg.Small != SmallCache {
		return nil
	}
	c := small.Config{Size: int64(cfg.SmallMemory), Registerer: d.reg, Logger: d.log, Now: d.now, Heard: func() bool { return p.cache.Heard() }}
	if store != nil {
		c.Store = store
		d.stack.push("small objects on the disk", func(context.Context) error { return store.Close() })
	}
	p.small = small.New(c)
	d.run("small objects", p.small.Run)
	return nil
}

func (d *daemon) openSmallDisk(p *parts, on bool) (*index.Bodies, error) {
	dir := filepath.Join(d.cfg.DataDir, "small")
	token, err := p.index.Setting(smallToken)
	if err != nil && !errors.Is(err, swarmcache.ErrNotFound) {
		return nil, errors.Join(err, p.index.SetSetting(smallToken, nil))
	}
	if !on {
		if len(token) == 0 {
			return nil, nil
		}
		return nil, errors.Join(p.index.SetSetting(smallToken, nil), index.RemoveBodies(dir))
	}
	if len(token) == 0 {
		token = []byte(rand.Text())
		if err := p.index.SetSetting(smallToken, token); err != nil {
			return nil, err
		}
	}
	store, err := d.openBodies(dir, string(token))
	if err != nil { // what is purged in this run it will not know
		return nil, errors.Join(err, p.index.SetSetting(smallToken, nil))
	}
	return store, nil
}

func (d *daemon) openBodies(dir, token string) (*index.Bodies, error) {
	var free syscall.Statfs_t
	if err := syscall.Statfs(d.cfg.DataDir, &free); err != nil {
		return nil, err
	}
	return index.OpenBodies(index.BodiesOptions{
		Dir: dir, Size: int64(d.cfg.Cache.SmallDisk), Free: d.cfg.Cache.MinFree.Of(int64(free.Blocks) * free.Bsize),
		Token: token, Logger: d.log,
	})
}
