package swarmcache

import (
	"time"

	"shatabdi/swarmcache/events"
)

// event is one about v.
func (c *Cache) event(kind string, v Version) events.Event {
	return events.Event{Kind: kind, Object: string(v.ID), Key: string(v.Key), Length: v.Length}
}

// tellFill tells that bytes begin to come.
func (t *transfer) tellFill(role string) {
	e := t.c.event(events.Fill, t.file.Version())
	e.Role = role
	t.c.cfg.Events.Tell(e)
}

// Coming is an object that bytes are coming in for.
type Coming struct {
	Version Version
	Arrived Arrived
	Started time.Time
}

// Coming lists the objects that bytes are coming in for.
func (c *Cache) Coming() []Coming {
	c.mu.Lock()
	var all []*object
	for _, o := range c.objects {
		all = append(all, o)
	}
	c.mu.Unlock()
	var coming []Coming
	for _, o := range all {
		o.mu.Lock()
		t := o.transfer
		o.mu.Unlock()
		if t == nil || o.file.Left() == 0 {
			continue
		}
		v := o.file.Version()
		coming = append(coming, Coming{v, c.Arrived(Record{Version: v}), t.born})
	}
	return coming
}
