package main

import (
	"shatabdi/swarmcache/api"
)

// counters reads the metrics for the API: both tell the same.
func (d *daemon) counters() api.Counters {
	families, err := d.reg.Gather()
	if err != nil {
		d.log.Debug("not all metrics can be read", "error", err) // those that can are here
	}
	sums := map[string]int64{} // by name, and by name and each label's value
	for _, f := range families {
		for _, m := range f.GetMetric() {
			n := int64(m.GetCounter().GetValue() + m.GetGauge().GetValue())
			sums[f.GetName()] += n
			for _, l := range m.GetLabel() {
				sums[f.GetName()+" "+l.GetName()+"="+l.GetValue()] += n
			}
		}
	}
	requests := func(outcome string) int64 { return sums["shatabdi_requests_total outcome="+outcome] }
	clients := func(source string) int64 { return sums["shatabdi_client_bytes_total source="+source] }
	peers := func(direction string) int64 { return sums["shatabdi_peer_bytes_total direction="+direction] }
	return api.Counters{
		Requests: api.Requests{
			Hit: requests("hit"), Miss: requests("miss"), Revalidated: requests("revalidated"),
			Stale: requests("stale"), Bypass: requests("bypass"), Collapsed: requests("collapsed"),
		},
		Clients:  api.From{Local: clients("local"), Peers: clients("swarm"), Origin: clients("origin")},
		Origin:   sums["shatabdi_origin_bytes_total"],
		Received: peers("received"), Sent: peers("sent"),
		Peers: sums["shatabdi_peers"], InFlight: sums["shatabdi_requests_in_flight"],
	}
}
