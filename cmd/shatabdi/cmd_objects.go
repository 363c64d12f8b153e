package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

func lsCommand() *cobra.Command {
	var order string
	var chosen choosing
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the objects on this node",
		Example: `  shatabdi ls --sort -size
  shatabdi ls --match "http://example.com/*" --unused-for 24h`,
		Args: cobra.NoArgs,
	}
	chosen.flags(cmd)
	cmd.Flags().StringVar(&chosen.state, "state", "", "only those that are `STATE`: complete, partial, pinned or suspect")
	cmd.Flags().StringVar(&order, "sort", "", "in the `ORDER` of url, size, added or used; with - the largest or last first")
	return asking(cmd, func(ctx context.Context, c *client, _ []string) (out api.Objects, err error) {
		query := chosen.query()
		if order != "" {
			query.Set("sort", order)
		}
		out.Objects, err = c.objects(ctx, query)
		return out, err
	}, func(w io.Writer, all api.Objects) { writeObjects(w, all.Objects) })
}

// objects reads the listing page by page.
func (c *client) objects(ctx context.Context, query url.Values) ([]api.Object, error) {
	all := []api.Object{}
	query.Set("limit", "1000")
	for {
		var page api.Objects
		if err := c.get(ctx, "objects", query, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Objects...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("cursor", page.Next)
	}
}

func writeObjects(w io.Writer, objects []api.Object) {
	rows := [][]string{{"ID", "SIZE", "STATE", "LAST USED", "URL"}}
	for _, o := range objects {
		rows = append(rows, []string{string(o.ID[:12]), humanize.IBytes(uint64(o.Length)), stateText(o), timeText(o.LastUsed), o.URL})
	}
	writeTable(w, rows)
}

func stateText(o api.Object) string {
	state := "partial"
	if o.Complete {
		state = "complete"
	}
	if o.Away {
		state = "away, its volume is missing"
	}
	if o.Suspect {
		state += ", being verified"
	}
	if o.Pinned {
		state += ", pinned"
	}
	return state
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

func infoCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "info URL|ID",
		Short: "Show what this node knows of an object",
		Long: `Show what this node knows of an object, named by the URL that clients ask for or
by its id, of which the first digits will do. The exit code is 3 when this node
has no such object.`,
		Example: `  shatabdi info http://example.com/large.iso
  shatabdi info 9f86d081884c`,
		Args: cobra.ExactArgs(1),
	}
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		o, err := c.object(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		var m api.MagnetState
		if c.get(cmd.Context(), "objects/"+string(o.ID)+"/magnet", nil, &m) != nil {
			m.Why = "the directory is away"
		}
		return printAs(cmd.OutOrStdout(), output, o, func(w io.Writer) { writeObject(w, o, m) })
	}
	return cmd
}

// object finds one object by URL or id.
func (c *client) object(ctx context.Context, name string) (o api.ObjectDetail, err error) {
	id := strings.ToLower(name)
	if strings.Contains(name, "://") {
		var found api.Objects
		if err := c.get(ctx, "objects", url.Values{"url": {name}}, &found); err != nil {
			return o, err
		}
		if len(found.Objects) == 0 {
			return o, &cliError{exitNotFound, fmt.Errorf("this node has nothing of %s", name), "`shatabdi explain URL` says where it would come from, `shatabdi warm URL` has it come"}
		}
		id = string(found.Objects[0].ID)
	} else if len(id) < 8 || len(id) > 64 || strings.Trim(id, "0123456789abcdef") != "" {
		return o, usage("give the URL that clients ask for, or 8 digits or more of the id, which `shatabdi ls` shows", "%q is neither a URL nor an id", name)
	}
	err = c.get(ctx, "objects/"+url.PathEscape(id), nil, &o)
	return o, err
}

func writeObject(w io.Writer, o api.ObjectDetail, m api.MagnetState) {
	rows := [][]string{
		{"id", string(o.ID)},
		{"url", o.URL},
		{"key", o.Key},
		{"size", fmt.Sprintf("%s (%d bytes)", humanize.IBytes(uint64(o.Length)), o.Length)},
		{"state", stateText(o.Object)},
		{"here", arrivedText(o.Arrived)},
		{"priority", o.Priority},
		{"validator", orDash(o.Validator)},
		{"sha256", orDash(o.SHA256)},
		{"infohash", orDash(o.InfoHash)},
		{"magnet", orDash(o.Magnet)},
		{"copies", replicasText(m)},
		{"added", timeText(o.Added)},
		{"last used", timeText(o.LastUsed)},
		{"verified", timeText(o.Verified)},
		{"response", fmt.Sprintf("%d, %s", o.Response.Status, timeText(o.Response.Time))},
	}
	for _, name := range sortedKeys(o.Response.Header) {
		for _, value := range o.Response.Header[name] {
			rows = append(rows, []string{"", name + ": " + value})
		}
	}
	writeTable(w, rows)
}

func arrivedText(a api.From) string {
	bytes := func(n int64) string { return humanize.IBytes(uint64(n)) }
	text := bytes(a.Local + a.Peers + a.Origin)
	if a.Peers+a.Origin > 0 {
		text += fmt.Sprintf(", of late %s from peers and %s from the origin", bytes(a.Peers), bytes(a.Origin))
	}
	return text
}

