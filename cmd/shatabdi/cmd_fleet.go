package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// fleetGC has the heap of many nodes collected early: to touch memory anew costs more.
const fleetGC = 50

// fleetCommand runs many nodes in one process, each with its own data
// directory, listeners, engine and connection to etcd. It is for measuring
// fleets on a machine that could not hold as many processes; nothing is shared
// but the runtime.
func fleetCommand() *cobra.Command {
	var nodes, port int
	var profiles string
	cmd := &cobra.Command{
		Use:    "fleet",
		Short:  "Run many nodes in one process, to measure large fleets",
		Hidden: true,
		Long: `Run many nodes in one process, to measure large fleets. Node i has its data in
DATA-DIR/i, its proxy on the port PORT+4i of the proxy's address, admin on the
next one, and tracker and peers behind that unless their port is given as 0. All
take part in the etcd that --etcd-endpoints names. The other flags are those of
serve, alike for every node.`,
		Args: cobra.NoArgs,
	}
	f := bind(cmd)
	cmd.Flags().IntVar(&nodes, "nodes", 8, "how many")
	cmd.Flags().IntVar(&port, "port", 20000, "the first port")
	cmd.Flags().StringVar(&profiles, "pprof", "", "`ADDR` that serves profiles of this process")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load(f, os.Environ())
		if err != nil {
			return err
		}
		if l.Etcd.Embedded() {
			return usage("name an etcd with --etcd-endpoints", "a fleet needs an etcd outside")
		}
		log := newLogger(cmd.ErrOrStderr(), l.Log)
		ctx, stop := untilSignal(context.Background(), log, func() {}, func() { os.Exit(exitFailure) })
		defer stop()
		debug.SetGCPercent(fleetGC)
		g, ctx := errgroup.WithContext(ctx)
		if profiles != "" {
			g.Go(func() error { return serveProfiles(ctx, profiles) })
		}
		for i := range nodes {
			cfg, err := fleetConfig(l.Config, i, port)
			if err != nil {
				return err
			}
			g.Go(func() error {
				err := serve(ctx, cfg, log.With(slog.Int("node", i)))
				if err == nil && ctx.Err() == nil {
					err = errors.New("stopped by itself")
				}
				if err != nil {
					return fmt.Errorf("node %d: %w", i, err)
				}
				return nil
			})
		}
		return g.Wait()
	}
	return cmd
}

// serveProfiles answers what `go tool pprof` asks for, until ctx ends.
func serveProfiles(ctx context.Context, addr string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	srv := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// fleetConfig is the configuration of node i.
func fleetConfig(cfg Config, i, port int) (Config, error) {
	cfg.DataDir = filepath.Join(cfg.DataDir, strconv.Itoa(i))
	cfg.Node.Name = fmt.Sprintf("%s-%d", cfg.Node.Name, i)
	for k, addr := range []*string{&cfg.Proxy.Listen, &cfg.Admin.Listen, &cfg.Tracker.Listen, &cfg.Peer.Listen} {
		host, own, err := net.SplitHostPort(*addr)
		if err != nil {
			return cfg, err
		}
		if own == "0" {
			continue
		}
		*addr = net.JoinHostPort(host, strconv.Itoa(port+4*i+k))
	}
	return cfg, nil
}
