package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

func statsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show what this node has done since it started",
		Example: `  shatabdi stats
  shatabdi stats -o json`,
		Args: cobra.NoArgs,
	}
	return asking(cmd, func(ctx context.Context, c *client, _ []string) (s api.Stats, err error) {
		err = c.get(ctx, "stats", nil, &s)
		return s, err
	}, func(w io.Writer, s api.Stats) { writeStats(w, s, nil) })
}

func topCommand() *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch what this node is doing",
		Long: `Watch what this node is doing: rates, peers, requests, and the objects that come in.
Where standard output is no terminal it is shown once.`,
		Example: `  shatabdi top
  shatabdi top --every 5s`,
		Args: cobra.NoArgs,
	}
	admin := adminFlag(cmd)
	cmd.Flags().DurationVar(&every, "every", time.Second, "`DURATION` that rates are measured over")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if every <= 0 {
			return usage("", "--every %v; want a time such as 2s", every)
		}
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return c.top(ctx, cmd.OutOrStdout(), every)
	}
	return cmd
}

// home puts the cursor into a terminal's first line, and clears what is behind.
const home = "\x1b[H\x1b[J"

// top draws until ctx ends, or once.
func (c *client) top(ctx context.Context, w io.Writer, every time.Duration) error {
	var last api.Stats
	if err := c.get(ctx, "stats", nil, &last); err != nil {
		return err
	}
	live := isTerminal(w)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var now api.Stats
		if err := c.get(ctx, "stats", nil, &now); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		var page bytes.Buffer
		if live {
			page.WriteString(home)
		}
		writeStats(&page, now, &last)
		if _, err := page.WriteTo(w); err != nil || !live {
			return err
		}
		last = now
	}
}

// writeStats shows totals, or with an earlier account what came since.
func writeStats(w io.Writer, s api.Stats, before *api.Stats) {
	amount := size
	since := "since " + timeText(s.Time.Add(-time.Duration(s.Uptime)*time.Second))
	shown := s.Counters
	if before != nil {
		took := s.Time.Sub(before.Time).Seconds()
		amount = func(n int64) string { return size(int64(float64(n)/max(took, 0.001))) + "/s" }
		since = fmt.Sprintf("of %.1f s", took)
		shown = shown.Since(before.Counters)
	}
	r := shown.Requests
	ended := r.Hit + r.Miss + r.Revalidated + r.Stale + r.Bypass + r.Collapsed
	writeTable(w, [][]string{
		{"clients", amount(shown.Clients.Local+shown.Clients.Peers+shown.Clients.Origin) + shareText(shown.Clients)},
		{"origins", amount(shown.Origin)},
		{"peers", fmt.Sprintf("%d, received %s, sent %s", s.Peers, amount(shown.Received), amount(shown.Sent))},
		{"requests", fmt.Sprintf("%d %s, %d in flight", ended, since, s.InFlight)},
		{"hits", hitText(r, ended)},
		{"cache", fmt.Sprintf("%s of %s, %d %s", size(s.Cache.Bytes), size(s.Cache.Limit), s.Cache.Objects, plural(s.Cache.Objects, "object"))},
	})
	rows := [][]string{{"HERE", "SIZE", "PEERS", "ORIGIN", "URL"}}
	for _, c := range s.Coming {
		here := c.Arrived.Local + c.Arrived.Peers + c.Arrived.Origin
		rows = append(rows, []string{fmt.Sprintf("%d %%", here*100/max(c.Length, 1)), size(c.Length), size(c.Arrived.Peers), size(c.Arrived.Origin), c.URL})
	}
	if len(rows) > 1 {
		fmt.Fprintln(w)
		writeTable(w, rows)
	}
}

// hitText is how much was answered without a byte of a body from an origin, as far
// as the cache was to answer.
func hitText(r api.Requests, ended int64) string {
	if ended == r.Bypass {
		return "-"
	}
	return fmt.Sprintf("%d %% of what is not bypassed: %d hit, %d revalidated, %d stale, %d collapsed; %d missed, %d bypassed",
		(r.Hit+r.Revalidated+r.Stale+r.Collapsed)*100/(ended-r.Bypass), r.Hit, r.Revalidated, r.Stale, r.Collapsed, r.Miss, r.Bypass)
}
