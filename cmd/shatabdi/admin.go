package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"shatabdi/swarmcache/api"
)

// newRegistry returns a registry with what every process has: the Go runtime,
// the process, and shatabdi_build_info.
func newRegistry(b build) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace:   "shatabdi",
		Name:        "build_info",
		Help:        "Always 1; the labels tell what is running.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.Go},
	})
	info.Set(1)
	reg.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// adminServer serves the operator: /livez, /readyz, /metrics, and the REST API
// once there is something for it to speak of.
type adminServer struct {
	mux   *http.ServeMux
	token atomic.Pointer[string]       // what TCP wants; nil: it is for this machine alone
	api   atomic.Pointer[http.Handler] // nil: the daemon is starting
}

// overheard is how tests hear what the REST API of any daemon answers.
var overheard = func(api http.Handler) http.Handler { return api }

func newAdmin(ready *readiness, reg *prometheus.Registry) *adminServer {
	a := &adminServer{mux: http.NewServeMux()}
	mux := a.mux
	mux.Handle(api.Prefix, overheard(http.HandlerFunc(a.serveAPI)))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { serveReady(w, r, ready.report()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	return a
}

func (a *adminServer) serveAPI(w http.ResponseWriter, r *http.Request) {
	if h := a.api.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Retry-After", "1")
	api.WriteProblem(w, http.StatusServiceUnavailable, "the daemon is starting")
}

// handler is for TCP, which browsers can reach.
func (a *adminServer) handler() http.Handler {
	if a.token.Load() != nil {
		return guarded(func() string { return *a.token.Load() }, a.mux)
	}
	return localNames(a.mux)
}

// server is an http.Server for h, with limits of its own.
func (a *adminServer) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// localNames refuses requests for host names that are not this machine's. A web
// page may have any name resolve to 127.0.0.1 and so read what a browser on
// this machine can reach (DNS rebinding), but it cannot do that with an address.
func localNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if _, err := netip.ParseAddr(host); err != nil && !strings.EqualFold(host, "localhost") {
			api.WriteProblem(w, http.StatusForbidden, "the admin listener answers to addresses and to localhost only")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// wantsJSON reports whether a request is for a report, not for its state alone.
func wantsJSON(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

func serveReady(w http.ResponseWriter, r *http.Request, report api.Readiness) {
	asJSON := wantsJSON(r)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if asJSON {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Cache-Control", "no-store")
	if !report.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	switch {
	case asJSON:
		json.NewEncoder(w).Encode(report)
	case r.URL.Query().Has("verbose"):
		writeReady(w, report)
	default:
		fmt.Fprintln(w, report.State)
	}
}

// writeReady prints a report as a table.
func writeReady(w io.Writer, report api.Readiness) {
	var rows [][]string
	for _, c := range report.Checks {
		rows = append(rows, []string{c.Name, c.State, c.Reason})
	}
	writeTable(w, rows)
	fmt.Fprintln(w, report.State)
}

// writeTable aligns columns; empty cells at the end of a row are left out.
func writeTable(w io.Writer, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		row = slices.Clone(row)
		for i, cell := range row {
			row[i] = plain(cell)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	tw.Flush()
}
