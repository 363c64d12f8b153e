package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

func hotCommand() *cobra.Command {
	var output string
	var limit int
	cmd := &cobra.Command{
		Use:   "hot",
		Short: "List what clients of the whole cluster want most",
		Long: `List what clients of the whole cluster want most, the hottest first, as each node
told it within the last minute or so. The heat of an object is how often it was
used of late, on all nodes together; a use counts half as much after an hour. A
node that starts can warm up with these objects (warmup.hot).`,
		Example: `  shatabdi hot -n 50`,
		Args:    cobra.NoArgs,
	}
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "so `MANY` at most")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		var hot api.HotObjects
		if err := c.get(cmd.Context(), "hot", url.Values{"limit": {strconv.Itoa(limit)}}, &hot); err != nil {
			return err
		}
		return printAs(cmd.OutOrStdout(), output, hot, func(w io.Writer) {
			rows := [][]string{{"HEAT", "NODES", "SIZE", "URL"}}
			for _, o := range hot.Objects {
				rows = append(rows, []string{fmt.Sprintf("%.1f", o.Heat), strconv.Itoa(o.Nodes), size(o.Length), o.URL})
			}
			writeTable(w, rows)
		})
	}
	return cmd
}
