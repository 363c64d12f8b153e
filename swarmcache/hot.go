package swarmcache

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"shatabdi/policy"
)

// Hot is an object that clients want much.
type Hot struct {
	Key    policy.Key `json:"key,omitempty"` // in the directory empty: the URL
	URL    string     `json:"url"`
	Length int64      `json:"length"`
	Heat   float64    `json:"heat"`            // uses of late, each counting half as much after an hour
	Nodes  int        `json:"nodes,omitempty"` // that tell so
}

// MaxHot is how many objects a node tells of at most. The URL of each is short:
// what is longer than maxHotURL is likely to be signed, and of no use to others.
const (
	MaxHot    = 128
	maxHotURL = 1024
)

const (
	// halfHeat is the time after which a use counts half as much.
	halfHeat = time.Hour
	// leastHeat is what one use is after some hours: it tells nothing any more.
	leastHeat = 0.1
)

// heat is how much an object was used of late.
type heat struct {
	uses float64
	at   int64 // Unix nanoseconds: as of then
}

func (h heat) now(now int64) float64 {
	return h.uses * math.Exp2(-float64(now-h.at)/float64(halfHeat))
}

// use counts one, unless it is part of the one before.
func (h *heat) use(now int64) {
	if h.uses == 0 || now-h.at > int64(oneUse) {
		h.uses, h.at = h.now(now)+1, now
	}
}

type unasked struct{}

// Unasked is for requests that no client has made, such as those of a warm-up.
// They do not make an object hot: what all warm up because it is hot would stay so
// for ever.
func Unasked(ctx context.Context) context.Context { return context.WithValue(ctx, unasked{}, true) }

// IsUnasked reports whether ctx is of such a request.
func IsUnasked(ctx context.Context) bool { return ctx.Value(unasked{}) != nil }

// Used counts that a client is answered from it.
func (o *Object) Used() {
	c := o.o.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[o.o.file.version.ID]; e != nil {
		e.heat.use(c.now().UnixNano())
	}
}

// Hot returns up to n of the complete objects that clients of this node want most,
// the hottest first. Variants are left out: who asks for the URL may not get them.
func (c *Cache) Hot(n int) (hot []Hot) {
	type warm struct {
		id   ObjectID
		heat float64
	}
	var all []warm
	c.mu.Lock()
	now := c.now().UnixNano()
	for id, e := range c.entries {
		if h := e.heat.now(now); h >= leastHeat && e.verified > 0 && c.current[e.key] == id && e.key == e.key.Base() {
			all = append(all, warm{id, h})
		}
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b warm) int { return cmp.Or(cmp.Compare(b.heat, a.heat), cmp.Compare(a.id, b.id)) })
	for _, w := range all {
		if len(hot) == n {
			break
		}
		r, err := c.Record(w.id)
		if v := r.Version; err == nil && len(v.URL) <= maxHotURL {
			hot = append(hot, Hot{Key: v.Key, URL: v.URL, Length: v.Length, Heat: math.Round(w.heat*10) / 10})
		}
	}
	return hot
}
