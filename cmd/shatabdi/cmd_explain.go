package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
)

func explainCommand() *cobra.Command {
	var headers []string
	var method string
	var ask bool
	cmd := &cobra.Command{
		Use:   "explain URL",
		Short: "Say what would become of a request, and why",
		Long: `Say what would become of a request: which rule and key are for it, what is stored
and until when it is fresh, what is done with the request and which clause of
HTTP says so, and where the bytes would come from. Nothing of it happens.

With --ask the origin is sent a GET, and the head of its answer tells whether it
would be stored.`,
		Example: `  shatabdi explain http://example.com/large.iso
  shatabdi explain http://example.com/large.iso -H "Cache-Control: no-cache" --ask`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringArrayVarP(&headers, "header", "H", nil, "`HEADER` of the request (repeatable)")
	cmd.Flags().StringVarP(&method, "request", "X", http.MethodGet, "`METHOD` of the request")
	cmd.Flags().BoolVar(&ask, "ask", false, "ask the origin too")
	return asking(cmd, func(ctx context.Context, c *client, args []string) (out api.Explanation, err error) {
		query := url.Values{"url": {swarmcache.Resolve(args[0])}, "header": headers, "method": {strings.ToUpper(method)}, "ask": {strconv.FormatBool(ask)}}
		err = c.patiently(time.Minute).get(ctx, "explain", query, &out) // the origin may take its time
		return out, err
	}, writeExplanation)
}

func writeExplanation(w io.Writer, e api.Explanation) {
	route := because(e.Route.Reasoned)
	if e.Route.Rule != nil {
		route = fmt.Sprintf("%s, by rules[%d] %s", e.Route.Decision, *e.Route.Rule, e.Route.RuleName)
	}
	rows := [][]string{
		{"request", e.Method + " " + e.URL},
		{"key", orDash(string(e.Key))},
	}
	if e.FetchURL != "" {
		rows = append(rows, []string{"fetched from", e.FetchURL})
	}
	rows = append(rows,
		[]string{"route", strings.TrimSpace(route)},
		[]string{"", fmt.Sprintf("for the swarm from %s on, %d streams from the origin", size(e.Route.Threshold), e.Route.Streams)},
		[]string{"stored", storedText(e.Stored)},
	)
	if e.Stored != nil {
		rows = append(rows, []string{"fresh", freshText(e.Stored)})
	}
	rows = append(rows, []string{"verdict", because(e.Verdict)}, []string{"bytes from", fromText(e.From)})
	if e.Last != "" {
		rows = append(rows, []string{"last answer", strings.ReplaceAll(e.Last, "-", " ")})
	}
	if a := e.Answer; a != nil {
		text := because(a.Verdict)
		if a.Status != 0 {
			text = fmt.Sprintf("%d, ", a.Status) + text
		}
		rows = append(rows, []string{"origin says", text})
	}
	writeTable(w, rows)
}

func because(r api.Reasoned) string {
	text := r.Decision + ": " + r.Text
	if r.Clause != "" {
		text += " (" + r.Clause + ")"
	}
	return text
}

func storedText(s *api.ExplainedStored) string {
	switch {
	case s == nil:
		return "nothing that is known"
	case s.Object == "":
		return size(s.Length) + ", in this node's memory"
	case s.Complete:
		return size(s.Length) + ", all of it here, object " + s.Object[:12]
	}
	return fmt.Sprintf("%s, %s of it here, object %s", size(s.Length), size(s.Here), s.Object[:12])
}

func freshText(s *api.ExplainedStored) string {
	switch left := time.Duration(s.FreshFor) * time.Second; {
	case s.FreshFor > 0 && s.FreshUntil != nil:
		return fmt.Sprintf("until %s, for another %s", timeText(*s.FreshUntil), shortDuration(left))
	case s.FreshFor > 0:
		return "for ever"
	default:
		return fmt.Sprintf("no, stale for %s", shortDuration(-left))
	}
}

func fromText(f api.ExplainedFrom) string {
	text := map[string]string{
		"here": "this node", "memory": "this node's memory", "fill": "a fill under way, from its nodes and the origin",
		"peers": "peers", "origin": "the origin", "nobody": "nobody",
	}[f.Source]
	if f.Fill != nil {
		text += ", opened by " + f.Fill.Opener
	}
	if f.Peers != nil {
		text += fmt.Sprintf("; %d %s with all of it, %d with a part", f.Peers.Complete, plural(f.Peers.Complete, "node"), f.Peers.Incomplete)
	}
	if f.Directory != "" {
		text += "; the directory cannot be asked: " + f.Directory
	}
	return text
}

// settingLine is a value in one line of a table.
func settingLine(value string) string {
	first, _, several := strings.Cut(value, "\n")
	if several {
		first += " ..."
	}
	return orDash(first)
}
