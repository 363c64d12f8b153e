package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"time"
)

// Compact is where peers are, in the form of BEP 23 and of BEP 7.
type Compact struct{ V4, V6 []byte }

var v4Mapped = [12]byte{10: 0xff, 11: 0xff}

// Add adds an address, of IPv4 as IPv6 has it.
func (c *Compact) Add(ip *[16]byte, port uint16) {
	if [12]byte(ip[:]) == v4Mapped {
		c.V4 = append(c.V4, ip[12], ip[13], ip[14], ip[15], byte(port>>8), byte(port))
	} else {
		c.V6 = binary.BigEndian.AppendUint16(append(c.V6, ip[:]...), port)
	}
}

// Reset forgets them.
func (c *Compact) Reset() { c.V4, c.V6 = c.V4[:0], c.V6[:0] }

// AppendCompact appends the response with compact peers instead of r.Peers: "peers"
// of 6 bytes each and, if there are any, "peers6" of 18.
func (r *Response) AppendCompact(dst []byte, peers *Compact) []byte {
	dst = r.appendHead(dst)
	dst = appendString(appendString(dst, "peers"), peers.V4)
	if len(peers.V6) > 0 {
		dst = appendString(appendString(dst, "peers6"), peers.V6)
	}
	return r.appendTail(dst)
}

// AppendDictionary appends the response with a dictionary for each peer, of
// either family, and with their ids if those are wanted (BEP 3).
func (r *Response) AppendDictionary(dst []byte, ids bool) []byte {
	dst = r.appendHead(dst)
	dst = append(appendString(dst, "peers"), 'l')
	var ip [64]byte
	for i := range r.Peers {
		p := &r.Peers[i]
		dst = append(dst, 'd')
		dst = appendString(appendString(dst, "ip"), p.Addr.Addr().AppendTo(ip[:0]))
		if ids {
			dst = appendString(appendString(dst, "peer id"), p.ID[:])
		}
		dst = appendInt(appendString(dst, "port"), int64(p.Addr.Port()))
		dst = append(dst, 'e')
	}
	return r.appendTail(append(dst, 'e'))
}

// appendHead appends the keys that sort before "peers".
func (r *Response) appendHead(dst []byte) []byte {
	dst = append(dst, 'd')
	dst = appendInt(appendString(dst, "complete"), int64(r.Complete))
	dst = appendInt(appendString(dst, "downloaded"), int64(r.Downloaded))
	dst = appendInt(appendString(dst, "incomplete"), int64(r.Incomplete))
	dst = appendInt(appendString(dst, "interval"), int64(r.Interval/time.Second))
	if r.MinInterval > 0 {
		dst = appendInt(appendString(dst, "min interval"), int64(r.MinInterval/time.Second))
	}
	return dst
}

// appendTail appends the keys that sort after "peers6".
func (r *Response) appendTail(dst []byte) []byte {
	if r.TrackerID != "" {
		dst = appendString(appendString(dst, "tracker id"), r.TrackerID)
	}
	if r.Warning != "" {
		dst = appendString(appendString(dst, "warning message"), r.Warning)
	}
	return append(dst, 'e')
}

// Append appends the bencoded refusal.
func (f *Failure) Append(dst []byte) []byte {
	dst = appendString(append(dst, 'd'), "failure reason")
	dst = appendString(dst, f.Reason)
	switch {
	case f.RetryIn < 0:
		dst = appendString(appendString(dst, "retry in"), "never")
	case f.RetryIn > 0:
		minutes := (f.RetryIn-1)/time.Minute + 1
		dst = appendInt(appendString(dst, "retry in"), int64(minutes))
	}
	return append(dst, 'e')
}

// AppendSwarms appends the answer to a scrape. It sorts swarms, and drops
// repetitions, because the keys of a dictionary are sorted and unique.
func AppendSwarms(dst []byte, swarms []Swarm) []byte {
	slices.SortFunc(swarms, func(a, b Swarm) int { return bytes.Compare(a.InfoHash[:], b.InfoHash[:]) })
	dst = append(appendString(append(dst, 'd'), "files"), 'd')
	for i, s := range swarms {
		if i > 0 && s.InfoHash == swarms[i-1].InfoHash {
			continue
		}
		dst = append(appendString(dst, s.InfoHash[:]), 'd')
		dst = appendInt(appendString(dst, "complete"), int64(s.Complete))
		dst = appendInt(appendString(dst, "downloaded"), int64(s.Downloaded))
		dst = appendInt(appendString(dst, "incomplete"), int64(s.Incomplete))
		dst = append(dst, 'e')
	}
	return append(dst, "ee"...)
}

