package swarmcache

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache/events"
)

// Purge is an operator's order to forget what a key selects. It stands in the
// directory for PurgesStand, so that nodes that were away obey it too.
type Purge struct {
	ID  string     `json:"id"` // unique
	Key policy.Key `json:"key"`
	At  time.Time  `json:"at"` // when it may go, and what came after it; by this node's clock
	// Doubt is by how much that may be wrong, and Scale the time in which the directory
	// keeps it, both as of a Version.
	Doubt time.Duration `json:"doubt,omitempty"`
	Scale string        `json:"scale,omitempty"`
	// Soft: nothing is forgotten, and all of it must be confirmed by the origin before
	// it is used again.
	Soft bool `json:"soft,omitempty"`
}

// PurgesStand is how long purges stand. A node that was away for longer must ask
// the origins about all that it holds.
const PurgesStand = 7 * 24 * time.Hour

// Standing is what a directory tells of purges.
type Standing struct {
	Purges []Purge // that stand, all of them
	Era    Era
	// Afresh: this node was out of touch with the directory for long, or never in touch
	// before in this run. What it has others may have replaced meanwhile.
	Afresh bool
}

// Era is the time in which a directory loses nothing: the cluster it is that of, and
// when the era began. The zero value: it does not say.
type Era struct {
	Cluster string `json:"cluster"`
	Epoch   int64  `json:"epoch"`
	// After is the cluster that had the directory before, where that was lost and this
	// one found in its place: its nodes and purges are this one's.
	After string `json:"after,omitempty"`
}

// continues reports whether an era is of the same nodes as one that this node was in.
func (e Era) continues(was Era) bool {
	return was.Cluster == "" || e.Cluster == was.Cluster || e.After == was.Cluster
}

// soonAfter: what came within that after a purge, or may have, for all that is known of
// the clocks, is taken for what was purged, and costs one more request to the origin.
const soonAfter = time.Minute

// obedience is what a node remembers of purges: those that it has obeyed, as far
// as they may still stand, and when it last was in touch with those who order. It
// remembers all of a purge, so that it can stand again in a directory that was
// wiped, or restored from an old copy.
type obedience struct {
	mu       sync.Mutex            // guards the fields; never held until what is forgotten is gone
	own      []string              // ordered here, and not seen to stand yet
	begun    map[string][]gone     // obeyed for who asks, and not on the disk yet
	standing []Purge               // as last told; nil: all of them are obeyed
	told     time.Time             // when that was
	written  [purgeSheets]digestOf // what stands in the catalogue
	rest     digestOf              // what stands there of the fields below
	Obeyed   []Purge               `json:"-"`
	Touch    time.Time             `json:"touch"`
	Era      Era                   `json:"era,omitzero"`     // of the directory that ordered them
	Forgot   bool                  `json:"forgot,omitempty"` // it has lost what it was told of what is stored here
	Moved    bool                  `json:"moved,omitempty"`  // and is that of another cluster
	// Distrusts is how often purges may have been missed.
	Distrusts uint32 `json:"distrusts,omitempty"`
}

// order notes a purge as this node's own: what comes in the place of what was
// forgotten must not go with it when the purge is told here.
func (o *obedience) order(p Purge) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.own = append(o.own, p.ID)
}

// Purge makes every node forget what key selects: this one before it returns, the
// others when they hear of it. ErrUnavailable: this node is done, and the
// directory could not be told. had tells how many responses there were here.
//
// Here it is forgotten before the directory is told, so that a fill of which that hears
// meanwhile is known for forgotten, and after: until then a look-up brings back from there
// what was forgotten here, and this node does not obey its own purge a second time.
func (c *Cache) Purge(ctx context.Context, key policy.Key) (had int, err error) {
	ctx = context.WithoutCancel(ctx) // forgetting may take longer than its patience, and others must hear of it
	p := Purge{ID: rand.Text(), Key: key, At: c.now()}
	c.order(p)
	c.Mark(key).Advance()
	before := c.forgetAll(key)
	told := c.cfg.Directory.Purge(ctx, p)
	had, err = c.purgeHere(key, before...)
	c.cfg.Events.Tell(events.Event{Kind: events.Purged, Key: string(key), Self: true})
	return had, cmp.Or(err, told)
}

