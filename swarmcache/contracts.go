// Package swarmcache keeps HTTP objects on this node and shares them with the
// cluster through a BitTorrent swarm.
//
// At most one node is meant to fetch a span from the origin. A lost lease can
// make it two: that costs bandwidth, never correctness. The directory and the
// swarm are accelerators: when they fail, this node fills for itself.
package swarmcache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache/layout"
)

// NodeID names a node for as long as its data directory lives.
type NodeID string

// Node is what a node tells the others about itself. Its record stands under
// the node's lease.
type Node struct {
	ID       NodeID           `json:"id"`
	Name     string           `json:"name,omitempty"`    // as its operator calls it
	Peers    []netip.AddrPort `json:"peers"`             // where its swarm listens, every address family
	Tracker  string           `json:"tracker,omitempty"` // announce URL, should it lead
	Zone     string           `json:"zone,omitempty"`
	Rack     string           `json:"rack,omitempty"`
	Version  string           `json:"version,omitempty"`
	Draining bool             `json:"draining,omitempty"`
	PeerID   string           `json:"peer_id,omitempty"` // how its swarm calls itself, 40 hex digits
}

// MaxVariants is how many variants of a key are kept, besides the one that stands
// under the key itself (see policy.Key.Variant).
const MaxVariants = 16

var (
	// ErrNotFound: the catalogue or the directory has no such thing.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable: the directory cannot be asked now. The caller goes on alone.
	ErrUnavailable = errors.New("directory unavailable")
	// ErrNotLeading: another node leads, or nobody does.
	ErrNotLeading = errors.New("this node does not lead")
	// ErrFillEnded: the fill cannot be completed; see FillRecord.Ended. Bytes
	// that were read stay right, the rest must come from elsewhere.
	ErrFillEnded = errors.New("fill ended")
	// ErrPoisoned: a piece was landed with two different hashes, so the origin
	// has two contents under one validator.
	ErrPoisoned = errors.New("fill poisoned: two contents under one validator")
	// ErrStale: the directory has a newer version than the one offered.
	ErrStale = errors.New("a newer version is published")
	// ErrPurged: the directory has a purge that what is offered may be from before. Either
	// it is forgotten when this node hears of that, or can be offered then.
	ErrPurged = errors.New("purged, of which this node has not heard yet")
	// ErrNoSpace: the object does not fit into the cache now.
	ErrNoSpace = errors.New("no space in the cache")
)

// ClaimedError says that somebody else holds what was to be claimed, or, with no
// Holder, that it is done already.
type ClaimedError struct {
	Holder NodeID
	There  *Selected // what is there instead of a claim on the first GET; nil: look up
}

// Selected is what a key leads to: one of the two, or both.
type Selected struct {
	Version *Version
	Fill    *FillRecord // that runs for it
}

func (e *ClaimedError) Error() string {
	if e.Holder == "" {
		return "nothing to claim: it is there"
	}
	return fmt.Sprintf("claimed by node %s", e.Holder)
}

// Index is the local, durable catalogue of what this node has. All methods may
// be called concurrently. What a method returned nil for survives kill -9.
type Index interface {
	// Put records an object, replacing an older record of the same id.
	Put(Record) error
	// Get returns the record of id, or ErrNotFound.
	Get(id ObjectID) (Record, error)
	// Summary is Get without the Hashes, which are most of the catalogue's bytes.
	Summary(id ObjectID) (Record, error)
	// Current returns the id that key selects on this node, or ErrNotFound.
	Current(key policy.Key) (ObjectID, error)
	// SetCurrent makes id what key selects; an empty id forgets the key.
	SetCurrent(key policy.Key, id ObjectID) error
	// Delete forgets id, and its key if the key still selects it.
	Delete(id ObjectID) error
	// Each calls f for every record until f returns false.
	Each(f func(Record) bool) error
	// Setting and SetSetting keep small values such as the node's id.
	// A setting never written is ErrNotFound.
	Setting(name string) ([]byte, error)
	SetSetting(name string, value []byte) error
	Close() error
}

