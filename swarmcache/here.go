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
		had, err = c.expireHere(key)
	} else {
		had, err = c.purgeHere(key)
	}
	c.cfg.Events.Tell(events.Event{Kind: events.Purged, Key: string(key), Self: true})
	return had, err
}

// expireHere marks what key selects on this node.
func (c *Cache) expireHere(key policy.Key) (had int, err error) {
	all := c.expire(key)
	had = c.cfg.Purged(key) + len(all)
	for _, g := range all {
		err = errors.Join(err, g.stays.o.rewrite())
		g.stays.o.file.Release()
	}
	n, away := c.expireAway(key, ofAll(key)) // last: a volume may have gone meanwhile
	return had + n, errors.Join(err, away)
}
