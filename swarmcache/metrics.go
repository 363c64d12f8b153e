package swarmcache

import "github.com/prometheus/client_golang/prometheus"

// metrics of the cache. claims = won + lost + unasked.
type metrics struct {
	fills        *prometheus.CounterVec // by role: opened, joined, alone
	completed    prometheus.Counter
	ended        *prometheus.CounterVec // by reason
	claims       *prometheus.CounterVec // by outcome
	landed       prometheus.Counter
	orphans      *prometheus.CounterVec // by reason: overdue, stuck, lost
	evicted      prometheus.Counter
	inactive     prometheus.Counter
	noRoom       prometheus.Counter
	originBytes  prometheus.Counter
	streamErrors prometheus.Counter
	mismatches   prometheus.Counter
	purges       prometheus.Counter
	scrubbed     prometheus.Counter
	damaged      prometheus.Counter
	busy         prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "shatabdi", Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "shatabdi", Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		fills:        vec("fills_total", "Fills this node took part in, by role.", "role"),
		completed:    counter("objects_completed_total", "Objects that became complete on this node."),
		ended:        vec("fills_ended_total", "Fills that this node ended before the object was complete, by reason.", "reason"),
		claims:       vec("claims_total", "Claims of spans, by outcome. unasked: the directory was away.", "outcome"),
		landed:       counter("spans_landed_total", "Spans that this node fetched from the origin and published."),
		orphans:      vec("spans_orphaned_total", "Spans that this node wants fetched once more, by reason: overdue by their claimers, lost with their holders, or nothing at all comes.", "reason"),
		evicted:      counter("objects_evicted_total", "Objects evicted for space."),
		inactive:     counter("objects_inactive_total", "Objects that went because nobody had used them for cache.inactive."),
		noRoom:       counter("objects_without_room_total", "Responses that passed through and were not kept: they do not fit, or nothing could go for them."),
		originBytes:  counter("fill_origin_bytes_total", "Body bytes that fills read from origins."),
		streamErrors: counter("fill_stream_errors_total", "Origin streams of fills that broke."),
		mismatches:   counter("digest_mismatches_total", "Complete objects that were dropped because the cluster has other bytes under the same validator."),
		scrubbed:     counter("scrub_bytes_total", "Bytes that were read back and compared with their hashes."),
		damaged:      counter("scrub_damaged_pieces_total", "Stored pieces that were not what was stored, and were dropped."),
		busy:         counter("transfers_refused_total", "Requests that found as many transfers running on this node as there may be."),
		purges:       counter("purges_total", "Purges, ordered on other nodes, that this one obeyed."),
	}
	if r != nil {
		r.MustRegister(m.fills, m.completed, m.ended, m.claims, m.landed, m.orphans, m.evicted, m.inactive, m.noRoom, m.originBytes, m.streamErrors, m.mismatches, m.purges, m.scrubbed, m.damaged, m.busy)
	}
	return m
}

var (
	descCacheBytes   = prometheus.NewDesc("shatabdi_cache_bytes", "Bytes reserved by objects on this node.", nil, nil)
	descCacheObjects = prometheus.NewDesc("shatabdi_cache_objects", "Objects on this node, complete or not.", nil, nil)
	descCacheLimit   = prometheus.NewDesc("shatabdi_cache_limit_bytes", "Bytes that objects may take; 0: no bound.", nil, nil)
	// The label is a directory of the configuration, the home first.
	descVolumeUp    = prometheus.NewDesc("shatabdi_volume_up", "Whether a volume takes objects; 0: it is missing, or its disk failed.", []string{"volume"}, nil)
	descVolumeBytes = prometheus.NewDesc("shatabdi_volume_bytes", "Bytes reserved by objects on a volume.", []string{"volume"}, nil)
	descVolumeLimit = prometheus.NewDesc("shatabdi_volume_limit_bytes", "Bytes that objects may take on a volume; 0: no bound.", []string{"volume"}, nil)
)

// cacheCollector reads the cache's books when asked.
type cacheCollector struct{ c *Cache }

func (k cacheCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(k, ch) }

func (k cacheCollector) Collect(ch chan<- prometheus.Metric) {
	k.c.mu.Lock()
	used, n, limit := k.c.usedLocked(), len(k.c.entries), k.c.limitLocked()
	k.c.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(descCacheBytes, prometheus.GaugeValue, float64(used))
	ch <- prometheus.MustNewConstMetric(descCacheObjects, prometheus.GaugeValue, float64(n))
	ch <- prometheus.MustNewConstMetric(descCacheLimit, prometheus.GaugeValue, float64(limit))
	for _, v := range k.c.Volumes() {
		up := 0.0
		if v.State == VolumeWell || v.State == VolumeFull {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(descVolumeUp, prometheus.GaugeValue, up, v.Dir)
		ch <- prometheus.MustNewConstMetric(descVolumeBytes, prometheus.GaugeValue, float64(v.Bytes), v.Dir)
		ch <- prometheus.MustNewConstMetric(descVolumeLimit, prometheus.GaugeValue, float64(v.Limit), v.Dir)
	}
}
