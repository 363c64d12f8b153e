package swarmcache

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrBusy: as many objects are coming in on this node as may. Try again later.
var ErrBusy = errors.New("too many transfers")

// begins reports whether one more transfer may begin on this node: each has
// buffers, streams and a torrent, and a node that takes on too many does not end
// one of them. Those that come in the same moment may be a few too many.
func (c *Cache) begins() error {
	most := c.cfg.MaxTransfers
	if most <= 0 || int(c.transfers.Load()) < most || c.coming() < most {
		return nil
	}
	c.metrics.busy.Inc()
	return fmt.Errorf("%w: %d", ErrBusy, most)
}

// coming is how many objects are coming in. A transfer that has all goes on for a
// while, for the others' sake, and costs little.
func (c *Cache) coming() (n int) {
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.objects))
	c.mu.Unlock()
	for _, o := range all {
		if o.file.Left() > 0 && o.busy() {
			n++
		}
	}
	return n
}
