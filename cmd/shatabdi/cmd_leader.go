package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

func leaderCommand() *cobra.Command {
	var output string
	var stepDown bool
	cmd := &cobra.Command{
		Use:   "leader",
		Short: "Show which node runs the tracker, or have this one give that up",
		Long: `Show which node of the cluster leads, which is to run its tracker. With --step-down
this node, if it leads, leaves that to another, as before work on its machine; the
transfers go on. The exit code is 3 when no leader is known.`,
		Example: `  shatabdi leader --step-down`,
		Args:    cobra.NoArgs,
	}
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&stepDown, "step-down", false, "have this node give the lead up; an error if another one leads")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		if stepDown {
			var was api.SteppedDown
			if err := c.do(cmd.Context(), http.MethodPost, "cluster/leader/step-down", nil, nil, &was); err != nil {
				return err
			}
			return printAs(cmd.OutOrStdout(), output, was, func(w io.Writer) { fmt.Fprintf(w, "%s does not lead any more\n", was.ID) })
		}
		var l api.Leader
		if err := c.get(cmd.Context(), "cluster/leader", nil, &l); err != nil {
			return err
		}
		return printAs(cmd.OutOrStdout(), output, l, func(w io.Writer) {
			self := ""
			if l.Self {
				self = ", this node"
			}
			fmt.Fprintf(w, "%s at %s%s\n", l.ID, l.URL, self)
		})
	}
	return cmd
}
