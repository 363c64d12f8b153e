package proxy

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests    *prometheus.CounterVec
	errors      *prometheus.CounterVec
	clientBytes *prometheus.CounterVec
	inFlight    prometheus.Gauge
	tunnels     prometheus.Counter
	tunnelsOpen prometheus.Gauge
	tunnelBytes *prometheus.CounterVec
	degraded    prometheus.Counter
	resumes     *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	const ns = "shatabdi"
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "requests_total",
			Help: "Requests that ended, by outcome and by where most of the body came from. " +
				"hit + miss + revalidated + stale + bypass + collapsed is all of them; refused requests and tunnels are bypass.",
		}, []string{"outcome", "source"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "request_errors_total",
			Help: "Requests answered with an error of our own or cut short, by error type (RFC 9209; canceled: the client left).",
		}, []string{"type"}),
		clientBytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "client_bytes_total",
			Help: "Bytes of bodies sent to clients, by where they came from.",
		}, []string{"source"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: ns, Name: "requests_in_flight",
			Help: "Requests being answered, tunnels included.",
		}),
		tunnels: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Name: "tunnels_total",
			Help: "CONNECT tunnels opened. What goes through them is not cached.",
		}),
		tunnelsOpen: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: ns, Name: "tunnels_open",
			Help: "CONNECT tunnels open now.",
		}),
		tunnelBytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "tunnel_bytes_total",
			Help: "Bytes moved through tunnels.",
		}, []string{"direction"}),
		degraded: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Name: "cache_degraded_total",
			Help: "Times the cache could not do its part and a request went on without it.",
		}),
		resumes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "resumes_total",
			Help: "Answers that were continued from the origin in mid-body, or could not be.",
		}, []string{"result"}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.errors, m.clientBytes, m.inFlight, m.tunnels, m.tunnelsOpen, m.tunnelBytes, m.degraded, m.resumes)
	}
	return m
}
