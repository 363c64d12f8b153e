package swarmcache

import (
	"slices"

	"shatabdi/policy"
)

// variants are the keys of variants by the key that they are variants of: those
// that select something here.
type variants map[policy.Key][]policy.Key

func (vs variants) add(key policy.Key) {
	if base := key.Base(); base != key && !slices.Contains(vs[base], key) {
		vs[base] = append(vs[base], key)
	}
}

func (vs variants) remove(key policy.Key) {
	base := key.Base()
	if base == key {
		return
	}
	vs[base] = slices.DeleteFunc(vs[base], func(k policy.Key) bool { return k == key })
	if len(vs[base]) == 0 {
		delete(vs, base)
	}
}

// variantsOf returns key, and the keys of its variants that are here or being
// spooled.
func (c *Cache) variantsOf(key policy.Key) []policy.Key {
	all := append([]policy.Key{key}, c.spools.variantsOf(key)...)
	c.mu.Lock()
	defer c.mu.Unlock()
	return append(all, c.variants[key]...)
}

// surplusLocked is the variant beside key that was not used for longest, if there
// are more than may be kept.
func (c *Cache) surplusLocked(key policy.Key) (id ObjectID, ok bool) {
	all := c.variants[key.Base()]
	if len(all) <= MaxVariants {
		return "", false
	}
	for _, k := range all {
		other := c.current[k]
		e := c.entries[other]
		if k != key && e != nil && !e.pinned && (id == "" || e.lastUsed < c.entries[id].lastUsed) {
			id = other
		}
	}
	return id, id != ""
}
