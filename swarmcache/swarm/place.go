package swarm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/anacrolix/torrent"

	"shatabdi/swarmcache"
)

// place is where a node stands, as its peer id tells it to everybody who meets
// it, whichever way they met: before the first message, and without asking a
// directory. A node without a zone has the engine's own kind of id, and is near
// to all.
type place struct {
	zone, rack tag // the rack's with its zone; zero: none
}

// tag stands for a name: its first bytes of SHA-256.
type tag [3]byte

// member names a node among those of a place.
type member [6]byte

// A peer id that tells a place is
//
//	8 bytes  placeMark
//	3 bytes  zone
//	3 bytes  rack, zero: none
//	6 bytes  which node
const placeMark = "-SH0001-"

func placeOf(zone, rack string) (p place) {
	if zone == "" {
		return place{}
	}
	p.zone = tagOf("zone", zone)
	if rack != "" {
		p.rack = tagOf("rack", zone+"\x00"+rack)
	}
	return p
}

func tagOf(kind, name string) tag {
	sum := sha256.Sum256([]byte(kind + "\x00" + name))
	return tag(sum[:])
}

func memberOf(id swarmcache.NodeID) member {
	sum := sha256.Sum256([]byte("node\x00" + id))
	return member(sum[:])
}

// peerID is "" where the engine is to choose one.
func (p place) peerID(m member) string {
	if p == (place{}) {
		return ""
	}
	return placeMark + string(p.zone[:]) + string(p.rack[:]) + string(m[:])
}

// readPeerID returns what a peer id tells.
func readPeerID(id torrent.PeerID) (p place, m member) {
	const at = len(placeMark)
	if string(id[:at]) != placeMark {
		return place{}, member{}
	}
	return place{tag(id[at:]), tag(id[at+3:])}, member(id[at+6:])
}

// far reports whether another place is in another zone. Who does not tell is
// near.
func (p place) far(other place) bool {
	return p.zone != tag{} && other.zone != tag{} && p.zone != other.zone
}

// close reports whether another place is in the same rack.
func (p place) close(other place) bool {
	return p.rack != tag{} && p.rack == other.rack
}

// dials reports which of two that have heard of each other in the same moment dials:
// each half of the others.
func (m member) dials(other member) bool {
	return (bytes.Compare(m[:], other[:]) < 0) == ((m[0]^other[0])&1 == 0)
}

// weight is how much a member is the one for piece i, among those of its zone:
// rendezvous hashing, so that all who know the same members agree, and who comes
// or goes moves its own share only.
func (m member) weight(i int) uint64 {
	x := uint64(binary.BigEndian.Uint32(m[:]))<<16 | uint64(binary.BigEndian.Uint16(m[4:]))
	return mix(x ^ mix(uint64(i)+1))
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
