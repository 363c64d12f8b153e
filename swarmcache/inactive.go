package swarmcache

import (
	"time"

	"shatabdi/swarmcache/events"
)

// What nobody uses may go before its space is wanted: an operator says after how long.

// inactiveLooks is how often in that time is looked for it, but for once a minute.
const inactiveLooks = 10

func (c *Cache) watchInactive() {
	look := time.NewTicker(min(max(c.cfg.Inactive/inactiveLooks, time.Millisecond), time.Minute))
	defer look.Stop()
	for {
		select {
		case <-look.C:
			c.dropInactive()
		case <-c.ctx.Done():
			return
		}
	}
}

// dropInactive forgets what nobody has used for so long. Uses are not on record: what
// was here when the node began counts as used then. Pins, what is in use, and what the
// cluster keeps stay. Of that last not even surplus copies go: all nodes count them
// before any has dropped its own, and then all would.
func (c *Cache) dropInactive() {
	before := c.now().Add(-c.cfg.Inactive).UnixNano()
	var all []func()
	c.mu.Lock()
	for id, e := range c.entries {
		o := c.objects[id]
		inUse := o != nil && o.users.Load() > 0
		if inUse || e.pinned || e.wanted > 0 || max(e.lastUsed, e.left, c.began.UnixNano()) > before {
			continue
		}
		c.metrics.inactive.Inc()
		c.cfg.Events.Tell(events.Event{Kind: events.Evicted, Object: string(id), Key: string(e.key), Length: e.size, Reason: "inactive"})
		_, away := c.leaveLocked(id)
		all = append(all, away)
	}
	c.mu.Unlock()
	for _, away := range all {
		away()
	}
}
