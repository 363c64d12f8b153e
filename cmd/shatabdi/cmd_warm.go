package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
	"shatabdi/swarmcache/download"
)

func warmCommand() *cobra.Command {
	var w warming
	var output string
	cmd := &cobra.Command{
		Use:   "warm URL...",
		Short: "Make caches have objects",
		Long: `Make this node's cache have objects, from peers first. The daemon does it: it goes
on when this command is interrupted. What a node is to have whenever it starts
belongs into its configuration (warmup). s3://BUCKET/PREFIX/, the address of a
dataset and oci://REGISTRY/REPOSITORY:TAG stand for all that is in them. The exit
code is 4 when not everything could be had.

With --nodes or --all other nodes do so, each its own part: that goes on when this
node goes away, and one that was away goes on when it comes again. The origin sends
each object once for all of them.`,
		Example: `  shatabdi warm http://example.com/large.iso
  shatabdi warm --file urls.txt
  shatabdi warm s3://models/llm/ --pin
  shatabdi warm --all shatabdi://9f86d081.../models.dataset
  shatabdi warm --manifest http://example.com/models.txt --detach`,
	}
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&w.list, "file", "", "`FILE` with a list, one URL a line, or - for standard input")
	cmd.Flags().StringVar(&w.order.Manifest, "manifest", "", "`URL` of such a list")
	cmd.Flags().BoolVar(&w.order.Pinned, "pin", false, "keep them when space is short")
	cmd.Flags().StringSliceVar(&w.order.Nodes, "nodes", nil, "`NODES` to warm up, by name or id, instead of this one")
	cmd.Flags().BoolVar(&w.order.All, "all", false, "all nodes, but those that drain")
	cmd.Flags().BoolVar(&w.detach, "detach", false, "do not wait until it is done")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := w.read(args); err != nil {
			return err
		}
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		done, err := w.run(ctx, c, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if err := printAs(cmd.OutOrStdout(), output, done, func(out io.Writer) { writeWarmup(out, done) }); err != nil {
			return err
		}
		return explainWarmup(done)
	}
	return cmd
}

// warming is one run of the command.
type warming struct {
	order  api.WarmupOrder
	list   string
	detach bool
}

// read makes the order of the command line.
func (w *warming) read(urls []string) error {
	if w.order.All && len(w.order.Nodes) > 0 {
		return usage("give one of them", "--all and --nodes do not go together")
	}
	for _, raw := range urls {
		if err := download.CheckURL(swarmcache.Resolve(raw)); err != nil {
			return usage("", "%w", err)
		}
	}
	w.order.URLs = urls
	if w.list != "" {
		more, err := readURLs(w.list)
		if err != nil {
			return err
		}
		w.order.URLs = append(w.order.URLs, more...)
	}
	if len(w.order.URLs) == 0 && w.order.Manifest == "" {
		return usage("give URLs, --file or --manifest", "nothing to warm up with")
	}
	return nil
}

func (w *warming) run(ctx context.Context, c *client, told io.Writer) (up api.Warmup, err error) {
	// A list may be long in coming, and what a URL stands for too.
	if err := c.patiently(2*time.Minute).do(ctx, http.MethodPost, "warmups", nil, w.order, &up); err != nil || w.detach {
		return up, err
	}
	return c.warmed(ctx, up, told)
}

