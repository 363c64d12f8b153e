package cluster

import "github.com/prometheus/client_golang/prometheus"

// op is what the metrics call a request, and whether it may change something.
type op struct {
	name   string
	writes bool
}

var (
	opLookup   = op{"lookup", false}
	opPublish  = op{"publish", true}
	opWithdraw = op{"withdraw", true}
	opFirst    = op{"claim_first", true}
	opOpen     = op{"open_fill", true}
	opJoin     = op{"join_fill", true}
	opClaim    = op{"claim", true}
	opProgress = op{"progress", true}
	opLand     = op{"land", true}
	opRelease  = op{"release", true}
	opUpdate   = op{"update", true}
	opLeave    = op{"leave", true}
	opNodes    = op{"nodes", false}
	opMode     = op{"set_mode", true}
	opLead     = op{"lead", true}
	opRead     = op{"read", false} // the state before a watch
	opCollect  = op{"collect", true}
	opAnnounce = op{"announce", true}
)

// metrics: every operation is counted once in requests, as ok, error or refused
// (etcd was known to be away); requests = ok + error + refused.
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
		orphans:     counter("orphans_collected_total", "Fills deleted because nobody took part in them."),
	}
	m.all = []prometheus.Collector{
		m.requests, m.seconds, m.writes, m.watchEvents, m.leaseLosses, m.rereads, m.orphans,
		flag("healthy", "1 while the directory can be asked.", c.Healthy),
		flag("scheme_mismatch", "1 while this node stays out of a cluster of another format.", c.mismatch),
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
