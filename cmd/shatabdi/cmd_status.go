package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
)

func statusCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Ask the daemon on this machine whether it is ready",
		Long: `Ask the daemon on this machine whether it is ready, check by check. The exit code
is 0 when it is ready (also when it is degraded), 1 when it is not, 4 when it
does not answer in time and 5 when there is none.`,
		Args: cobra.NoArgs,
	}
	f := bind(cmd, "admin.listen")
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load(f, os.Environ())
		if err != nil {
			return err
		}
		report, err := askReady(cmd, dialable(l.Admin.Listen))
		if err != nil {
			return err
		}
		if err := printAs(cmd.OutOrStdout(), output, report, func(w io.Writer) { writeReady(w, report) }); err != nil {
			return err
		}
		if !report.Ready {
			return failure("", "the daemon is not ready: %s", report.State)
		}
		return nil
	}
	return cmd
}

func askReady(cmd *cobra.Command, addr string) (readyReport, error) {
	var report readyReport
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, "http://"+addr+"/readyz?verbose", nil)
	if err != nil {
		return report, err
	}
	req.Header.Set("Accept", "application/json")
	// A client of its own: the default one obeys http_proxy.
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Timeout: 5 * time.Second, Transport: transport}
	resp, err := client.Do(req)
	if err != nil {
		return report, unreachable(err, addr)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&report); err != nil {
		return report, failure("is it another program's address?", "what answers on %s is no shatabdi daemon (%s)", addr, resp.Status)
	}
	return report, nil
}

func unreachable(err error, addr string) error {
	var t interface{ Timeout() bool }
	if errors.As(err, &t) && t.Timeout() {
		return &cliError{exitPartial, fmt.Errorf("the daemon on %s does not answer in time", addr), "its log may tell why"}
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err // without the URL and the verbs around it
	}
	return &cliError{exitUnreachable, fmt.Errorf("no daemon answers on %s: %w", addr, err),
		"start one with `shatabdi serve`, or name its address with --admin-listen"}
}
