package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/events"
)

func eventsCommand() *cobra.Command {
	var follow bool
	var output string
	var kinds []string
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happens on this node",
		Long: `Show the last events of this node: fills, completions, evictions, purges, changes
of the leader, of readiness and of downloads. With -f show what happens from now
on, as it happens, with the progress of what is coming in; a daemon that restarts
is waited for. -o json prints an object a line.`,
		Example: `  shatabdi events
  shatabdi events -f -o json --kind completed,ended`,
		Args: cobra.NoArgs,
	}
	admin := adminFlag(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "`FORMAT`: text or json")
	cmd.Flags().StringSliceVar(&kinds, "kind", nil, "only these `KINDS`: "+strings.Join(events.Kinds, ","))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		print := printEvent
		switch output {
		case "text":
		case "json":
			print = func(w io.Writer, e events.Event) { json.NewEncoder(w).Encode(e) }
		default:
			return usage("", "--output %q; want text or json", output)
		}
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		query := url.Values{"follow": {strconv.FormatBool(follow)}}
		if len(kinds) > 0 {
			query.Set("kind", strings.Join(kinds, ","))
		}
		return c.events(ctx, query, follow, func(e events.Event) { print(cmd.OutOrStdout(), e) })
	}
	return cmd
}

// events calls f with events. When it follows, a daemon that went away is waited
// for, and what it kept meanwhile is told too.
func (c *client) events(ctx context.Context, query url.Values, follow bool, f func(events.Event)) error {
	last, met := "", false
	for {
		err := c.eventStream(ctx, query, last, func(e events.Event) {
			met = true
			last = cmp.Or(e.ID, last)
			f(e)
		}, func() { met = true })
		var ce *cliError
		switch {
		case ctx.Err() != nil:
			return nil // as told
		case !follow, !met, errors.As(err, &ce) && ce.code == exitUsage:
			return err // else it stops, or starts
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// eventStream reads one stream, from behind the event last on.
func (c *client) eventStream(ctx context.Context, query url.Values, last string, f func(events.Event), opened func()) error {
	u := c.base.JoinPath("/api/v1/events")
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	patient := http.Client{Transport: c.http.Transport}
	resp, err := patient.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return c.decode(resp, nil)
	}
	opened()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e events.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("answer of the daemon on %s: %w", c.name, err)
		}
		f(e)
	}
	return nil // it may have stopped
}

// printEvent is an event in a line.
func printEvent(w io.Writer, e events.Event) {
	var parts []string
	add := func(is bool, text string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(text, args...))
		}
	}
	add(e.Key != "", "%s", e.Key)
	add(e.Download != "", "%s", e.Download)
	add(e.Role != "", "%s", e.Role)
	add(e.State != "", "%s", e.State)
	add(e.Kind == events.Leader && e.Node == "", "nobody")
	add(e.Node != "", "%s", e.Node)
	add(e.Self && e.Kind == events.Leader, "(this node)")
	add(e.Kind == events.Progress && e.Length > 0, "%d %%", 100*e.Bytes/max(e.Length, 1))
	add(e.Length > 0, "%s", size(e.Length))
	add(e.Rate > 0, "%s/s", size(e.Rate))
	if e.ETA != nil {
		add(true, "%s to go", shortDuration(time.Duration(*e.ETA*float64(time.Second)).Round(time.Second)))
	}
	add(e.Took > 0, "in %s", time.Duration(e.Took*float64(time.Second)).Round(10*time.Millisecond))
	add(e.Kind == events.Lost && e.Count > 0, "%d events", e.Count)
	add(e.Kind == events.Reloaded, "%d %s", e.Count, plural(int(e.Count), "setting"))
	add(e.Reason != "", "%s", e.Reason)
	fmt.Fprintf(w, "%s %-9s %s\n", e.Time.Local().Format(time.TimeOnly), e.Kind, plain(strings.Join(parts, " ")))
}
