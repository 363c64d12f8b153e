package swarmcache

// Untold is how many objects are still to be published.
func (c *Cache) Untold() (n int) {
	c.cfg.Index.Each(func(r Record) bool {
		if r.Untold {
			n++
		}
		return true
	})
	return n
}
