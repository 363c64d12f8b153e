package swarmcache

import (
	"cmp"

	"shatabdi/policy"
)

// Priority says how much of a limited link the object gets while others want it
// too; never empty.
func (f *File) Priority() policy.Priority {
	if p := f.priority.Load(); p != nil {
		return *p
	}
	return policy.PriorityNormal
}

// SetPriority holds for the chunks that come from now on; empty is normal.
func (f *File) SetPriority(p policy.Priority) {
	p = cmp.Or(p, policy.PriorityNormal)
	f.priority.Store(&p)
}
