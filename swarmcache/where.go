package swarmcache

import (
	"context"
	"errors"

	"shatabdi/policy"
)

// Where tells where the bytes of what a key selects are, as far as this node can
// know.
type Where struct {
	Local   *Record     // what this node has of it; nil: nothing
	Arrived Arrived     // how much that is
	Coming  bool        // and more is coming in
	Version *Version    // what the directory knows; nil: nothing
	Fill    *FillRecord // that is running for it somewhere; nil: none
	Away    error       // why the directory could not be asked; nil: it was
}

// Where looks for what key selects, and neither fetches anything nor counts as a
// use.
func (c *Cache) Where(ctx context.Context, key policy.Key) (w Where) {
	if r, err := c.Selected(key); err == nil {
		w.Local, w.Arrived = &r, c.Arrived(r)
		c.mu.Lock()
		o := c.objects[r.Version.ID]
		c.mu.Unlock()
		w.Coming = o != nil && o.busy()
	}
	v, fill, err := c.known(ctx, key)
	switch {
	case err == nil:
		w.Version = v
		if fill != nil && fill.Ended == "" {
			w.Fill = fill
		}
	case !errors.Is(err, ErrNotFound):
		w.Away = err
	}
	return w
}

// Selects is the version that a request for the key would meet; nil: none. See
// Cache.Lookup.
func (w *Where) Selects() *Version {
	switch {
	case w.Local != nil && (w.Local.Complete || w.Coming):
		return &w.Local.Version
	case w.Fill != nil && (w.Version == nil || w.Version.ID != w.Fill.Version.ID):
		return &w.Fill.Version
	case w.Version != nil:
		return w.Version
	case w.Local != nil:
		return &w.Local.Version
	}
	return nil
}
