package swarmcache

import "shatabdi/policy"

// Priority is what the swarm sees of an open object.
func (o *Object) Priority() policy.Priority { return o.o.file.Priority() }
