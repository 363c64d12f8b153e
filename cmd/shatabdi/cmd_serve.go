package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Run the daemon: the proxy, this node's part of the swarm, and, unless
--etcd-endpoints names a cluster, an etcd to begin a cluster with.

TERM and INT stop it: new requests are refused, running ones get --drain-timeout
to finish. A second signal stops it at once. HUP reads the configuration again, as
shatabdi reload does.

Each flag has a key in the configuration file and a variable SHATABDI_…; see
shatabdi config example. A flag wins over the environment, the environment over
the file.`,
		Example: `  # Try it on this machine
  shatabdi serve --data-dir ./data

  # The first machine of a cluster: others may reach its etcd
  shatabdi serve --advertise 10.0.0.1 --etcd-listen-client http://10.0.0.1:2379

  # Each further machine
  shatabdi serve --advertise 10.0.0.2 --etcd-endpoints http://10.0.0.1:2379

  # A proxy for the whole network, uploading at 92 % of a 1 Gbit/s uplink
  shatabdi serve --proxy-listen :3128 --allow 10.0.0.0/8 --uplink 1Gbit/s`,
		Args: cobra.NoArgs,
	}
	f := bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load(f, os.Environ())
		if err != nil {
			return err
		}
		level := new(slog.LevelVar)
		level.Set(l.Log.level())
		log := leveledLogger(cmd.ErrOrStderr(), l.Log, level)
		for _, w := range l.warnings {
			log.Warn(w)
		}
		d := newDaemon(l.Config, log)
		d.current.Store(l)
		d.level, d.again = level, func() (*loaded, error) { return load(f, os.Environ()) }
		ctx, stop := untilSignal(context.Background(), log, d.hangup, func() { os.Exit(exitFailure) })
		defer stop()
		return d.serve(ctx)
	}
	return cmd
}
