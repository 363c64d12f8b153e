package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

func nodesCommand() *cobra.Command {
	return asking(&cobra.Command{
		Use:   "nodes",
		Short: "List the members of the cluster",
		Example: `  shatabdi nodes
  shatabdi nodes -o yaml`,
		Args: cobra.NoArgs,
	}, func(ctx context.Context, c *client, _ []string) (all api.Nodes, err error) {
		all.Nodes, err = c.nodes(ctx)
		return all, err
	}, func(w io.Writer, all api.Nodes) { writeNodes(w, all.Nodes) })
}

func writeNodes(w io.Writer, nodes []api.Node) {
	rows := [][]string{{"ID", "ZONE", "RACK", "PEERS", "VERSION", "NOTES"}}
	for _, n := range nodes {
		var peers, notes []string
		for _, p := range n.Peers {
			peers = append(peers, p.String())
		}
		for _, note := range []struct {
			text string
			is   bool
		}{{"this node", n.Self}, {"leader", n.Leader}, {"draining", n.Draining}} {
			if note.is {
				notes = append(notes, note.text)
			}
		}
		rows = append(rows, []string{
			string(n.ID), orDash(n.Zone), orDash(n.Rack), orDash(strings.Join(peers, ",")), orDash(n.Version), strings.Join(notes, ", "),
		})
	}
	writeTable(w, rows)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func modeCommand() *cobra.Command {
	return asking(&cobra.Command{
		Use:   "mode [swarm|pass]",
		Short: "Show the fleet's mode, or turn caching off and on everywhere",
		Long: `Without an argument, show whether caching is on. With pass, turn it off on every
node of the cluster, at once and unnoticed by clients: everything passes
through. With swarm, turn it on again. A node whose own configuration says
mode: pass stays off.`,
		Example:   `  shatabdi mode pass`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{api.ModeSwarm, api.ModePass},
	}, func(ctx context.Context, c *client, args []string) (m api.Mode, err error) {
		if len(args) == 0 {
			err = c.get(ctx, "mode", nil, &m)
		} else {
			err = c.do(ctx, http.MethodPut, "mode", nil, map[string]string{"mode": args[0]}, &m)
		}
		return m, err
	}, func(w io.Writer, m api.Mode) { io.WriteString(w, modeText(m)+"\n") })
}

// nodes reads the listing page by page.
func (c *client) nodes(ctx context.Context) ([]api.Node, error) {
	all, query := []api.Node{}, url.Values{}
	for {
		var page api.Nodes
		if err := c.get(ctx, "nodes", query, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Nodes...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("cursor", page.Next)
	}
}
