package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

func reloadCommand() *cobra.Command {
	return asking(&cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its configuration again",
		Long: `Have the daemon read its configuration again: the same file, environment and flags
that it was started with. Rules, limits, the mode, the log's level and the
warm-up change at once; what else has changed is told, and needs a restart. When
something is wrong nothing changes, every problem is told with its line, and the
exit code is 2. HUP does the same, and tells the log.`,
		Example: `  shatabdi reload`,
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, c *client, _ []string) (out api.Reloaded, err error) {
		err = c.do(ctx, http.MethodPost, "reload", nil, nil, &out)
		return out, err
	}, writeReloaded)
}

func writeReloaded(w io.Writer, r api.Reloaded) {
	for _, warning := range r.Warnings {
		fmt.Fprintln(w, "warning:", warning)
	}
	if len(r.Changed)+len(r.Restart) == 0 {
		fmt.Fprintln(w, "nothing has changed")
		return
	}
	rows := [][]string{{"KEY", "WAS", "IS", "IN EFFECT"}}
	for _, c := range r.Changed {
		rows = append(rows, []string{c.Key, settingLine(c.From), settingLine(c.To), "now"})
	}
	for _, c := range r.Restart {
		rows = append(rows, []string{c.Key, settingLine(c.From), settingLine(c.To), "after a restart"})
	}
	writeTable(w, rows)
}

func configRunningCommand() *cobra.Command {
	return asking(&cobra.Command{
		Use:   "running",
		Short: "Show the configuration that a daemon has in effect",
		Args:  cobra.NoArgs,
	}, func(ctx context.Context, c *client, _ []string) (out api.Settings, err error) {
		err = c.get(ctx, "config", nil, &out)
		return out, err
	}, func(w io.Writer, all api.Settings) {
		rows := [][]string{{"KEY", "VALUE", "FROM", "RELOAD"}}
		for _, s := range all.Settings {
			reload := "restart"
			if s.Live {
				reload = "live"
			}
			rows = append(rows, []string{s.Key, settingLine(s.Value), s.From, reload})
		}
		writeTable(w, rows)
	})
}