// warmed asks until a warm-up is over, and tells now and then how it comes along. The
// daemon lets its answer wait for the end, but of one of several nodes it tells at once.
func (c *client) warmed(ctx context.Context, w api.Warmup, told io.Writer) (api.Warmup, error) {
	every, heard, patient := drawEvery, time.Now(), true
	line := time.NewTicker(lineEvery)
	defer line.Stop()
	show := newWarmBar(told, w)
	defer show.end()
	for w.State == "running" {
		ask := time.After(every)
		var now api.Warmup
		var query url.Values
		if patient {
			query = url.Values{"wait_seconds": {fmt.Sprint(every.Seconds())}}
		}
		err := c.get(ctx, "warmups/"+w.ID, query, &now)
		switch refused := (*cliError)(nil); {
		case ctx.Err() != nil:
		case patient && errors.As(err, &refused) && refused.code == exitUsage:
			patient = false // a daemon of an earlier version does not know of waiting
		case err == nil:
			w, heard = now, time.Now()
			show.draw(w)
		case !errors.As(err, new(notNow)) || time.Since(heard) > warmPatience:
			return w, err
		}
		for waits := w.State == "running"; waits; {
			select {
			case <-ctx.Done():
				return w, &cliError{exitPartial, fmt.Errorf("interrupted: %s", warmupText(w)), "it goes on; `shatabdi warmups " + w.ID + "` tells how far it is"}
			case <-line.C:
				if show == nil {
					fmt.Fprintln(told, warmupText(w))
				}
			case <-ask:
				waits = false
			}
		}
		every = min(2*every, warmedEvery)
	}
	return w, nil
}

// warmBar is a warm-up as a bar; nil: it is not shown so.
type warmBar struct {
	bars *mpb.Progress
	bar  *mpb.Bar

	mu sync.Mutex // guards the fields below
	w  api.Warmup
	at time.Time // w is of then
	a  amount
}

func newWarmBar(told io.Writer, w api.Warmup) *warmBar {
	if w.State != "running" || !hasRoom(told) {
		return nil
	}
	return addWarmBar(newBars(told, drawEvery), w)
}

func addWarmBar(bars *mpb.Progress, w api.Warmup) *warmBar {
	b := &warmBar{bars: bars, w: w, at: time.Now()}
	b.bar = addBar(bars, "warm", b.amount)
	b.draw(w)
	return b
}

// draw moves the bar on: by objects, since bytes are known only of those that have begun.
func (b *warmBar) draw(w api.Warmup) {
	if b == nil {
		return
	}
	now, ended := time.Now(), w.Done+w.Failed
	b.mu.Lock()
	if took := now.Sub(b.at); took > 0 {
		b.a.rate = int64(float64(max(w.Bytes-b.w.Bytes, 0)) / took.Seconds())
	}
	b.a.count, b.a.bytes, b.a.total, b.a.from = fmt.Sprintf("%d of %d", ended, w.Objects), w.Bytes, w.Total, w.From
	b.w, b.at = w, now
	b.mu.Unlock()
	if w.Objects > 0 {
		b.bar.SetTotal(int64(w.Objects), false)
	}
	b.bar.SetCurrent(int64(ended))
}

func (b *warmBar) amount() amount {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.a
}

// end takes it away; what has become of the warm-up is told elsewhere.
func (b *warmBar) end() {
	if b != nil {
		drop(b.bar)
		b.bars.Shutdown()
	}
}

// warmedEvery is how often a warm-up that takes long is asked about: each time etcd
// is, if it is one of several nodes.
const warmedEvery = 2 * time.Second

// warmPatience is how long a directory may be away before a warm-up of several nodes,
// which goes on meanwhile, is waited for no longer.
const warmPatience = 30 * time.Second

