package cluster

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// keys names what stands in etcd:
//
//	cluster                    the record of the cluster, for ever
//	settings/mode              the fleet-wide switch, for ever
//	nodes/<node>               swarmcache.Node, under the node's lease
//	peers/<name>/<node>        a node's address or peer id, under the node's lease
//	tracker/leader             who runs the tracker, under its lease
//	tracker/unheard/<node>     a node that cannot reach it, under its own lease
//	objects/<key>              the current version, until withdrawn
//	purges/<id>                swarmcache.Purge, for a week
//	purged/<key>               who just purged it, not softly, or nobody, for as long
//	kept/<key>                 swarmcache.Kept, until withdrawn
//	spare/<infohash>           the node whose copy may be let go, under a lease of its own
//	orders/<node>/<key>        swarmcache.Order, until it is done
//	health                     swarmcache.Health, under the leader's lease
//	hot/<node>                 []swarmcache.Hot, what is hot there, under the node's lease
//	jobs/<id>                  swarmcache.Job without its URLs, under a lease of its own
//	joblists/<id>              those, under the job's lease
//	jobparts/<id>/<node>       swarmcache.JobPart, under the job's lease
//	first/<key>                the claim on the first GET, under its holder's lease
//	coming/<key>/<any>         a body of unknown length on its way, under its node's lease
//	uses/<key>                 how often it was asked for and not stored, for 20 minutes
//	filling/<key>              which fill runs for a key, and how often it restarted
//	fills/<id>/nodes/<node>    a participant that is listed, under its lease
//	fills/<id>/record          swarmcache.FillRecord, while anybody takes part
//	fills/<id>/retaken/<i>     a landed span's new claim, under its lease
//	fills/<id>/spans/<i>       claimed (under the claimer's lease) or landed (without)
//	origins/<o>/slots/<i>      who has a slot for a stream from an origin, under its lease
//	origins/<o>/line/<node>    a node that waits for one, under its lease
//
// <key> is the SHA-256 of a cache key, and behind it, after a slash, what tells a
// variant; <o> that of an origin's name. A landed span that is claimed again has a
// second entry because a key under a lease goes with the lease, and its hashes
// must not. The participants come first in a board, so that the rest of it can
// be watched without them.
type keys struct{ prefix string }

func sum(k policy.Key) string {
	base := k.Base()
	h := sha256.Sum256([]byte(base))
	name := hex.EncodeToString(h[:])
	if k != base {
		name += "/" + string(k[len(base)+1:])
	}
	return name
}

func (k keys) cluster() string                          { return k.prefix + "cluster" }
func (k keys) mode() string                             { return k.prefix + "settings/mode" }
func (k keys) nodes() string                            { return k.prefix + "nodes/" }
func (k keys) node(id swarmcache.NodeID) string         { return k.nodes() + string(id) }
func (k keys) peers(name string) string                 { return k.prefix + "peers/" + name + "/" }
func (k keys) leader() string                           { return k.prefix + "tracker/leader" }
func (k keys) unheard() string                          { return k.prefix + "tracker/unheard/" }
func (k keys) allObjects() string                       { return k.prefix + "objects/" }
func (k keys) object(key policy.Key) string             { return k.allObjects() + sum(key) }
func (k keys) purges() string                           { return k.prefix + "purges/" }
func (k keys) purge(id string) string                   { return k.purges() + id }
func (k keys) purged(key policy.Key) string             { return k.prefix + "purged/" + sum(key.Base()) }
func (k keys) allKept() string                          { return k.prefix + "kept/" }
func (k keys) kept(key policy.Key) string               { return k.allKept() + sum(key) }
func (k keys) spare(ih swarmcache.InfoHash) string      { return k.prefix + "spare/" + ih.String() }
func (k keys) orders() string                           { return k.prefix + "orders/" }
func (k keys) ordersOf(n swarmcache.NodeID) string      { return k.orders() + string(n) + "/" }
func (k keys) health() string                           { return k.prefix + "health" }
func (k keys) hot() string                              { return k.prefix + "hot/" }
func (k keys) first(key policy.Key) string              { return k.prefix + "first/" + sum(key) }
func (k keys) coming(key policy.Key) string             { return k.prefix + "coming/" + sum(key) }
func (k keys) use(key policy.Key) string                { return k.prefix + "uses/" + sum(key) }
func (k keys) allFilling() string                       { return k.prefix + "filling/" }
func (k keys) filling(key policy.Key) string            { return k.allFilling() + sum(key) }
func (k keys) fills() string                            { return k.prefix + "fills/" }
func (k keys) fill(id swarmcache.ObjectID) string       { return k.fills() + string(id) + "/" }
func (k keys) fillRecord(id swarmcache.ObjectID) string { return k.fill(id) + partRecord }
func (k keys) members(id swarmcache.ObjectID) string    { return k.fill(id) + partNodes }

func (k keys) origin(name string) string {
	h := sha256.Sum256([]byte(name))
	return k.prefix + "origins/" + hex.EncodeToString(h[:]) + "/"
}

// The parts of a board, under its prefix, and of an origin.
const (
	partNodes  = "nodes/"
	partRecord = "record" // whatever comes before it is told to those who are listed only
	partAgain  = "retaken/"
	partSpans  = "spans/"

	partSlots = "slots/"
	partLine  = "line/"
)

func (k keys) member(id swarmcache.ObjectID, n swarmcache.NodeID) string {
	return k.members(id) + string(n)
}

func (k keys) span(id swarmcache.ObjectID, i int) string {
	return k.fill(id) + partSpans + strconv.Itoa(i)
}

func (k keys) again(id swarmcache.ObjectID, i int) string {
	return k.fill(id) + partAgain + strconv.Itoa(i)
}

// encodeSpan writes a span's entry: a byte that says whether it landed, the
// owner (of a landed span: who landed it) with its length before it, and the
// hashes as they are. A span of 16
// pieces takes 322 bytes; as JSON with base64 it takes 484.
func encodeSpan(r swarmcache.SpanRecord) string {
	b := make([]byte, 0, 2+len(r.Owner)+len(r.Hashes))
	if r.Landed {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	who := cmp.Or(r.By, r.Owner)
	b = binary.AppendUvarint(b, uint64(len(who)))
	b = append(b, who...)
	return string(append(b, r.Hashes...))
}

func decodeSpan(i int, rev int64, b []byte) (swarmcache.SpanRecord, error) {
	if len(b) == 0 || b[0] > 1 {
		return swarmcache.SpanRecord{}, fmt.Errorf("span %d: unknown form", i)
	}
	n, w := binary.Uvarint(b[1:])
	if w <= 0 || n > uint64(len(b)-1-w) {
		return swarmcache.SpanRecord{}, fmt.Errorf("span %d: owner of %d bytes in %d", i, n, len(b))
	}
	rest := b[1+w:]
	r := swarmcache.SpanRecord{Span: i, Rev: rev, Landed: b[0] == 1, Owner: swarmcache.NodeID(rest[:n])}
	if r.Landed {
		r.By, r.Owner = r.Owner, ""
	}
	if len(rest) > int(n) {
		r.Hashes = rest[n:]
	}
	return r, nil
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("cluster: encode %T: %v", v, err)) // our own plain types
	}
	return string(b)
}

func decode(what string, b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}
