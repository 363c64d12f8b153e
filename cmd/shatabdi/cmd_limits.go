package main

import (
	"context"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"shatabdi/policy"
	"shatabdi/swarmcache/api"
)

func limitsCommand() *cobra.Command {
	var upload, download string
	cmd := &cobra.Command{
		Use:   "limits",
		Short: "Show how fast a node exchanges bytes with peers at most, or change it",
		Long: `Show how fast this node gives bytes to peers and takes them at most, or change
it. A change holds at once, also for what is under way, and is forgotten when
the daemon restarts: what is to stay belongs into its configuration
(peer.upload_limit, peer.download_limit).`,
		Example: `  shatabdi limits
  shatabdi limits --upload 40MiB/s --download none`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&upload, "upload", "", "new `RATE` of what peers get, such as 4MiB/s or 1Gbit/s; 0 or none: no limit")
	cmd.Flags().StringVar(&download, "download", "", "new `RATE` of what comes from peers")
	return asking(cmd, func(ctx context.Context, c *client, _ []string) (now api.Limits, err error) {
		var change api.LimitsChange
		if cmd.Flags().Changed("upload") {
			change.Upload = &upload
		}
		if cmd.Flags().Changed("download") {
			change.Download = &download
		}
		if change == (api.LimitsChange{}) {
			err = c.get(ctx, "limits", nil, &now)
		} else {
			err = c.do(ctx, http.MethodPatch, "limits", nil, change, &now)
		}
		return now, err
	}, writeLimits)
}

func writeLimits(w io.Writer, l api.Limits) {
	writeTable(w, [][]string{
		{"DIRECTION", "LIMIT", "CONFIGURED"},
		{"upload", l.Upload, l.UploadConfigured},
		{"download", l.Download, l.DownloadConfigured},
	})
	if l.Upload != l.UploadConfigured || l.Download != l.DownloadConfigured {
		io.WriteString(w, "What was changed is forgotten when the daemon restarts.\n")
	}
}

func priorityCommand() *cobra.Command {
	return asking(&cobra.Command{
		Use:   "priority URL|ID low|normal|high|default",
		Short: "Change how much of this node's limits an object gets",
		Long: `Change how much of this node's limits on uploads and downloads an object gets
while other objects want them too: one of high priority gets four times as much
as a normal one, and that as one of low priority. It holds at once and for as
long as this node keeps the object; with default the rules decide again.`,
		Example: `  shatabdi priority http://example.com/large.iso high`,
		Args:    cobra.ExactArgs(2),
	}, func(ctx context.Context, c *client, args []string) (o api.ObjectDetail, err error) {
		if policy.Priority(args[1]).Validate() != nil && args[1] != "default" || args[1] == "" {
			return o, usage("give low, normal, high or default", "%q is no priority", args[1])
		}
		if o, err = c.object(ctx, args[0]); err == nil {
			err = c.do(ctx, http.MethodPatch, "objects/"+string(o.ID), nil, map[string]string{"priority": args[1]}, &o)
		}
		return o, err
	}, func(w io.Writer, o api.ObjectDetail) { io.WriteString(w, o.URL+": "+o.Priority+"\n") })
}