// ParseResponse reads the answer to an announce, of either form. A refusal is a
// *Failure. Peers that are named by a host name are left out.
func ParseResponse(b []byte) (Response, error) {
	var r Response
	var f refusal
	s := scanner{b}
	err := s.dict(func(key string) (err error) {
		switch key {
		case "complete":
			r.Complete, err = s.count()
		case "downloaded":
			r.Downloaded, err = s.count()
		case "incomplete":
			r.Incomplete, err = s.count()
		case "interval":
			r.Interval, err = s.duration(time.Second)
		case "min interval":
			r.MinInterval, err = s.duration(time.Second)
		case "peers":
			if s.peek() == 'l' {
				err = s.list(func() error { return s.peer(&r.Peers) })
			} else {
				err = s.compact(&r.Peers, 4)
			}
		case "peers6":
			err = s.compact(&r.Peers, 16)
		case "tracker id":
			r.TrackerID, err = s.string()
		case "warning message":
			r.Warning, err = s.string()
		default:
			err = f.read(&s, key)
		}
		return err
	})
	if err == nil {
		err = f.err()
	}
	if err != nil {
		return Response{}, err
	}
	return r, nil
}

// ParseSwarms reads the answer to a scrape. A refusal is a *Failure.
func ParseSwarms(b []byte) ([]Swarm, error) {
	var swarms []Swarm
	var f refusal
	s := scanner{b}
	err := s.dict(func(key string) error {
		if key != "files" {
			return f.read(&s, key)
		}
		return s.dict(func(hash string) error {
			var w Swarm
			if copy(w.InfoHash[:], hash) != len(hash) || len(hash) != len(w.InfoHash) {
				return errBencode
			}
			err := s.dict(func(key string) (err error) {
				switch key {
				case "complete":
					w.Complete, err = s.count()
				case "downloaded":
					w.Downloaded, err = s.count()
				case "incomplete":
					w.Incomplete, err = s.count()
				default:
					err = s.skip(maxDepth)
				}
				return err
			})
			swarms = append(swarms, w)
			return err
		})
	})
	if err == nil {
		err = f.err()
	}
	if err != nil {
		return nil, err
	}
	return swarms, nil
}

// refusal gathers the keys of a Failure, which may stand in any response.
type refusal struct {
	Failure
	refused bool
}

// read reads the value of key, which nobody else knows.
func (f *refusal) read(s *scanner, key string) (err error) {
	switch key {
	case "failure reason":
		f.refused = true
		f.Reason, err = s.string()
	case "retry in":
		if s.peek() == 'i' {
			f.RetryIn, err = s.duration(time.Minute)
			break
		}
		var word string
		if word, err = s.string(); word == "never" {
			f.RetryIn = -1
		}
	default:
		err = s.skip(maxDepth)
	}
	return err
}

func (f *refusal) err() error {
	if !f.refused {
		return nil
	}
	return &f.Failure
}

func (s *scanner) string() (string, error) {
	b, err := s.text()
	return string(b), err
}

// count reads a number of things; what cannot be one is cut to what can.
func (s *scanner) count() (int, error) {
	n, err := s.integer()
	return int(min(max(n, 0), math.MaxInt32)), err
}

// duration reads a number of units, at most some 24 days of seconds.
func (s *scanner) duration(unit time.Duration) (time.Duration, error) {
	n, err := s.count()
	return time.Duration(min(n, 1<<21)) * unit, err
}

// compact reads peers of ip bytes of address and 2 of port.
func (s *scanner) compact(peers *[]Peer, ip int) error {
	b, err := s.text()
	if err != nil || len(b)%(ip+2) != 0 {
		return errBencode
	}
	*peers = slices.Grow(*peers, len(b)/(ip+2))
	for ; len(b) > 0; b = b[ip+2:] {
		addr, _ := netip.AddrFromSlice(b[:ip])
		*peers = append(*peers, Peer{Addr: netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(b[ip:]))})
	}
	return nil
}

// peer reads a peer's dictionary.
func (s *scanner) peer(peers *[]Peer) error {
	var p Peer
	var ip string
	var port int64
	err := s.dict(func(key string) (err error) {
		switch key {
		case "ip":
			ip, err = s.string()
		case "port":
			port, err = s.integer()
		case "peer id":
			var id []byte
			if id, err = s.text(); len(id) == len(p.ID) {
				p.ID = PeerID(id)
			}
		default:
			err = s.skip(maxDepth)
		}
		return err
	})
	if err != nil {
		return err
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil || port < 0 || port > math.MaxUint16 {
		return nil // a host name (BEP 3 allows it), or nonsense: there are other peers
	}
	p.Addr = netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(port))
	*peers = append(*peers, p)
	return nil
}