// Record is what the catalogue keeps of an object.
type Record struct {
	Version  Version `json:"version"`
	Complete bool    `json:"complete"`
	// Pieces has bit i (LSB first) set when piece i is flushed to disk and right;
	// not kept when Complete.
	Pieces []byte `json:"pieces,omitempty"`
	// Hashes are the pieces' SHA-1, 20 bytes each; empty until sealed.
	Hashes []byte `json:"hashes,omitempty"`
	// Volume is where its file is; empty: in the home.
	Volume string `json:"volume,omitempty"`
	// Untold is set while the directory has not been told that this is complete:
	// it was away, or this node stopped before.
	Untold bool `json:"untold,omitempty"`
	// Suspect is set while a piece was found damaged and the others were not looked
	// at since: each is verified before it counts.
	Suspect  bool  `json:"suspect,omitempty"`
	Verified int64 `json:"verified,omitempty"` // Unix seconds: when all of it last had its hashes
	// Distrusts is how often, when this was written, everything on the node had become
	// stale because purges may have been missed. Was it since, this is stale.
	Distrusts uint32          `json:"distrusts,omitempty"`
	Pinned    bool            `json:"pinned,omitempty"`
	Priority  policy.Priority `json:"priority,omitempty"` // that an operator set; empty: the configuration decides
	Hits      int64           `json:"hits,omitempty"`
	LastUsed  int64           `json:"last_used,omitempty"` // Unix seconds
	Added     int64           `json:"added,omitempty"`     // Unix seconds
}

// Directory tells what the cluster holds and what is being filled. It is a
// hint: a replica it promises may be gone, and one it omits may exist.
//
// Every method is bounded in time by the implementation (a second or two) and
// answers ErrUnavailable when the store behind it cannot be reached.
type Directory interface {
	// Secret is the cluster's secret for capability infohashes, 32 bytes. It
	// never changes during a run.
	Secret() []byte
	// Size is about how many nodes the cluster has, as last counted; 0 before.
	Size() int

	// Lookup returns the version that key selects in the cluster and the fill
	// that is running for it; either may be nil. Neither is ErrNotFound.
	Lookup(ctx context.Context, key policy.Key) (*Version, *FillRecord, error)
	// Publish makes v what its key selects, or refreshes its freshness facts
	// when it already is. ErrStale when the directory's response is newer
	// (RFC 9111 §4: the most recent by Date); ErrPurged when its key was purged after
	// v.Obeyed; ErrPoisoned when the same version
	// has other bytes there, by its SHA-256. Of the variants of a key, besides the
	// one under the key itself, the MaxVariants published last stay.
	Publish(ctx context.Context, v Version) error
	// Withdraw makes key select nothing. WithdrawVersion does so where it selects that
	// version, or a fill of it, and leaves another one alone.
	Withdraw(ctx context.Context, key policy.Key) error
	WithdrawVersion(ctx context.Context, key policy.Key, id ObjectID) error
	// Purge does so for all variants of a key, unless it is soft, and lets it be known
	// until PurgesStand are over; it does nothing where that purge stands already. Invalidate is the same where a version, a fill, a claim
	// on the first GET or what Expect told is known; told is false where there is nothing.
	Purge(ctx context.Context, p Purge) error
	Invalidate(ctx context.Context, p Purge) (told bool, err error)
	// Expect has Invalidate know that a response of a key is on its way to this node,
	// until end, which tells whether it did so all the time.
	Expect(ctx context.Context, key policy.Key) (end func() (known bool), err error)
	// Purges calls f, from one goroutine, with all purges that stand: at first,
	// whenever one comes, and once an hour while the directory can be asked. It
	// returns when ctx is done, nil, or when nothing will ever come.
	Purges(ctx context.Context, f func(Standing)) error
	// Obeyed counts up with the purges that Purges has told, and is positive. What is from
	// before one that came after may undo it: see Version.Obeyed.
	Obeyed() int64

	// ClaimFirst claims the right to send the first GET for key, of which nothing
	// may be known: when Lookup would find something, it returns a *ClaimedError
	// with that. When another node has that right, it waits until the claim ends or ctx is
	// done, and then returns a *ClaimedError too: look again. fresh tells that no
	// fill for key has ended of late: while the claim stands, opening one will
	// succeed.
	ClaimFirst(ctx context.Context, key policy.Key) (release func(), fresh bool, err error)
	// ClaimSlot claims one of the n slots for streams that the whole cluster has
	// at an origin (scheme://host:port). While all are taken it waits in line,
	// until one is free or ctx is done; ErrUnavailable when the directory goes away
	// meanwhile. A slot ends with its node's lease. One that is released may stay
	// with the node for some seconds, where it costs nothing to claim it again.
	// release does not block, and may be called twice.
	ClaimSlot(ctx context.Context, origin string, n int) (release func(), err error)

	// OpenFill creates the fill's record and takes part in it, as JoinFill does,
	// with a claim on these spans. With that this node's claim on the first GET
	// ends. If a record under that id stands already, it returns that one and no
	// board. A fill whose key was purged after r.Version.Obeyed is for the origin to
	// confirm.
	OpenFill(ctx context.Context, r FillRecord, spans ...int) (FillRecord, Board, error)
	// JoinFill takes part in a fill: the node is listed as a participant until
	// the board is left.
	JoinFill(ctx context.Context, r FillRecord) (Board, error)
}

