package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"shatabdi/tracker"
)

// trackerCommand is the tracker alone, to measure it beside others.
func trackerCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:    "tracker",
		Short:  "Run the tracker alone, for anybody, to measure it",
		Hidden: true,
		Args:   cobra.NoArgs,
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:6969", "`ADDR` to answer announces on")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log := newLogger(cmd.ErrOrStderr(), Log{Level: "warn", Format: "text"})
		ctx, stop := untilSignal(context.Background(), log, func() {}, func() { os.Exit(exitFailure) })
		defer stop()
		ln, err := net.Listen("tcp", listen)
		if err != nil {
			return err
		}
		tr := tracker.New(tracker.Config{AllowOutside: func(netip.Addr) bool { return true }, Logger: log})
		srv := trackerServer(tr)
		ended := make(chan error, 1)
		go func() { ended <- srv.Serve(tr.Quick(ln, srv)) }()
		go func() {
			<-ctx.Done()
			srv.Close()
		}()
		tr.Run(ctx)
		if err := <-ended; err != http.ErrServerClosed {
			return err
		}
		return nil
	}
	return cmd
}

func trackerServer(tr *tracker.Tracker) *http.Server {
	return &http.Server{Handler: tr, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 16 << 10}
}
