package swarm

import (
	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/swarmcache"
)

var (
	descPeerBytes = prometheus.NewDesc("shatabdi_peer_bytes_total",
		"Payload exchanged with peers, by direction. received = useful + wasted.", []string{"direction"}, nil)
	descWasted = prometheus.NewDesc("shatabdi_peer_wasted_bytes_total",
		"Payload received from peers that this node had already.", nil, nil)
	descAcross = prometheus.NewDesc("shatabdi_peer_cross_zone_bytes_total",
		"Payload received from peers in other zones.", nil, nil)
	descPeers = prometheus.NewDesc("shatabdi_peers",
		"Connected peers, summed over torrents.", nil, nil)
	descTorrents = prometheus.NewDesc("shatabdi_torrents",
		"Torrents in memory: being filled, read, or in use by peers.", nil, nil)
	descBanned = prometheus.NewDesc("shatabdi_peers_banned",
		"Peers that are avoided for now because they sent corrupt pieces.", nil, nil)
	descRefused = prometheus.NewDesc("shatabdi_peers_refused_total",
		"Connections of peers that are no nodes and may not have what they asked for.", nil, nil)
	descLimit = prometheus.NewDesc("shatabdi_peer_limit_bytes_per_second",
		"The limit on payload exchanged with peers, by direction; 0: none.", []string{"direction"}, nil)
	descUplink = prometheus.NewDesc("shatabdi_peer_uplink_bytes_per_second",
		"What the uplink was found to carry, while that is less than what is let in; 0: it keeps up.", nil, nil)
)

// metrics adds up what the torrents in memory count and what the dropped ones
// counted.
type metrics struct{ s *Swarm }

func newMetrics(s *Swarm) prometheus.Collector { return metrics{s} }

func (m metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

func (m metrics) Collect(ch chan<- prometheus.Metric) {
	live := m.s.list()
	m.s.mu.Lock()
	sum := m.s.past
	m.s.mu.Unlock()
	for _, t := range live {
		sum.add(t.Stats())
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	counter(descPeerBytes, sum.BytesRead, "received")
	counter(descPeerBytes, sum.BytesWritten, "sent")
	counter(descWasted, sum.BytesRead-sum.BytesUseful)
	counter(descAcross, sum.BytesAcross)
	gauge(descPeers, sum.Peers)
	gauge(descTorrents, len(live))
	gauge(descBanned, m.s.judge.count())
	counter(descRefused, m.s.refused.Load())
	upload, download := m.s.Limits()
	gauge(descLimit, int(download), "received")
	gauge(descLimit, int(upload), "sent")
	gauge(descUplink, int(m.s.Uplink()))
}

// totals are TorrentStats added up.
type totals swarmcache.TorrentStats

func (a *totals) add(b swarmcache.TorrentStats) {
	a.Peers += b.Peers
	a.BytesRead += b.BytesRead
	a.BytesWritten += b.BytesWritten
	a.BytesUseful += b.BytesUseful
	a.BytesAcross += b.BytesAcross
}

// count keeps the totals of a torrent that leaves.
func (s *Swarm) count(st swarmcache.TorrentStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Peers = 0
	s.past.add(st)
}
