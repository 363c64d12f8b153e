package lab

import (
	"strconv"
	"strings"
)

// Metrics is what a program answers on /metrics.
type Metrics string

// Sum adds up a metric's samples that have all these labels, given as
// name="value". A metric without samples is 0.
func (m Metrics) Sum(name string, labels ...string) (sum float64) {
	for line := range strings.Lines(string(m)) {
		sample, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		metric, labelled, _ := strings.Cut(sample, "{")
		if metric == name && hasAll(labelled, labels) {
			v, _ := strconv.ParseFloat(value, 64) // Prometheus printed it
			sum += v
		}
	}
	return sum
}

func hasAll(labelled string, labels []string) bool {
	for _, l := range labels {
		if !strings.Contains(","+labelled, ","+l) {
			return false
		}
	}
	return true
}

// Metrics reads all of the node's metrics.
func (n *Node) Metrics() Metrics {
	n.Machine.lab.Helper()
	return Metrics(n.Machine.Run("curl", "-sf", adminURL+"/metrics"))
}

// Metric is one of them; see Metrics.Sum.
func (n *Node) Metric(name string, labels ...string) float64 {
	n.Machine.lab.Helper()
	return n.Metrics().Sum(name, labels...)
}

// Leads reports whether the node says that it leads; who does not answer does not.
func (n *Node) Leads() bool {
	n.Machine.lab.Helper()
	out, err := n.Machine.Try("curl", "-sf", adminURL+"/metrics")
	return err == nil && Metrics(out).Sum("shatabdi_etcd_leader") == 1
}

// Metrics reads all of the member's metrics.
func (e *Etcd) Metrics() Metrics {
	e.Machine.lab.Helper()
	return Metrics(e.Machine.Run("curl", "-sf", e.URL+"/metrics"))
}

// Sum adds up a metric over nodes.
func Sum(nodes []*Node, metric string, labels ...string) (sum float64) {
	for _, n := range nodes {
		sum += n.Metric(metric, labels...)
	}
	return sum
}

// By returns the sums of the samples of a metric that have all of these labels, by
// another label.
func (m Metrics) By(label, name string, labels ...string) map[string]float64 {
	by := map[string]float64{}
	for line := range strings.Lines(string(m)) {
		sample, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		metric, labelled, _ := strings.Cut(sample, "{")
		if metric != name || !hasAll(labelled, labels) {
			continue
		}
		_, rest, _ := strings.Cut(","+labelled, ","+label+`="`)
		key, _, _ := strings.Cut(rest, `"`)
		v, _ := strconv.ParseFloat(value, 64)
		by[key] += v
	}
	return by
}
