package swarmcache

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"shatabdi/policy"
)

// Purge is an operator's order to forget what a key selects. It stands in the
// directory for PurgesStand, so that nodes that were away obey it too.
type Purge struct {
	ID  string     `json:"id"` // unique
	Key policy.Key `json:"key"`
	At  time.Time  `json:"at"` // by the clock of who ordered it; only to tell when it may go
}

// PurgesStand is how long purges stand. A node that was away for longer must ask
// the origins about all that it holds.
const PurgesStand = 7 * 24 * time.Hour

// settingPurges is where the catalogue keeps which purges this node has obeyed.
const settingPurges = "purges"

// obedience is what a node remembers of purges: those that it has obeyed, as far
// as they may still stand, and when it last was in touch with those who order.
type obedience struct {
	mu    sync.Mutex // held across forgetting: purges are obeyed one after the other
	Seen  []string   `json:"seen,omitempty"`
	Touch time.Time  `json:"touch"`
}

// load reads what an earlier run remembered.
func (o *obedience) load(x Index) error {
	b, err := x.Setting(settingPurges)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	if err := json.Unmarshal(b, o); err != nil {
		return nil // none is remembered: all that stand are obeyed again
	}
	return nil
}

func (o *obedience) saveLocked(x Index) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return x.SetSetting(settingPurges, b)
}

// Purge makes every node forget what key selects: this one before it returns, the
// others when they hear of it. ErrUnavailable: this node is done, and the
// directory could not be told.
func (c *Cache) Purge(ctx context.Context, key policy.Key) error {
	p := Purge{ID: rand.Text(), Key: key, At: c.now()}
	c.obeyed.mu.Lock()
	err := c.forgetKey(key)
	// Ours is known here: what comes in its place must not go with it.
	c.obeyed.Seen = append(c.obeyed.Seen, p.ID)
	c.obeyed.mu.Unlock()
	if err != nil {
		return err
	}
	return c.cfg.Directory.Purge(ctx, p)
}

// forgetKey forgets what key selects on this node, if anything.
func (c *Cache) forgetKey(key policy.Key) error {
	if id, ok := c.selected(key); ok {
		return c.forget(id).wait()
	}
	return nil
}

// obey forgets what was purged since this node last heard of purges. It is told of
// all that stand.
func (c *Cache) obey(standing []Purge) {
	o := &c.obeyed
	o.mu.Lock()
	defer o.mu.Unlock()
	var seen []string
	for _, p := range standing {
		if !slices.Contains(o.Seen, p.ID) {
			if err := c.forgetKey(p.Key); err != nil {
				c.log.Error("obey a purge", "key", p.Key, "error", err)
				continue // it is told again
			}
			c.metrics.purges.Inc()
		}
		seen = append(seen, p.ID)
	}
	o.Seen, o.Touch = seen, c.now()
	if err := o.saveLocked(c.cfg.Index); err != nil {
		c.log.Warn("remember the purges", "error", err) // they are obeyed again
	}
}

// distrust makes everything that is stored stale, when this node was away for
// longer than purges stand: it cannot know what it missed.
func (c *Cache) distrust() error {
	if c.obeyed.Touch.IsZero() || c.now().Sub(c.obeyed.Touch) < PurgesStand-time.Hour {
		return nil
	}
	c.log.Warn("away for longer than purges are kept: all objects must be revalidated", "since", c.obeyed.Touch)
	var all []Record
	err := c.cfg.Index.Each(func(r Record) bool {
		if !r.Version.Stored.Invalid {
			all = append(all, r)
		}
		return true
	})
	for _, r := range all {
		if err != nil {
			return err
		}
		r.Version.Stored.Invalid = true
		err = c.cfg.Index.Put(r)
	}
	return err
}
