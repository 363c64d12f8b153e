package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// requests: origin, a node, nginx and squid on one machine, all of which have a small
// object. wrk asks each of them in turn, on the same CPUs.
func requests(l *lab.Lab, quick bool, add func(row)) {
	rounds, seconds := 5, 4
	if quick {
		rounds, seconds = 3, 2
	}
	m := l.Machine("node", 0)
	r := row{System: shatabdi, N: 1, F: 4000}
	squid, ok := m.SquidCache()
	if _, err := m.Try("sh", "-c", "command -v wrk"); !ok || err != nil {
		add(r.noting("not measured: apt-get install squid wrk"))
		return
	}
	origin := m.NginxOrigin()
	url := origin.Object(content.Object{Seed: 1, Size: r.F})
	node := m.Shatabdi("--etcd-endpoints", l.Machine("etcd", 0).Etcd().URL, "--allow-destination", m.IP+"/32", "--small", "cache")
	cache := l.Machine("cache", 0) // its port is the node's
	nginxCache := cache.NginxCache(false)
	caches := []struct {
		*lab.Machine
		proxy string
	}{{m, node.ProxyURL()}, {cache, nginxCache.URL}, {m, squid.URL}}
	script := filepath.Join(m.Dir, "proxied.lua")
	host := strings.TrimPrefix(origin.URL, "http://")
	if err := os.WriteFile(script, fmt.Appendf(nil, "wrk.path = %q\nwrk.headers['Host'] = %q\n", url, host), 0o644); err != nil {
		l.Fatalf("%v", err)
	}
	ask := func(i, seconds int) float64 {
		proxy := caches[i].proxy
		out := caches[i].Run("wrk", "-t", "2", "-c", "32", "-d", fmt.Sprintf("%ds", seconds), "-s", script, proxy)
		if strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
			l.Errorf("%s:\n%s", proxy, out)
		}
		_, rest, _ := strings.Cut(out, "Requests/sec:")
		n, err := strconv.ParseFloat(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]), 64)
		if err != nil {
			l.Fatalf("wrk printed %q", out)
		}
		return n
	}
	for i := range caches {
		ask(i, 1) // warm
	}
	load := lab.WatchLoad()
	rates := make([][]float64, len(caches))
	for range rounds {
		for i := range caches {
			rates[i] = append(rates[i], ask(i, seconds))
		}
	}
	r.Load = load()
	r.Load.CPU = 0 // nothing else limits: all the CPU there is should be taken
	ours, nginxs, squids := median(rates[0]), median(rates[1]), median(rates[2])
	r = r.noting("requests a second of 4 kB, wrk with 32 connections on the same CPUs, median of %d: %.0f, nginx %.0f, squid %.0f", rounds, ours, nginxs, squids)
	add(r.atLeast("x squid", ours/squids, goal{Gate: 1}).atLeast("x nginx", ours/nginxs, goal{Gate: 0.6}))
}