// warmups reads the listing page by page.
func (c *client) warmups(ctx context.Context) (all api.Warmups, err error) {
	all.Warmups = []api.Warmup{}
	query := url.Values{"limit": {"1000"}}
	for {
		var page api.Warmups
		if err := c.get(ctx, "warmups", query, &page); err != nil {
			return all, err
		}
		all.Warmups = append(all.Warmups, page.Warmups...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("cursor", page.Next)
	}
}

// writeWarmup tells how far it has come, and each of its nodes if there are several.
func writeWarmup(out io.Writer, w api.Warmup) {
	fmt.Fprintln(out, warmupText(w))
	if len(w.Nodes) == 0 {
		return
	}
	rows := [][]string{{"NODE", "STATE", "DONE", "FAILED", "SIZE", "FROM PEERS", "FROM ORIGIN"}}
	for _, n := range w.Nodes {
		rows = append(rows, []string{
			cmp.Or(n.Name, string(n.ID)), n.State, fmt.Sprintf("%d of %d", n.Done, n.Objects), fmt.Sprint(n.Failed),
			size(n.Bytes), size(n.From.Peers), size(n.From.Origin),
		})
	}
	writeTable(out, rows)
}

func warmupText(w api.Warmup) string {
	text := fmt.Sprintf("%d of %d %s", w.Done, w.Objects, plural(w.Objects, "object"))
	if w.Failed > 0 {
		text += fmt.Sprintf(", %d failed", w.Failed)
	}
	if w.Passed > 0 {
		text += fmt.Sprintf(", %d passed through and not kept", w.Passed)
	}
	if w.NotKept > 0 {
		text += fmt.Sprintf(", %d not kept over a restart", w.NotKept)
	}
	return text + ": " + size(w.Bytes) + shareText(w.From)
}

// explainWarmup is the error of a warm-up that did not get everything.
func explainWarmup(w api.Warmup) error {
	away := 0
	for _, n := range w.Nodes {
		if n.State == "away" {
			away++
		}
	}
	switch {
	case w.Failed > 0:
		first := w.Failures[0]
		return &cliError{exitPartial, fmt.Errorf("%d of %d %s could not be had; the first is %s: %s",
			w.Failed, w.Objects, plural(w.Objects, "object"), first.URL, first.Error), "the same command tries again, and what is here costs nothing; `shatabdi explain URL` asks why"}
	case w.NotKept > 0 && w.State != "running":
		return &cliError{exitPartial, fmt.Errorf("the daemon started again, and %d %s did not go on: their queries may have been credentials, which are kept nowhere",
			w.NotKept, plural(w.NotKept, "URL")), "order them again"}
	case away > 0 && w.State != "running":
		return &cliError{exitPartial, fmt.Errorf("%d of %d %s away", away, len(w.Nodes), plural(len(w.Nodes), "node")), "it goes on when they come again; `shatabdi warmups " + w.ID + "`"}
	}
	return nil
}

func warmupsCommand() *cobra.Command {
	var output string
	var cancel bool
	cmd := &cobra.Command{
		Use:   "warmups [ID]",
		Short: "List warm-ups, tell how far one has come, or cancel it",
		Long: `List the warm-ups of this node, and those of several nodes, which are remembered
until a day after they were last heard of; or tell of one how far it has come on
each node. With --cancel it ends, on all its nodes; what is there already stays.`,
		Example: `  shatabdi warmups
  shatabdi warmups 18a1b2c3d4e5f6071829 --cancel`,
		Args: cobra.MaximumNArgs(1),
	}
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&cancel, "cancel", false, "end it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cancel && len(args) == 0 {
			return usage("`shatabdi warmups` lists them", "name the warm-up to cancel")
		}
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		switch {
		case cancel:
			return c.do(cmd.Context(), http.MethodDelete, "warmups/"+url.PathEscape(args[0]), nil, nil, nil)
		case len(args) == 1:
			var w api.Warmup
			if err := c.get(cmd.Context(), "warmups/"+url.PathEscape(args[0]), nil, &w); err != nil {
				return err
			}
			return printAs(cmd.OutOrStdout(), output, w, func(out io.Writer) { writeWarmup(out, w) })
		}
		all, err := c.warmups(cmd.Context())
		if err != nil {
			return err
		}
		return printAs(cmd.OutOrStdout(), output, all, func(out io.Writer) {
			rows := [][]string{{"ID", "STATE", "NODES", "PROGRESS"}}
			for _, w := range all.Warmups {
				nodes := "this one"
				if len(w.Nodes) > 0 {
					nodes = fmt.Sprint(len(w.Nodes))
				}
				rows = append(rows, []string{w.ID, w.State, nodes, warmupText(w)})
			}
			writeTable(out, rows)
		})
	}
	return cmd
}
