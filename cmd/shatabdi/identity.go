package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
	"shatabdi/swarmcache/index"
)

// nodeID is this node's name for as long as its data directory lives.
func nodeID(x *index.Index) (swarmcache.NodeID, error) {
	const setting = "node_id"
	b, err := x.Setting(setting)
	if errors.Is(err, swarmcache.ErrNotFound) {
		var id [8]byte
		rand.Read(id[:])
		b = []byte(hex.EncodeToString(id[:]))
		err = x.SetSetting(setting, b)
	}
	if err != nil {
		return "", fmt.Errorf("node id: %w", err)
	}
	return swarmcache.NodeID(b), nil
}

// What is known of the cluster is kept here too, so that a node that starts without
// its directory can still meet its peers, and does not take another directory for
// its own.
const clusterSetting = "cluster"

func knownCluster(x *index.Index) (k cluster.Known) {
	b, err := x.Setting(clusterSetting)
	if err != nil || json.Unmarshal(b, &k) != nil {
		return cluster.Known{}
	}
	return k
}

func keepCluster(x *index.Index, k cluster.Known) error {
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return x.SetSetting(clusterSetting, b)
}

// advertised is where other nodes reach this one: what the operator says, the
// address it listens on, or every global address of its interfaces.
func advertised(given []netip.Addr, listen netip.Addr) []netip.Addr {
	if len(given) > 0 {
		return given
	}
	if listen.IsValid() && !listen.IsUnspecified() {
		return []netip.Addr{listen}
	}
	var l []netip.Addr
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		// 0.0.0.0 takes IPv4 only, :: both.
		if ip, ok := netip.AddrFromSlice(n.IP); ok && (ip.Unmap().Is4() || !listen.Is4()) {
			l = append(l, ip.Unmap())
		}
	}
	if len(l) == 0 {
		l = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	}
	return l
}

// parseListen reads "addr:port", where an empty addr means every one.
func parseListen(s string) (netip.AddrPort, error) {
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ap := a.AddrPort()
	if !ap.Addr().IsValid() {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(a.Port)), nil
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// viaName is this node's name in Via: its own name, and enough of its id to
// tell apart two nodes of one name.
func viaName(name string, id swarmcache.NodeID) string {
	clean := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '-'
	}, name)
	return clean + "-" + string(id[:min(6, len(id))])
}
