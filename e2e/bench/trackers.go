package main

import (
	"time"

	"shatabdi/e2e/lab"
)

// trackers: clients --- switch --- a tracker, with Swarms swarms of Peers peers.
// All announce once, then as fast as 16 connections go, and then at half of that
// pace; the same to opentracker, and to who answers without looking: what the network
// takes of each figure.
type trackers struct{ Swarms, Peers, Announces int }

func (d trackers) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.Swarms /= 10
	}
	l.Deadline = 15 * time.Minute
	clients := l.Machine("clients", 0)
	add(trackers{Swarms: 1, Peers: 1, Announces: d.Announces}.measure(clients, l.Machine("parrot", 0).Parrot(), "the network"))
	ours := d.measure(clients, l.Machine("ours", 0).Tracker(), shatabdi)
	add(ours.atMost("CPU µs", us(ours.Time), goal{Aim: 20, Gate: 40}).
		atMost("p99 ms", ms(ours.FirstByte), goal{Gate: 20}).
		atMost("MB", float64(ours.RSS)/1e6, goal{Gate: 400}))
	if theirs := l.Machine("theirs", 0).Opentracker(d.Swarms); theirs != nil {
		add(d.measure(clients, theirs, "opentracker"))
	}
}

// measure returns a row whose time is the tracker's CPU time for an announce, and
// whose first byte is when 99 of 100 answers are there, at half load.
func (d trackers) measure(clients *lab.Machine, t *lab.Tracker, system string) row {
	all := []any{"-swarms", d.Swarms, "-peers", d.Peers}
	clients.Announce(t.Addr, all...)
	rss, _ := t.RSS()
	load := lab.WatchLoad()
	before := t.CPU()
	full := clients.Announce(t.Addr, append(all, "-n", d.Announces)...)
	spent := t.CPU() - before
	busy := load()
	pace := float64(full.Announces) / full.Took.Seconds() / 2
	half := clients.Announce(t.Addr, append(all, "-n", d.Announces/2, "-rate", pace)...)
	r := row{System: system, N: d.Swarms * d.Peers, RSS: rss, Time: spent / time.Duration(max(1, full.Announces)), FirstByte: half.P99, Load: busy}
	r.Load.CPU = 0 // the clients live on this computer too
	return r.noting("time: CPU for an announce; first byte: p99 at half load; N: peers; %.0f announces/s on a CPU, %.0f/s beside their clients; %d refused, %d broken",
		1/r.Time.Seconds(), 2*pace, full.Refused+half.Refused, full.Broken+half.Broken)
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
