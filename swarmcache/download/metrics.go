package download

import "github.com/prometheus/client_golang/prometheus"

// collector tells of the downloads and warm-ups that are remembered, by state and
// never one by one.
type collector struct{ m *Downloads }

var (
	describedDownloads = prometheus.NewDesc("shatabdi_downloads", "Downloads ordered over the API that are remembered, by state.", []string{"state"}, nil)
	describedWarmups   = prometheus.NewDesc("shatabdi_warmups", "Warm-ups of this node that are remembered, its parts of those of several nodes included, by state.", []string{"state"}, nil)
	describedObjects   = prometheus.NewDesc("shatabdi_warmup_objects", "Objects of the warm-ups that are remembered, by state; not_kept: left out after a restart, since their URLs may have held credentials.", []string{"state"}, nil)
	describedBytes     = prometheus.NewDesc("shatabdi_warmup_bytes", "Bytes of those objects that have come.", nil, nil)
	describedTotal     = prometheus.NewDesc("shatabdi_warmup_wanted_bytes", "Bytes of those objects whose length is known by now.", nil, nil)
)

func (collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- describedDownloads
	ch <- describedWarmups
	ch <- describedObjects
	ch <- describedBytes
	ch <- describedTotal
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, n int64, state ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), state...)
	}
	count := map[string]int64{}
	c.m.mu.Lock()
	for _, d := range c.m.all {
		count[d.state]++
	}
	c.m.mu.Unlock()
	for _, s := range States {
		tell(describedDownloads, count[s], s)
	}
	var running, over, partial int64
	var sum Warmup
	for _, w := range c.m.Warmups() {
		switch {
		case !w.Over:
			running++
		case w.Partial():
			partial++
		default:
			over++
		}
		sum.Remaining += w.Remaining
		sum.Done += w.Done
		sum.Failed += w.Failed
		sum.NotKept += w.NotKept
		sum.Bytes += w.Bytes
		sum.Total += w.Total
	}
	tell(describedWarmups, running, "running")
	tell(describedWarmups, over, "done")
	tell(describedWarmups, partial, "partial")
	tell(describedObjects, int64(sum.Remaining), "waiting")
	tell(describedObjects, int64(sum.Done), "done")
	tell(describedObjects, int64(sum.Failed), "failed")
	tell(describedObjects, int64(sum.NotKept), "not_kept")
	tell(describedBytes, sum.Bytes)
	tell(describedTotal, sum.Total)
}