// FillRecord is the shared record of a running fill.
type FillRecord struct {
	Version Version `json:"version"`
	MaxSpan int     `json:"max_span"`       // of the layout.Plan, in pieces
	Flat    bool    `json:"flat,omitempty"` // all spans are of full size
	Opener  NodeID  `json:"opener"`
	// Single: one claimer streams all spans in order, because the origin has no
	// ranges or no strong validator.
	Single bool `json:"single,omitempty"`
	// Ended says why nobody may go on: "", EndChanged, EndPoisoned or EndLost.
	Ended string `json:"ended,omitempty"`
}

// Why a fill ended before its object was complete.
const (
	EndChanged  = "changed"  // the origin has another version now
	EndPoisoned = "poisoned" // two contents under one validator
	EndLost     = "lost"     // the only claimer of a fill without ranges is gone
)

// Plan returns the fill's spans.
func (r *FillRecord) Plan() layout.Plan {
	return layout.Plan{Layout: r.Version.Layout(), MaxSpan: r.MaxSpan, Flat: r.Flat}
}

// Board is the shared record of one fill's spans. A span is free (no record),
// claimed (under the claimer's lease) or landed (its hashes are known, without
// a lease). A landed span whose bytes died with their holder may be claimed
// again: it then keeps its hashes.
//
// The first MaxListed participants are listed, others later if there is room.
// Who is not listed is told of those who are as they stand when it comes, and
// not of their coming and going.
type Board interface {
	// Watch calls f, in order and from one goroutine, for what stands on the
	// board and then for every change. It returns when ctx is done, nil, or when
	// the board was deleted, ErrNotFound. It survives interruptions by itself.
	Watch(ctx context.Context, f func(BoardEvent)) error
	// Claim claims spans whose records are still at the given revisions (0: no
	// record), each on its own merits, in one transaction where possible. It does
	// not wait; won[i] tells about spans[i]. hashes of a landed span stay.
	Claim(ctx context.Context, spans []SpanRecord) (won []bool, err error)
	// Progress publishes the hashes of the first pieces of a span that this node
	// claimed and has not finished. The claim stays.
	Progress(ctx context.Context, span int, hashes []byte) error
	// Land publishes all hashes of a span and ends the claim. It succeeds whether
	// or not the claim still stands. ErrPoisoned when other hashes stand there.
	Land(ctx context.Context, span int, hashes []byte) error
	// Release gives claims back.
	Release(ctx context.Context, spans ...int) error
	// Update changes the fill's record (Single, Ended) for everybody.
	Update(ctx context.Context, r FillRecord) error
	// Leave withdraws this node and its claims. The last one to leave a fill
	// that is sealed or ended deletes the board.
	Leave(ctx context.Context) error
}

// MaxListed is how many participants a board lists. Each one that comes or goes
// is told to all of them, and nobody dials more than some dozens.
const MaxListed = 48

// SpanRecord is what stands on a board for one span.
type SpanRecord struct {
	Span   int
	Rev    int64  // revision of the record; 0: none
	Owner  NodeID // who fetches it now; empty: nobody
	Landed bool
	By     NodeID // who landed it
	Hashes []byte // 20 bytes a piece, from the span's first on; may be partial until landed
}

// Member is a participant of a fill. What it landed before it joined it may have
// lost since.
type Member struct {
	Node
	Rev int64 // revision at which it joined, to be compared with a span's
}

// BoardEvent is one change on a board; exactly one field is set.
type BoardEvent struct {
	Span   *SpanRecord // a span's record changed
	Freed  *int        // a span's record is gone: it is free
	Joined *Member     // a participant, not this node itself
	Left   NodeID      // a participant is gone
	Fill   *FillRecord // the fill's record changed
	Caught bool        // everything that stood at the start has been told
	Listed bool        // this node is listed: from now on it is told who comes and goes
}

