package cluster

import "github.com/prometheus/client_golang/prometheus"

// op is one kind of request to etcd.
type op struct {
	name   string // in the metrics
	writes bool   // it may change something
	// awaited: a client's request is held up by it before anything else is tried,
	// so it is bounded by awaitedTimeout.
	awaited bool
	// bulk: it takes as long as there is much to read, which says nothing about etcd.
	bulk bool
}

var (
	opLookup   = op{name: "lookup", awaited: true}
	opPublish  = op{name: "publish", writes: true}
	opWithdraw = op{name: "withdraw", writes: true}
	opPurge    = op{name: "purge", writes: true}
	opFirst    = op{name: "claim_first", writes: true, awaited: true}
	opExpect   = op{name: "expect", writes: true}
	opUse      = op{name: "count_use", writes: true, awaited: true}
	opSlot     = op{name: "claim_slot", writes: true}
	opLine     = op{name: "wait_for_slot", writes: true}
	opOpen     = op{name: "open_fill", writes: true}
	opJoin     = op{name: "join_fill", writes: true}
	opClaim    = op{name: "claim", writes: true}
	opProgress = op{name: "progress", writes: true}
	opLand     = op{name: "land", writes: true}
	opRelease  = op{name: "release", writes: true}
	opUpdate   = op{name: "update", writes: true}
	opLeave    = op{name: "leave", writes: true}
	opNodes    = op{name: "nodes", bulk: true}
	opPeers    = op{name: "peers"}
	opCensus   = op{name: "census"}
	opMode     = op{name: "set_mode", writes: true}
	opLead     = op{name: "lead", writes: true}
	opUnheard  = op{name: "unheard", writes: true}
	opRead     = op{name: "read"} // the state before a watch
	opKeep     = op{name: "keep", writes: true}
	opOrder    = op{name: "order", writes: true}
	opHealth   = op{name: "health", writes: true}
	opHot      = op{name: "hot", writes: true}
	opJob      = op{name: "job", writes: true}
	opCollect  = op{name: "collect", writes: true}
	opAnnounce = op{name: "announce", writes: true}
)

// metrics: every operation is counted once in requests: as ok, error, canceled (who asked
// went away) or refused (etcd was known to be away).
type metrics struct {
	reg         prometheus.Registerer
	all         []prometheus.Collector
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	writes      prometheus.Counter
	watchEvents prometheus.Counter
	leaseLosses prometheus.Counter
	rereads     prometheus.Counter
	orphans     prometheus.Counter
	waits       prometheus.Counter
}

func newMetrics(c *Cluster, reg prometheus.Registerer) *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "shatabdi", Subsystem: "etcd", Name: name, Help: help}
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(opts(name, help)))
	}
	flag := func(name, help string, f func() bool) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(name, help)), func() float64 {
			if f() {
				return 1
			}
			return 0
		})
	}
	m := &metrics{
		reg: reg,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts(
			opts("requests_total", "Operations on the directory, by result: ok, error, or refused because etcd is away.")),
			[]string{"op", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "shatabdi", Subsystem: "etcd", Name: "request_seconds",
			Help: "Time that operations on the directory took.", Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 10),
		}, []string{"op"}),
		writes:      counter("writes_total", "Operations that may have written to etcd."),
		watchEvents: counter("watch_events_total", "Changes that etcd told this node."),
		leaseLosses: counter("lease_losses_total", "Leases that ended before this node wanted it."),
		rereads:     counter("rereads_total", "Times that the thread of changes was lost and the state read afresh."),
		waits:       counter("waits_total", "Times that a request waited for etcd because that was slow, and did not go to the origin."),
		orphans:     counter("orphans_collected_total", "Fills deleted because nobody took part in them."),
	}
	m.all = []prometheus.Collector{
		m.requests, m.seconds, m.writes, m.watchEvents, m.leaseLosses, m.rereads, m.orphans, m.waits,
		flag("healthy", "1 while the directory can be asked.", c.Healthy),
		flag("scheme_mismatch", "1 while this node stays out of a cluster of another format.", c.mismatch),
		flag("foreign_cluster", "1 while this node stays out of an etcd that holds another cluster.", c.foreign),
		flag("leader", "1 while this node leads and runs the tracker.", func() bool { _, _, self := c.Leader(); return self }),
	}
	if reg != nil {
		reg.MustRegister(m.all...)
	}
	return m
}

func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, x := range m.all {
		m.reg.Unregister(x)
	}
}
