// Package wire is the language of an HTTP tracker: the announce and scrape
// queries and the bencoded responses of BEP 3, 7 (peers6), 23 (compact), 31
// (retry in) and 48 (scrape), and a client that speaks it.
//
// Parsing works in memory bounded by its input and never panics; what is parsed
// prints back the same. Who is in which swarm is the business of the tracker.
package wire

import (
	"fmt"
	"math"
	"net/netip"
	"time"
)

// InfoHash names a swarm (BEP 3), in its 20 raw bytes.
type InfoHash [20]byte

// PeerID is what a peer calls itself (BEP 3), in its 20 raw bytes.
type PeerID [20]byte

// Event says why a peer announces.
type Event uint8

// The events of BEP 3. Any other word, such as "paused" (BEP 21), is an Update.
const (
	Update Event = iota // the regular announce
	Started
	Completed
	Stopped
)

var eventNames = [...]string{Update: "", Started: "started", Completed: "completed", Stopped: "stopped"}

// String returns the event as it stands in a query: "" for an Update.
func (e Event) String() string {
	if int(e) < len(eventNames) {
		return eventNames[e]
	}
	return fmt.Sprintf("Event(%d)", uint8(e))
}

// LeftUnknown is the Left of a peer that does not know how much it misses, for
// instance because it has no metadata yet.
const LeftUnknown = math.MaxInt64

// Request is one announce. Its zero value, with InfoHash and PeerID set, is the
// regular announce of a seeder that takes the tracker's default of peers.
type Request struct {
	InfoHash   InfoHash
	PeerID     PeerID
	Port       uint16 // where the peer listens; 0: not said
	Uploaded   int64  // bytes since Started
	Downloaded int64  // bytes since Started
	Left       int64  // bytes that are missing; 0: a seeder; see LeftUnknown
	Event      Event
	NumWant    int  // peers wanted; 0: the tracker's default; negative: none
	Dictionary bool // compact=0: peers as dictionaries, with their ids (BEP 3)
	NoPeerID   bool // with Dictionary: leave the ids out
	Node       string
	Key        string // proof of being Node; of others just a number
	TrackerID  string
}

// Peer is one address of a peer. ID is zero where the form does not carry it.
type Peer struct {
	ID   PeerID
	Addr netip.AddrPort
}

// Response answers an announce. Durations travel in whole seconds.
type Response struct {
	Interval    time.Duration // announce again after this
	MinInterval time.Duration // and not before this; 0: not said
	Complete    int           // seeders
	Incomplete  int           // leechers
	Downloaded  int           // Completed events seen
	Peers       []Peer        // a peer with several addresses stands here several times
	TrackerID   string
	Warning     string
}

// Swarm is the line of one swarm in the answer to a scrape (BEP 48).
type Swarm struct {
	InfoHash   InfoHash
	Complete   int // seeders
	Incomplete int // leechers
	Downloaded int // Completed events seen
}

// Failure is the tracker's refusal. Announce and Scrape return it as a *Failure.
type Failure struct {
	Reason string
	// RetryIn is in whole minutes on the wire, rounded up (BEP 31); 0: not said.
	// Negative: never.
	RetryIn time.Duration
}

func (f *Failure) Error() string { return "tracker: " + f.Reason }
