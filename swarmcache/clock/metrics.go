package clock

import "github.com/prometheus/client_golang/prometheus"

func (c *Clock) register(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	gauge := func(name, help string, f func(Reading) float64) {
		opts := prometheus.GaugeOpts{Namespace: "shatabdi", Subsystem: "clock", Name: name, Help: help}
		reg.MustRegister(prometheus.NewGaugeFunc(opts, func() float64 { return f(c.Read()) }))
	}
	gauge("known", "1 while this node has compared its clock with the cluster's.", func(r Reading) float64 {
		if r.Scale == "" {
			return 0
		}
		return 1
	})
	gauge("offset_seconds", "What to add to this node's clock for the cluster's, that of the leader.", func(r Reading) float64 { return r.Offset.Seconds() })
	gauge("doubt_seconds", "By how much that may be wrong, either way.", func(r Reading) float64 { return r.Doubt.Seconds() })
}
