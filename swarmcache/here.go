package swarmcache

import (
	"errors"

	"shatabdi/policy"
	"shatabdi/swarmcache/events"
)

// PurgeHere is Purge, or SoftPurge, of this node alone: no other one is told, and what
// they have this one may get from them.
func (c *Cache) PurgeHere(key policy.Key, soft bool) (had int, err error) {
	if soft {
		had = c.cfg.Purged(key)
		for _, k := range c.variantsOf(key) {
			was, failed := c.Expire(k)
			if was {
				had++
			}
			err = errors.Join(err, failed)
		}
	} else {
		had, err = c.purgeHere(key)
	}
	c.cfg.Events.Tell(events.Event{Kind: events.Purged, Key: string(key), Self: true})
	return had, err
}
