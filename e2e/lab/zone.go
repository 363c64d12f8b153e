package lab

import (
	"fmt"
	"strings"
)

// Zone is machines behind a switch of their own. What goes to machines in other
// zones passes a thinner link than what goes anywhere else:
//
//	zone a --- switch --- zone b
//	             +------- machines without a zone
type Zone struct {
	Name string

	lab    *Lab
	sw     string
	subnet int
}

// Zones have the networks 10.77.X.0 from firstZone on, zoneSize each.
const (
	firstZone = 128
	zoneSize  = 8
)

// Zones adds zones whose machines together send at most that much to other ones.
func (l *Lab) Zones(across Rate, names ...string) (zones []*Zone) {
	l.Helper()
	for i, name := range names {
		z := &Zone{Name: name, lab: l, sw: l.id + "-zone-" + name, subnet: firstZone + i*zoneSize}
		l.addNamespace(z.sw)
		l.ip("-n", z.sw, "link", "add", "br0", "type", "bridge")
		l.ip("-n", z.sw, "link", "set", "br0", "up")
		l.ip("link", "add", "z"+name, "netns", l.sw(), "type", "veth", "peer", "name", "eth0", "netns", z.sw)
		l.ip("-n", l.sw(), "link", "set", "z"+name, "master", "br0", "up")
		l.ip("-n", z.sw, "link", "set", "eth0", "master", "br0", "up")
		z.shape(across)
		zones = append(zones, z)
	}
	return zones
}

// shape gives what goes to the networks of zones a class of its own.
func (z *Zone) shape(across Rate) {
	line := across.Line()
	tc := func(args ...string) {
		z.lab.Helper()
		z.lab.run("tc", append([]string{"-n", z.sw}, args...)...)
	}
	tc("qdisc", "add", "dev", "eth0", "root", "handle", "1:", "htb", "default", "10")
	tc("class", "add", "dev", "eth0", "parent", "1:", "classid", "1:10", "htb", "rate", "10gbit", "quantum", "65536")
	tc("class", "add", "dev", "eth0", "parent", "1:", "classid", "1:20", "htb",
		"rate", fmt.Sprint(line*8), "burst", fmt.Sprint(max(128<<10, line/200)), "quantum", "65536")
	tc("qdisc", "add", "dev", "eth0", "parent", "1:20", "bfifo", "limit", fmt.Sprint(256<<10+line/10))
	tc("filter", "add", "dev", "eth0", "parent", "1:", "protocol", "ip", "prio", "1", "u32",
		"match", "ip", "dst", fmt.Sprintf("10.77.%d.0/17", firstZone), "flowid", "1:20")
}

// Sent is how many bytes of TCP's payload left for other zones.
func (z *Zone) Sent() int64 {
	z.lab.Helper()
	_, rest, _ := strings.Cut(z.lab.run("tc", "-n", z.sw, "-s", "class", "show", "dev", "eth0", "classid", "1:20"), "Sent ")
	var bytes, frames int64
	_, err := fmt.Sscanf(rest, "%d bytes %d pkt", &bytes, &frames)
	z.lab.must(err)
	return bytes - frames*frameHeaders
}

// Machines adds n machines to the zone.
func (z *Zone) Machines(n int, uplink Rate) (ms []*Machine) {
	z.lab.Helper()
	for i := range n {
		ms = append(ms, z.lab.machine(fmt.Sprintf("%s%d", z.Name, i+1), z.sw, z.subnet, uplink))
	}
	return ms
}
