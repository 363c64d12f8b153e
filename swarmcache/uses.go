package swarmcache

import (
	"context"

	"shatabdi/policy"
)

// UseCounter is a Directory that counts.
type UseCounter interface {
	// CountUse counts one request for key, which the cluster does not store, and
	// returns how many there were of late on all nodes; 0: nobody counts.
	CountUse(ctx context.Context, key policy.Key) (int, error)
}

// CountUse counts a request for what is not stored because it was not asked for
// often enough, and returns how often the cluster was; 0 when it cannot be asked.
func (c *Cache) CountUse(ctx context.Context, key policy.Key) int {
	d, ok := c.cfg.Directory.(UseCounter)
	if !ok {
		return 0
	}
	n, err := d.CountUse(ctx, key)
	if err != nil {
		c.log.Debug("count a use", "error", err)
	}
	return n
}