// Origin fetches bytes of one object, with the headers of the client request
// that wanted it. It outlives that client.
type Origin interface {
	// Get asks for r of the body, with Range and If-Range: validator. The zero
	// Range asks for the whole body without a Range header. The response is as
	// the origin sent it, of any status; the caller closes its body.
	Get(ctx context.Context, r layout.Range, validator string) (*http.Response, error)
	// Latency is how long the origin takes to a response's head; 0: not known.
	Latency() time.Duration
}

// Swarm moves pieces between nodes.
type Swarm interface {
	// Fill joins the fill torrent of f: it exists before the bytes do, its
	// infohash follows from the version and the cluster's secret.
	Fill(f *File) (Torrent, error)
	// Sealed joins the standard torrent over f. Without f's hashes the metadata
	// comes from peers, and f learns them.
	Sealed(f *File) (Torrent, error)
	// Seal returns the infohash of the standard torrent over f, all of whose
	// hashes are known.
	Seal(f *File) InfoHash
	// Offer lets peers find the objects of h without keeping them in memory.
	Offer(h Held)
	// Vouch tells the tracker that this node holds an object, and returns when it knows.
	Vouch(context.Context, InfoHash) error
	// Withdraw tells that this node holds an object no more. It does not wait.
	Withdraw(InfoHash)
	// Limits are the rates at which this node gives to peers and takes from them,
	// in payload bytes a second; 0: no limit.
	Limits() (upload, download int64)
	// Uplink is what the link was found to carry, in bytes a second, where that is less
	// than is let in; 0: it keeps up.
	Uplink() int64
	Close() error
}

// Held is what this node could give to peers.
type Held interface {
	// Held opens the complete object whose sealed torrent has that infohash.
	// The file is referenced until release is called. It may do I/O.
	Held(InfoHash) (f *File, release func(), ok bool)
	// EachHeld calls f for every such infohash until f returns false.
	EachHeld(f func(InfoHash) bool)
}

// Torrent is one swarm that this node takes part in. Its methods may be called
// after Drop and then do nothing.
type Torrent interface {
	InfoHash() InfoHash
	// AddPeers tells where peers are, Meet where a node is that takes part, and in
	// which zone and rack. One that has just come may be about to get in touch itself.
	AddPeers([]netip.AddrPort)
	Meet(n Node, comes bool)
	// Want adds to the pieces to fetch from peers.
	Want(pieces layout.Range)
	// Window tells the engine that a reader stands at off and will soon need the
	// bytes up to ahead of it; close it when the reader is done.
	Window(ahead int64) Window
	// PieceChanged tells the engine to ask the file again about piece i: its
	// hash became known, or its bytes came from elsewhere.
	PieceChanged(i int)
	// Tell sends the hashes of piece from and those behind it to the peers of
	// now and later, past a directory that is away. Ask has peers tell what they
	// know, and whether they have a directory: they are members of the cluster that
	// Answer, and tell who has asked lately what it has not been told. Hear has all
	// this told to h, in no order; its functions must not block.
	Tell(from int, hashes []byte)
	Ask()
	Answer(guided bool, known iter.Seq2[int, []byte])
	Hear(h Hearing)
	// Askers names this node, and the members of the cluster that have asked lately,
	// in a way that is the same on all of them.
	Askers() (self NodeID, others []NodeID)
	// PeersHave tells which pieces a connected peer has, as of now.
	PeersHave() func(piece int) bool
	// Seedless reports whether the tracker knows nobody who has everything.
	Seedless() bool
	// Neighbours tells how many peers are connected, and how many copies they have,
	// all together, of wanted pieces that are not here: as long as that grows, the
	// swarm is slow and not dead.
	Neighbours(wanted []layout.Range) (peers, copies int)
	Stats() TorrentStats
	Drop()
}

// AnswerFor is for how long who was asked goes on telling: who still needs it asks again.
const AnswerFor = 5 * time.Second

// Hearing is told what other members of the cluster say past the directory.
type Hearing struct {
	Hashes func(from int, hashes []byte) // of piece from and those behind it
	Asked  func()                        // somebody asks
	Guided func()                        // somebody has a directory
}

// Window is the place of one reader.
type Window interface {
	MoveTo(off int64)
	Close()
}

// TorrentStats are totals since the torrent was joined.
type TorrentStats struct {
	Peers        int   // connected now
	BytesRead    int64 // payload received from peers
	BytesWritten int64 // payload sent to peers
	BytesUseful  int64 // received and new
	BytesAcross  int64 // received from other zones
}
