package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
	"shatabdi/swarmcache/download"
)

func warmCommand() *cobra.Command {
	var output, list, manifest string
	var detach, pinned bool
	cmd := &cobra.Command{
		Use:   "warm URL...",
		Short: "Make this node's cache have objects",
		Long: `Make this node's cache have objects, from peers first. The daemon does it: it goes
on when this command is interrupted. What a node is to have whenever it starts
belongs into its configuration (warmup). s3://BUCKET/PREFIX/, the address of a
dataset and oci://REGISTRY/REPOSITORY:TAG stand for all that is in them. The exit code is 4 when not everything
could be had.`,
		Example: `  shatabdi warm http://example.com/large.iso
  shatabdi warm --file urls.txt
  shatabdi warm s3://models/llm/ --pin
  shatabdi warm --manifest http://example.com/models.txt --detach`,
	}
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&list, "file", "", "`FILE` with a list, one URL a line, or - for standard input")
	cmd.Flags().StringVar(&manifest, "manifest", "", "`URL` of such a list")
	cmd.Flags().BoolVar(&pinned, "pin", false, "keep them when space is short")
	cmd.Flags().BoolVar(&detach, "detach", false, "do not wait until it is done")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		order := api.WarmupOrder{URLs: args, Manifest: manifest, Pinned: pinned}
		for _, raw := range args {
			if err := download.CheckURL(swarmcache.Resolve(raw)); err != nil {
				return usage("", "%w", err)
			}
		}
		if list != "" {
			f, _, err := openInput(list)
			if err != nil {
				return err
			}
			defer f.Close()
			urls, err := download.ReadList(f, swarmcache.Resolve)
			if err != nil {
				return usage("", "%s: %w", list, err)
			}
			order.URLs = append(order.URLs, urls...)
		}
		if len(order.URLs) == 0 && manifest == "" {
			return usage("give URLs, --file or --manifest", "nothing to warm up with")
		}
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		var w api.Warmup
		if err := c.do(ctx, http.MethodPost, "warmups", nil, order, &w); err != nil {
			return err
		}
		if !detach {
			if w, err = c.warmed(ctx, w, cmd.ErrOrStderr()); err != nil {
				return err
			}
		}
		if err := printAs(cmd.OutOrStdout(), output, w, func(out io.Writer) { fmt.Fprintln(out, warmupText(w)) }); err != nil {
			return err
		}
		return explainWarmup(w)
	}
	return cmd
}

// warmed asks until a warm-up is over, and tells now and then how it comes along.
func (c *client) warmed(ctx context.Context, w api.Warmup, told io.Writer) (api.Warmup, error) {
	ask, line := time.NewTicker(drawEvery), time.NewTicker(lineEvery)
	defer ask.Stop()
	defer line.Stop()
	for w.State == "running" {
		select {
		case <-ctx.Done():
			return w, &cliError{exitPartial, fmt.Errorf("interrupted: %s", warmupText(w)), "the daemon goes on with it"}
		case <-line.C:
			fmt.Fprintln(told, warmupText(w))
			continue
		case <-ask.C:
		}
		w = api.Warmup{ID: w.ID}
		if err := c.get(ctx, "warmups/"+w.ID, nil, &w); err != nil {
			return w, err
		}
	}
	return w, nil
}

func warmupText(w api.Warmup) string {
	text := fmt.Sprintf("%d of %d %s", w.Done, w.Objects, plural(w.Objects, "object"))
	if w.Failed > 0 {
		text += fmt.Sprintf(", %d failed", w.Failed)
	}
	if w.Passed > 0 {
		text += fmt.Sprintf(", %d passed through and not kept", w.Passed)
	}
	return text + ": " + size(w.Bytes) + shareText(w.From)
}

// explainWarmup is the error of a warm-up that did not get everything.
func explainWarmup(w api.Warmup) error {
	if w.Failed == 0 {
		return nil
	}
	first := w.Failures[0]
	return &cliError{exitPartial, fmt.Errorf("%d of %d %s could not be had; the first is %s: %s",
		w.Failed, w.Objects, plural(w.Objects, "object"), first.URL, first.Error), ""}
}
