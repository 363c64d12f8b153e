package swarmcache

import (
	"hash/maphash"
	"sync/atomic"

	"shatabdi/policy"
)

// Epochs count how often keys were forgotten, so that an answer to a request that
// went out before is not stored after (RFC 9111 §4.4). Keys share places: being
// wrong costs that an answer is not stored.
type Epochs [1 << 12]atomic.Uint32

var epochSeed = maphash.MakeSeed()

// Mark is a moment in the life of a key.
type Mark struct {
	epoch  *atomic.Uint32
	at     uint32
	Obeyed int64 // Directory.Obeyed, as of then at the latest; 0: not looked up
}

// Mark returns the present moment; take it before a request goes out.
func (e *Epochs) Mark(key policy.Key) Mark {
	epoch := &e[maphash.String(epochSeed, string(key))%uint64(len(e))]
	return Mark{epoch: epoch, at: epoch.Load()}
}

// AdvanceAll makes all marks past.
func (e *Epochs) AdvanceAll() {
	for i := range e {
		e[i].Add(1)
	}
}

// Past reports whether the key was forgotten since. Who stores first and then
// asks, and who advances first and then removes, do not miss each other.
func (m Mark) Past() bool { return m.epoch.Load() != m.at }

// Advance makes all marks of the key past; but m, if it was not, goes along: it
// is returned.
func (m Mark) Advance() Mark {
	if m.epoch.Add(1) == m.at+1 {
		m.at++
	}
	return m
}
