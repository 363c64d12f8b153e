package origin

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// guard decides which addresses may be connected to. It looks at the address
// the kernel is about to connect to: a name can resolve to anything, and to
// something else the next time.
type guard struct {
	allow []netip.Prefix
	own   func() []netip.AddrPort
}

// metadata services hand a machine's credentials to whoever asks from it. Most
// are link-local and refused as such; these are not.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd20:ce::254"),    // Google
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("192.0.0.192"),     // Oracle
	netip.MustParseAddr("168.63.129.16"),   // Azure
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8") // RFC 1122 §3.2.1.3; Linux takes 0.0.0.0 for loopback
	broadcast   = netip.MustParseAddr("255.255.255.255")
	nat64       = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: an IPv4 address in the last four bytes
)

func (g *guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &Error{Kind: KindDenied, Err: err}
	}
	if why := g.refuses(ap); why != "" {
		return &Error{Kind: KindDenied, Err: fmt.Errorf("%s is %s", ap, why)}
	}
	return nil
}

// refuses says why ap must not be connected to, or "".
func (g *guard) refuses(ap netip.AddrPort) string {
	ip := plain(ap.Addr())
	if g.isOwn(netip.AddrPortFrom(ip, ap.Port())) {
		return "one of this daemon's own listeners"
	}
	for _, p := range g.allow {
		if p.Contains(ip) {
			return ""
		}
	}
	switch {
	case ip.IsLoopback():
		return "a loopback address"
	case ip.IsLinkLocalUnicast():
		return "a link-local address"
	case ip.IsUnspecified(), thisNetwork.Contains(ip):
		return "an unspecified address"
	case ip.IsMulticast(), ip == broadcast:
		return "a multicast or broadcast address"
	}
	for _, m := range metadata {
		if ip == m {
			return "a cloud metadata address"
		}
	}
	return ""
}

// isOwn reports whether one of our listeners answers at ap. A wildcard listener
// answers at every address of this machine.
func (g *guard) isOwn(ap netip.AddrPort) bool {
	if g.own == nil {
		return false
	}
	for _, l := range g.own() {
		if l.Port() != ap.Port() {
			continue
		}
		at := plain(l.Addr())
		if at == ap.Addr() {
			return true
		}
		// 0.0.0.0 as a destination means this machine as well.
		if (at.IsUnspecified() || ap.Addr().IsUnspecified()) && isLocal(ap.Addr()) {
			return true
		}
	}
	return false
}

func isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // when in doubt it is ours
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if l, ok := netip.AddrFromSlice(n.IP); ok && l.Unmap() == ip {
				return true
			}
		}
	}
	return false
}

// plain takes an IPv4 address out of its IPv6 disguises and drops the zone.
func plain(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip
}