// Invalidate is Purge after a request changed what key selects at the origin (RFC
// 9111 §4.4). Where the cluster knows nothing of the key, nobody is told.
func (c *Cache) Invalidate(ctx context.Context, key policy.Key) error {
	ctx = context.WithoutCancel(ctx) // as for Purge
	p := Purge{ID: rand.Text(), Key: key, At: c.now()}
	c.obeyed.order(p)
	had, err := c.purgeHere(key)
	if err != nil {
		return err
	}
	told := had > 0
	if told { // the directory may know nothing of it, and another node have it too
		err = c.cfg.Directory.Purge(ctx, p)
	}
	if !told || errors.Is(err, ErrUnavailable) { // which owes it
		told, err = c.cfg.Directory.Invalidate(ctx, p)
	}
	if !told {
		c.obeyed.mu.Lock()
		defer c.obeyed.mu.Unlock()
		c.obeyed.own = slices.DeleteFunc(c.obeyed.own, func(id string) bool { return id == p.ID })
		return err
	}
	_, again := c.purgeHere(key) // what a look-up brought back until the directory was told
	return cmp.Or(err, again)
}

// purgeHere forgets all variants of key on this node, and what is on its way for
// it, and tells how many responses there were, with what was begun to be forgotten before.
func (c *Cache) purgeHere(key policy.Key, before ...gone) (had int, err error) {
	c.Mark(key).Advance()
	had = c.cfg.Purged(key) + len(before)
	for _, k := range c.variantsOf(key) {
		here, e := c.forgetHere(k)
		if here && !slices.ContainsFunc(before, func(g gone) bool { return g.key == k }) {
			had++
		}
		err = errors.Join(err, e)
	}
	for _, g := range before {
		err = errors.Join(err, g.l.wait())
	}
	n, away := c.forgetAway(key, ofAll(key)) // last: a volume may have gone meanwhile
	return had + n, errors.Join(err, away)
}

// forgetKey forgets what key selects on this node, if anything, and what is being
// spooled for it.
func (c *Cache) forgetKey(key policy.Key) error {
	_, err := c.forgetHere(key)
	_, away := c.forgetAway(key, of(key))
	return errors.Join(err, away)
}

// forgetHere is forgetKey but for what is on a missing volume.
func (c *Cache) forgetHere(key policy.Key) (had bool, err error) {
	c.spools.forget(key)
	id, had := c.selected(key)
	if had {
		err = c.forget(id).wait()
	}
	return had, err
}

// obey forgets what was purged since this node last heard of purges: at once for
// who asks, and then on the disk. It is told of all that stand.
func (c *Cache) obey(told Standing) {
	o, standing := &c.obeyed, told.Purges
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := c.distrust(told.Era); err != nil {
		c.log.Error("remember that what is stored is stale", "error", err) // obeyOn tries again
	}
	c.enterEraLocked(told.Era)
	known := map[string]bool{}
	for _, id := range o.own {
		known[id] = true
	}
	for _, p := range o.Obeyed {
		known[p.ID] = true
	}
	if o.begun == nil {
		o.begun = map[string][]gone{}
	}
	c.softenLocked(standing...)
	for _, p := range standing {
		if _, begun := o.begun[p.ID]; !begun && !known[p.ID] {
			o.begun[p.ID] = c.obeyNow(p)
		}
	}
	if told.Afresh {
		c.doubtAll()
	}
	c.inTouch()
	idle := o.standing == nil
	o.standing, o.told = append([]Purge{}, standing...), c.now()
	if idle {
		c.goWork(c.obeyOn)
	}
}

