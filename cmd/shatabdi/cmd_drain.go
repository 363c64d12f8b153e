package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

func drainCommand() *cobra.Command {
	var end bool
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Have the daemon take on nothing new",
		Long: `Have the daemon take on nothing new before it is stopped: /readyz says so, it
gives the lead up and fills nothing. What it has it serves, to clients and peers;
other responses pass through. Its copies do not count any more, so that others
are made where they are wanted: shatabdi status tells when that is done.`,
		Example: `  shatabdi drain
  shatabdi drain --end`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&end, "end", false, "take on new work again")
	return asking(cmd, func(ctx context.Context, c *client, _ []string) (d api.Drained, err error) {
		method := http.MethodPost
		if end {
			method = http.MethodDelete
		}
		err = c.do(ctx, method, "drain", nil, nil, &d)
		return d, err
	}, func(w io.Writer, d api.Drained) {
		if d.Draining {
			fmt.Fprintln(w, "draining")
		} else {
			fmt.Fprintln(w, "not draining")
		}
	})
}

// magnetsText says how the magnets are, and illRows why some are not well.
func magnetsText(m api.Magnets) string {
	switch {
	case !m.Known:
		return "not known"
	case m.Degraded+m.Lost == 0:
		return fmt.Sprintf("%d healthy", m.Healthy)
	}
	return fmt.Sprintf("%d healthy, %d degraded, %d lost", m.Healthy, m.Degraded, m.Lost)
}

func illRows(m api.Magnets) (rows [][]string) {
	for _, i := range m.Ill[:min(len(m.Ill), 10)] {
		rows = append(rows, []string{"", i.State + ": " + i.URL + ": " + i.Why})
	}
	return rows
}

// replicasText says how many copies there are of one.
func replicasText(m api.MagnetState) string {
	text := fmt.Sprintf("%d", m.Replicas)
	if m.State != "unkept" {
		text += fmt.Sprintf(" of %d wanted, %s", m.Wanted, m.State)
	}
	if m.Why != "" {
		text += ": " + m.Why
	}
	return text
}
