package origin

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	bytes    prometheus.Counter
	requests prometheus.Counter
	streams  prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "shatabdi", Name: "origin_bytes_total",
			Help: "Bytes read from origins: heads, bodies and TLS, whatever became of them. Tunnels are not in it.",
		}),
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "shatabdi", Name: "origin_requests_total",
			Help: "Requests that an origin answered.",
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "shatabdi", Name: "origin_streams",
			Help: "Bodies of spans being read from origins now.",
		}),
	}
	if r != nil {
		r.MustRegister(m.bytes, m.requests, m.streams)
	}
	return m
}