// obeyOn goes on with what obey began: until what was forgotten is gone others are
// not kept waiting for that.
func (c *Cache) obeyOn() {
	o := &c.obeyed
	o.mu.Lock()
	defer o.mu.Unlock()
	for c.ctx.Err() == nil {
		standing, told, era, forgot, moved := o.standing, o.told, o.Era, o.Forgot, o.Moved
		obeyed, begun, last := []Purge(nil), maps.Clone(o.begun), slices.Clone(o.Obeyed)
		o.mu.Unlock()
		lost, again := c.standAgain(era, last, standing)
		obeyed = append(obeyed, lost...)
		for _, p := range standing {
			if all, new := begun[p.ID]; new {
				if err := c.obeyWholly(p, all); err != nil {
					c.log.Error("obey a purge", "key", p.Key, "error", err)
					continue // it is told again
				}
				c.metrics.purges.Inc()
			}
			obeyed = append(obeyed, p)
		}
		if forgot && again == nil { // purges first
			again = c.tellAll(moved)
			forgot = again != nil
		}
		o.mu.Lock()
		if o.Era != era {
			continue // what was told since is of another directory, as it were
		}
		o.Forgot, o.Moved = forgot, moved && forgot
		for _, p := range obeyed {
			delete(o.begun, p.ID)
			o.own = slices.DeleteFunc(o.own, func(id string) bool { return id == p.ID })
		}
		o.Obeyed, o.Touch = obeyed, told
		if err := o.saveLocked(c.cfg.Index); err != nil {
			c.log.Warn("remember the purges", "error", err) // they are obeyed again
		}
		unchanged := len(o.standing) == len(standing) && (len(standing) == 0 || &o.standing[0] == &standing[0])
		switch {
		case !unchanged:
		case again == nil:
			o.standing = nil
			return
		default:
			c.log.Warn("tell the directory what it has lost", "error", again)
			o.mu.Unlock()
			select {
			case <-time.After(time.Second):
			case <-c.ctx.Done():
			}
			o.mu.Lock()
		}
	}
}

// standAgain orders once more what this node has obeyed and the directory has lost:
// another node may have been away when it was ordered. It returns those purges, and
// why some could not be ordered yet. None of them is for another era's directory.
func (c *Cache) standAgain(era Era, obeyed, standing []Purge) (lost []Purge, err error) {
	for _, p := range obeyed {
		stands := slices.ContainsFunc(standing, func(s Purge) bool { return s.ID == p.ID })
		if stands || c.now().Sub(p.At) > PurgesStand-time.Hour { // its time is over
			continue
		}
		lost = append(lost, p)
		c.log.Info("the directory has lost a purge", "key", p.Key)
		if err == nil && c.obeyed.isIn(era) {
			err = c.cfg.Directory.Purge(c.ctx, p)
		}
	}
	return lost, err
}

func (o *obedience) isIn(era Era) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Era == era
}

// gone is what a key selected here.
type gone struct {
	key   policy.Key
	id    ObjectID
	was   Version // of what is forgotten
	l     *leaving
	stays *marked // after a soft purge
}

// obeyNow makes this node serve no more what a purge speaks of.
func (c *Cache) obeyNow(p Purge) (all []gone) {
	c.Mark(p.Key).Advance()
	c.cfg.Purged(p.Key)
	c.cfg.Events.Tell(events.Event{Kind: events.Purged, Key: string(p.Key)})
	if p.Soft {
		return c.expire(p.Key)
	}
	return c.forgetAll(p.Key)
}

// forgetAll begins to forget all variants of key.
func (c *Cache) forgetAll(key policy.Key) (all []gone) {
	for _, key := range c.variantsOf(key) {
		c.spools.forget(key)
		if id, ok := c.selected(key); ok {
			r, _ := c.Record(id)
			all = append(all, gone{key: key, id: id, was: r.Version, l: c.forget(id)})
		}
	}
	return all
}

// obeyWholly waits until what was forgotten is gone, and takes it out of the
// directory where this node published it, or the record of its fill, after the
// purge had done so.
func (c *Cache) obeyWholly(p Purge, all []gone) error {
	for _, g := range all {
		if g.stays != nil {
			if err := c.expired(c.ctx, g); err != nil {
				return err
			}
			continue
		}
		if err := g.l.wait(); err != nil {
			return err
		}
		v, fill, err := c.cfg.Directory.Lookup(c.ctx, g.key)
		before := func(v *Version) bool {
			return v != nil && v.ID == g.id && !putAgain(v, &g.was) && v.Stored.ResponseTime.Sub(p.At) < policy.Doubts(v.Stored.Doubt, p.Doubt, soonAfter)
		}
		if err == nil && (before(v) || fill != nil && before(&fill.Version)) {
			err = c.cfg.Directory.WithdrawVersion(c.ctx, g.key, g.id)
		}
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrUnavailable) {
			return err
		}
	}
	// Last, as a volume may have gone meanwhile.
	change := c.forgetAway
	if p.Soft {
		change = c.expireAway
	}
	_, err := change(p.Key, ofAll(p.Key))
	return err
}