func purgeCommand() *cobra.Command {
	var output string
	var chosen choosing
	var many api.PurgeOrder
	var node bool
	cmd := &cobra.Command{
		Use:   "purge [URL]",
		Short: "Make every node forget what a URL selects, or what is chosen",
		Long: `Make every node forget what a URL selects: this one at once, the others within
moments, and those that are away when they come again, within a week. The next
request asks the origin.

Without a URL the flags choose, from what is on this node and what the directory
knows of all others, and all that are given must fit. What is found goes from every
node, or with --node what is on this one from it only. With --soft it stays, and the
origin must confirm it before any of them uses it again; small responses go.`,
		Example: `  shatabdi purge http://example.com/large.iso
  shatabdi purge http://example.com/large.iso --node --dry-run
  shatabdi purge --match "http://example.com/nightly/*" --older-than 24h --dry-run
  shatabdi purge --tag release-7`,
		Args: cobra.MaximumNArgs(1),
	}
	chosen.flags(cmd)
	cmd.Flags().BoolVar(&node, "node", false, "from this node only")
	cmd.Flags().BoolVar(&many.Soft, "soft", false, "keep it, to be confirmed by the origin before it is used again")
	cmd.Flags().BoolVarP(&many.DryRun, "dry-run", "n", false, "tell only what would be")
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		several := chosen != choosing{}
		if several == (len(args) == 1) {
			return usage("choose with --match, --tag, --older-than or --unused-for", "give a URL, or say what to choose")
		}
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		if many.Scope = "cluster"; node {
			many.Scope = "node"
		}
		if several {
			many.Match, many.Tag, many.OlderThan, many.UnusedFor = chosen.match, chosen.tag, chosen.olderThan, chosen.unusedFor
			var p api.PurgedMany
			if err := c.patiently(10*time.Minute).do(cmd.Context(), http.MethodPost, "purge-many", nil, many, &p); err != nil {
				return err
			}
			return printAs(cmd.OutOrStdout(), output, p, func(w io.Writer) { writePurged(w, p) })
		}
		var p api.Purged
		order := api.PurgeURL{URL: args[0], Scope: many.Scope, Soft: many.Soft, DryRun: many.DryRun}
		if err := c.do(cmd.Context(), http.MethodPost, "purge", nil, order, &p); err != nil {
			return err
		}
		return printAs(cmd.OutOrStdout(), output, p, func(w io.Writer) { fmt.Fprintf(w, "%s: %s\n", p.Key, purgedText(order, p)) })
	}
	return cmd
}

// purgedText tells what became of what a URL selects.
func purgedText(o api.PurgeURL, p api.Purged) string {
	node := o.Scope == "node"
	switch {
	case o.DryRun && p.Count == 0:
		return "no object of the swarm; small ones are not looked at"
	case o.DryRun && o.Soft:
		return fmt.Sprintf("%d %s would have to be confirmed by the origin", p.Count, plural(p.Count, "response"))
	case o.DryRun:
		return fmt.Sprintf("%d %s would go", p.Count, plural(p.Count, "response"))
	case !p.Removed && node:
		return "this node had nothing"
	case o.Soft && node:
		return "to be confirmed by the origin, on this node"
	case o.Soft:
		return "to be confirmed by the origin, on this node and all others"
	case node:
		return "removed from this node"
	case p.Removed:
		return "removed from this node and from all others"
	}
	return "removed from all other nodes; this one had nothing"
}

func writePurged(w io.Writer, p api.PurgedMany) {
	for _, key := range p.Keys {
		fmt.Fprintln(w, key)
	}
	would := ""
	if p.DryRun {
		would = " would go"
	}
	fmt.Fprintf(w, "%d %s, %s%s\n", p.Count, plural(p.Count, "object"), size(p.Bytes), would)
}

// choosing are the flags that choose objects.
type choosing struct{ match, tag, olderThan, unusedFor, state string }

func (c *choosing) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.match, "match", "", "only those whose key fits `GLOB`: * and ? stand for any characters")
	cmd.Flags().StringVar(&c.tag, "tag", "", "only those whose response gives `TAG` in Surrogate-Key or Cache-Tag")
	cmd.Flags().StringVar(&c.olderThan, "older-than", "", "only those that came a `DURATION` ago or earlier, such as 24h")
	cmd.Flags().StringVar(&c.unusedFor, "unused-for", "", "only those that were not used for a `DURATION`")
}

func (c *choosing) query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{"match": c.match, "tag": c.tag, "older_than": c.olderThan, "unused_for": c.unusedFor, "state": c.state} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

func pinCommand() *cobra.Command {
	return pinning(&cobra.Command{
		Use:   "pin URL|ID",
		Short: "Keep an object on this node",
		Long: `Keep an object on this node when space is short, and every version that takes
its place. A purge takes the pin along.`,
		Example: `  shatabdi pin http://example.com/large.iso`,
	}, http.MethodPut, "pinned")
}

func unpinCommand() *cobra.Command {
	return pinning(&cobra.Command{
		Use:     "unpin URL|ID",
		Short:   "Let an object go when space is short",
		Example: `  shatabdi unpin http://example.com/large.iso`,
	}, http.MethodDelete, "not pinned")
}

// pinning makes cmd send method to an object's pin.
func pinning(cmd *cobra.Command, method, done string) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	return asking(cmd, func(ctx context.Context, c *client, args []string) (o api.ObjectDetail, err error) {
		if o, err = c.object(ctx, args[0]); err == nil {
			err = c.do(ctx, method, "objects/"+string(o.ID)+"/pin", nil, nil, &o)
		}
		return o, err
	}, func(w io.Writer, o api.ObjectDetail) { fmt.Fprintf(w, "%s: %s\n", o.URL, done) })
}
