package main

import (
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

func nodesCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "List the members of the cluster",
		Args:  cobra.NoArgs,
	}
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		var all api.Nodes
		if err := c.get(cmd.Context(), "nodes", nil, &all); err != nil {
			return err
		}
		return printAs(cmd.OutOrStdout(), output, all, func(w io.Writer) { writeNodes(w, all.Nodes) })
	}
	return cmd
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
	var output string
	cmd := &cobra.Command{
		Use:   "mode [swarm|pass]",
		Short: "Show the fleet's mode, or turn caching off and on everywhere",
		Long: `Without an argument, show whether caching is on. With pass, turn it off on every
node of the cluster, at once and unnoticed by clients: everything passes
through. With swarm, turn it on again. A node whose own configuration says
mode: pass stays off.`,
		Example:   `  shatabdi mode pass`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{api.ModeSwarm, api.ModePass},
	}
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		var m api.Mode
		if len(args) == 0 {
			err = c.get(cmd.Context(), "mode", nil, &m)
		} else {
			err = c.do(cmd.Context(), http.MethodPut, "mode", nil, map[string]string{"mode": args[0]}, &m)
		}
		if err != nil {
			return err
		}
		return printAs(cmd.OutOrStdout(), output, m, func(w io.Writer) { io.WriteString(w, modeText(m)+"\n") })
	}
	return cmd
}
