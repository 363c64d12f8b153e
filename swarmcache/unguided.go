package swarmcache

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"
	"time"
)

// The directory may be away for one node and not for others: it answers some too late. So
// who has none asks its peers what they know. Those who have one tell the hashes, know
// what to do, and are let. Where nobody has one all take turns.
//
// Who could not ask it when it began has a fill of its own. But its torrent is that of all
// others, since its infohash follows from what is filled: they meet at the tracker.

const (
	// askEvery is how often peers are asked.
	askEvery = 500 * time.Millisecond
	// directoryFor is for how long a word of the directory counts, and guidedFor the
	// word of a peer that it has one.
	directoryFor = 10 * time.Second
	guidedFor    = 3 * time.Second
	// answerEvery is how often who was asked tells what is news.
	answerEvery = 300 * time.Millisecond
)

// absentBoard is the board of a node that has no directory. It grants nothing: whose
// turn it is decides.
type absentBoard struct{ aloneBoard }

// Claim implements Board.
func (absentBoard) Claim(context.Context, []SpanRecord) ([]bool, error) { return nil, ErrUnavailable }

// talk is what a transfer asks and answers past the directory.
type talk struct {
	unguided bool      // this node is alone for want of a directory
	heardOf  time.Time // when the directory last answered, or told something
	lastAsk  time.Time // when peers were last asked,
	answered time.Time // and answered
	useful   int64     // bytes that peers had brought when last looked at,
	helped   time.Time // and when they last brought some, or somebody was met who may

	guided, asked moment // when a peer said that it has one, and when one asked
}

// moment is when something was last heard of, by the swarm's goroutines.
type moment struct{ atomic.Int64 }

func (m *moment) is(now time.Time) { m.Store(now.UnixNano()) }
func (m *moment) within(d time.Duration, now time.Time) bool {
	return now.UnixNano()-m.Load() < int64(d)
}

// hearing is what the swarm tells, under its lock.
func (t *transfer) hearing() Hearing {
	return Hearing{
		Hashes: func(from int, hashes []byte) {
			t.gossip.push(landing{span: from, hashes: hashes}) // of which span it is, run knows
		},
		Asked:  func() { t.talk.asked.is(t.c.now()) },
		Guided: func() { t.talk.guided.is(t.c.now()) },
	}
}

// deaf is who is told in vain.
var deaf = Hearing{Hashes: func(int, []byte) {}, Asked: func() {}, Guided: func() {}}

// goUnguided goes on without a directory, and looks for it.
func (t *transfer) goUnguided(ctx context.Context) {
	t.unguided = true
	t.useBoard(ctx, absentBoard{}, false)
	t.seek(ctx)
}

// converse asks, and answers. run calls it at each tick.
func (t *transfer) converse(now time.Time) {
	if t.fill == nil {
		return
	}
	if (t.board == nil || t.away(now)) && now.Sub(latest(t.lastAsk, t.started)) >= askEvery {
		t.lastAsk = now
		t.fill.Ask()
		t.lookForHelp(now)
	}
	if t.talk.asked.within(AnswerFor, now) && now.Sub(t.answered) >= answerEvery {
		t.answered = now
		guided := !t.alone && t.caught && !t.away(now) && now.Sub(t.heardOf) < directoryFor
		t.fill.Answer(guided, t.knownHashes())
	}
}

// lookForHelp notes who is there, and whether they are of use: others may want other
// parts of the object.
func (t *transfer) lookForHelp(now time.Time) {
	if t.unguided {
		t.rank = nil // who is there has changed too
	}
	useful := t.fill.Stats().BytesUseful
	if useful > t.useful || t.helped.IsZero() && (len(t.participants()) > 1 || t.guided.within(guidedFor, now)) {
		t.helped = now
	}
	t.useful = useful
}

// isHelped reports whether peers bring something, or may be about to.
func (t *transfer) isHelped(now time.Time) bool {
	return now.Sub(t.helped) <= max(patiencePeers, t.roundTime())
}

// othersAreGuided reports whether this node, which never had a directory, leaves the
// origin to peers that have one, for they bring something. Where it went away in the
// middle all know whose turn it is.
func (t *transfer) othersAreGuided(now time.Time) bool {
	return t.unguided && t.guided.within(guidedFor, now) && t.isHelped(now)
}

// helpsItself reports whether this node is alone in all but name: it has no directory, and
// those whom it has met bring nothing; or no part of the body can be had by itself.
func (t *transfer) helpsItself(now time.Time) bool {
	return t.unguided && (t.rec.Single || !t.isHelped(now))
}

// knownHashes are those of the spans that were told, by their first piece.
func (t *transfer) knownHashes() iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for i := range t.spans {
			if h := t.spans[i].Hashes; len(h) > 0 && !yield(int(t.plan.Span(i).From), h) {
				return
			}
		}
	}
}

// unguidedRank is who takes turns where nobody knows who takes part: those who ask too.
func (t *transfer) unguidedRank() (rank []NodeID, self int) {
	if t.fill == nil {
		return []NodeID{t.c.cfg.Node.ID}, 0
	}
	me, rank := t.fill.Askers()
	rank = append(rank, me)
	slices.Sort(rank)
	return rank, slices.Index(rank, me)
}
