package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

func hotCommand() *cobra.Command {
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
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "so `MANY` at most")
	return asking(cmd, func(ctx context.Context, c *client, _ []string) (hot api.HotObjects, err error) {
		err = c.get(ctx, "hot", url.Values{"limit": {strconv.Itoa(limit)}}, &hot)
		return hot, err
	}, func(w io.Writer, hot api.HotObjects) {
		rows := [][]string{{"HEAT", "NODES", "SIZE", "URL"}}
		for _, o := range hot.Objects {
			rows = append(rows, []string{fmt.Sprintf("%.1f", o.Heat), strconv.Itoa(o.Nodes), size(o.Length), o.URL})
		}
		writeTable(w, rows)
	})
}
