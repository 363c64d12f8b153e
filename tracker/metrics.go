package tracker

import (
	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/tracker/wire"
)

// outcome is how a request ended, as a metric's label.
type outcome uint8

const (
	outcomeOK           outcome = iota
	outcomeFull                 // answered, but the swarm is full
	outcomeBad                  // malformed
	outcomeUnknownSwarm         // not one of ours, or one too many
	outcomeUnknownNode          // says to be a node that is not
	outcomeUnauthorized         // without its proof
	outcomeOutsider             // none are allowed from there
	outcomeRedirected
	outcomeNoLeader

	outcomeLater // it is still to be answered, and not counted
)

var outcomeNames = [...]string{
	outcomeOK: "ok", outcomeFull: "full", outcomeBad: "bad", outcomeUnknownSwarm: "unknown_swarm",
	outcomeUnknownNode: "unknown_node", outcomeUnauthorized: "unauthorized", outcomeOutsider: "outsider",
	outcomeRedirected: "redirected", outcomeNoLeader: "no_leader",
}

var eventLabels = [...]string{
	wire.Update: "update", wire.Started: "started", wire.Completed: "completed", wire.Stopped: "stopped",
}

// metrics holds a counter for each pair of labels, found once: looking them up
// costs more than a small announce.
type metrics struct {
	announces [len(eventLabels)][len(outcomeNames)]prometheus.Counter
	scrapes   [len(outcomeNames)]prometheus.Counter
}

func newMetrics(r prometheus.Registerer, s *store) *metrics {
	announces := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "shatabdi", Subsystem: "tracker", Name: "announces_total",
		Help: "Announces by event and outcome; what is malformed counts as an update.",
	}, []string{"event", "outcome"})
	scrapes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "shatabdi", Subsystem: "tracker", Name: "scrapes_total",
		Help: "Scrapes by outcome.",
	}, []string{"outcome"})
	m := &metrics{}
	for o, name := range outcomeNames {
		m.scrapes[o] = scrapes.WithLabelValues(name)
		for e, event := range eventLabels {
			m.announces[e][o] = announces.WithLabelValues(event, name)
		}
	}
	if r != nil {
		r.MustRegister(announces, scrapes, &totals{s})
	}
	return m
}

var (
	swarmsDesc = prometheus.NewDesc("shatabdi_tracker_swarms", "Swarms with at least one peer.", nil, nil)
	peersDesc  = prometheus.NewDesc("shatabdi_tracker_peers",
		"Peers over all swarms; one that is in two swarms counts twice.", []string{"role"}, nil)
)

// totals collects the size of a store.
type totals struct{ store *store }

func (t *totals) Describe(ch chan<- *prometheus.Desc) {
	ch <- swarmsDesc
	ch <- peersDesc
}

func (t *totals) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(swarmsDesc, t.store.swarms.Load())
	gauge(peersDesc, t.store.seeders.Load(), "seeder")
	gauge(peersDesc, t.store.leechers.Load(), "leecher")
}
