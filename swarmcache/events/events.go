// Package events tells what happens on a node to those who want to watch.
//
// It keeps the last events and no more: who tells never waits for who listens, and
// who listens too slowly loses some and learns how many.
package events

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kinds of events.
const (
	Fill      = "fill"      // bytes of an object begin to come; Role says from where
	Progress  = "progress"  // of an object or a download; never kept
	Completed = "completed" // an object is complete on this node
	Ended     = "ended"     // a fill ended before that
	Evicted   = "evicted"   // an object went for another's sake, or because nobody used it
	Purged    = "purged"    // what a key selected was forgotten on an order
	Damaged   = "damaged"   // a piece on the disk is not what was stored
	Leader    = "leader"    // another node leads, or none
	Readiness = "readiness" // the node became ready, degraded or neither
	Download  = "download"  // a download changed its state
	Reloaded  = "reloaded"  // the configuration was read again
	Lost      = "lost"      // events that the listener missed
)

// Kinds are all of them.
var Kinds = []string{Fill, Progress, Completed, Ended, Evicted, Purged, Damaged, Leader, Readiness, Download, Reloaded, Lost}

// Roles of a Fill.
const (
	RoleOpened = "opened" // this node opened the fill
	RoleJoined = "joined" // another node did
	RoleAlone  = "alone"  // for this node only: the directory is away
	RolePeers  = "peers"  // others have it; the origin is not asked
)

// Event is one thing that happened. Which fields are set follows from its kind.
type Event struct {
	ID   string    `json:"id,omitempty" doc:"Where to go on: as Last-Event-ID it asks for what came after. Absent: progress, which is not kept."`
	Time time.Time `json:"time"`
	Kind string    `json:"kind" enum:"fill,progress,completed,ended,evicted,purged,damaged,leader,readiness,download,reloaded,lost"`

	Object   string   `json:"object,omitempty" doc:"Its id."`
	Key      string   `json:"key,omitempty" doc:"What selects it."`
	Download string   `json:"download,omitempty" doc:"Its id."`
	Role     string   `json:"role,omitempty" enum:"opened,joined,alone,peers" doc:"Of a fill: this node opened it, another did, it is for this node alone, or peers have all of it."`
	Length   int64    `json:"length,omitempty" minimum:"0" doc:"Of the object."`
	Bytes    int64    `json:"bytes,omitempty" minimum:"0" doc:"As many are here."`
	Peers    int64    `json:"peers_bytes,omitempty" minimum:"0" doc:"Of them from peers."`
	Origin   int64    `json:"origin_bytes,omitempty" minimum:"0" doc:"And from the origin."`
	Rate     int64    `json:"rate_bytes_per_second,omitempty" minimum:"0"`
	ETA      *float64 `json:"eta_seconds,omitempty" doc:"Absent: nobody can tell."`
	Took     float64  `json:"took_seconds,omitempty" minimum:"0"`
	Node     string   `json:"node,omitempty" doc:"Who leads; absent: nobody is known to."`
	Self     bool     `json:"self,omitempty" doc:"It is this node."`
	State    string   `json:"state,omitempty" doc:"Of the node's readiness, or of a download."`
	Reason   string   `json:"reason,omitempty"`
	Count    uint64   `json:"count,omitempty" minimum:"0" doc:"How many events were lost, absent when the daemon was restarted and nobody knows; or how many settings a reload changed."`
}

// Hub keeps the last events. A nil Hub keeps none.
type Hub struct {
	run string // tells one run of the daemon from another
	now func() time.Time

	mu     sync.Mutex // guards the fields below
	ring   []Event
	told   uint64        // how many events there were: the number of the last one
	news   chan struct{} // closed, and replaced, with each event
	closed bool
}

// New returns a hub that keeps size events.
func New(size int) *Hub {
	return &Hub{
		run: strconv.FormatInt(time.Now().UnixNano(), 36), now: time.Now,
		ring: make([]Event, size), news: make(chan struct{}),
	}
}

// Tell keeps an event, with its time and id. It does not block.
func (h *Hub) Tell(e Event) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.told++
	e.Time, e.ID = h.now().UTC(), h.run+"-"+strconv.FormatUint(h.told, 10)
	h.ring[h.told%uint64(len(h.ring))] = e
	close(h.news)
	h.news = make(chan struct{})
}

// Close lets those who listen go.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.news)
	}
}

// Listener reads events, one after the other. One goroutine uses it.
type Listener struct {
	h  *Hub
	at uint64 // number of the last event that was read
}

// Listen listens from now on or, with all, from the oldest event that is kept.
func (h *Hub) Listen(all bool) *Listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &Listener{h: h, at: h.told}
	if all {
		l.at = h.oldestLocked() - 1
	}
	return l
}

// oldestLocked is the number of the oldest event that is kept.
func (h *Hub) oldestLocked() uint64 {
	return max(h.told, uint64(len(h.ring))) - uint64(len(h.ring)) + 1
}

// ListenAfter listens from behind the event with that id. One of another run of the
// daemon, or none, is followed by all that is kept; known then is false.
func (h *Hub) ListenAfter(id string) (l *Listener, known bool) {
	run, number, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	l = h.Listen(true)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || run != h.run || n > h.told {
		return l, false
	}
	l.at = n
	return l, true
}

// Next returns the events that came since, and how many before them are lost. news
// is closed when there are more; open tells that there may be.
func (l *Listener) Next() (events []Event, lost uint64, news <-chan struct{}, open bool) {
	h := l.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if oldest := h.oldestLocked(); l.at+1 < oldest {
		lost = oldest - 1 - l.at
		l.at = oldest - 1
	}
	for ; l.at < h.told; l.at++ {
		events = append(events, h.ring[(l.at+1)%uint64(len(h.ring))])
	}
	return events, lost, h.news, !h.closed
}
