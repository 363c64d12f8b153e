package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

func statusCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Ask the daemon how it is",
		Long: `Ask the daemon how it is: its node, its cache, its place in the cluster, and each
check of its readiness. The exit code is 0 when it is ready (also when it is
degraded), 1 when it is not, 4 when it does not answer in time and 5 when there
is none.`,
		Example: `  shatabdi status
  shatabdi status --admin unix:/var/lib/shatabdi/admin.sock -o json`,
		Args: cobra.NoArgs,
	}
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		var s api.Status
		if err := c.get(cmd.Context(), "status", nil, &s); err != nil {
			return err
		}
		var m api.Magnets
		c.get(cmd.Context(), "magnets", nil, &m) // the directory may be away: then it is not known
		if err := printAs(cmd.OutOrStdout(), output, s, func(w io.Writer) { writeStatus(w, s, m) }); err != nil {
			return err
		}
		if !s.Readiness.Ready {
			return failure("`shatabdi doctor` looks for the reason", "the daemon is not ready: %s", s.Readiness.State)
		}
		return nil
	}
	return cmd
}

func writeStatus(w io.Writer, s api.Status, m api.Magnets) {
	rows := [][]string{
		{"node", s.Node.Name + " (" + string(s.Node.ID) + ")"},
		{"version", s.Node.Version},
		{"up", shortDuration((time.Duration(s.Uptime) * time.Second))},
		{"proxy", s.Proxy},
		{"mode", modeText(s.Mode)},
		{"cache", usageText(s.Cache)},
	}
	for _, v := range s.Volumes {
		text := usageText(api.Usage{Bytes: v.Bytes, Objects: v.Objects, Limit: v.Limit}) + ", " + v.State
		rows = append(rows, []string{"  " + v.Dir, strings.TrimSuffix(text+": "+v.Reason, ": ")})
	}
	rows = append(rows, [][]string{{"leader", leaderText(s.Leader)}, {"clock", clockText(s.Clock)}, {"magnets", magnetsText(m)}}...)
	rows = append(rows, illRows(m)...)
	for _, c := range s.Readiness.Checks {
		rows = append(rows, []string{c.Name, strings.TrimSuffix(c.State+": "+c.Reason, ": ")})
	}
	writeTable(w, rows)
	fmt.Fprintln(w, s.Readiness.State)
}

func modeText(m api.Mode) string {
	if m.Local == api.ModePass {
		return m.Mode + ", by this node's configuration; the fleet's is " + m.Fleet
	}
	return m.Mode
}

func usageText(u api.Usage) string {
	text := humanize.IBytes(uint64(u.Bytes))
	if u.Limit > 0 {
		text += " of " + humanize.IBytes(uint64(u.Limit))
	}
	return text + ", " + strconv.Itoa(u.Objects) + " " + plural(u.Objects, "object")
}

func leaderText(l *api.Leader) string {
	switch {
	case l == nil:
		return "none is known"
	case l.Self:
		return "this node"
	}
	return string(l.ID) + ", " + l.URL
}

// clockText tells on which side of the cluster's clock this node's is.
func clockText(c *api.Clock) string {
	if c == nil {
		return "not compared with the cluster's yet: what other nodes tell of is revalidated"
	}
	side := "behind"
	if c.Offset < 0 {
		side = "ahead of"
	}
	seconds := func(s float64) string {
		return time.Duration(math.Abs(s) * float64(time.Second)).Round(100 * time.Microsecond).String()
	}
	return seconds(c.Offset) + " " + side + " the cluster's, give or take " + seconds(c.Doubt)
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
