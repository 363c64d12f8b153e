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
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
	"shatabdi/swarmcache/download"
)

func getCommand() *cobra.Command {
	var g getting
	cmd := &cobra.Command{
		Use:   "get URL...\n  shatabdi get --file LIST [URL]...\n  shatabdi get -r ADDRESS DIR",
		Short: "Download through this machine's daemon",
		Long: `Download through this machine's daemon, which shares the bytes with the others:
http:// and https:// URLs, shatabdi:// addresses of what was put, and the URLs of
sources: s3://BUCKET/KEY, file:///PATH and what the configuration adds. The file
is yours, written in the current directory or where -o says; one that is there
already is replaced only if -o names it.

s3://BUCKET/PREFIX/ stands for all objects under it, and oci://REGISTRY/REPOSITORY:TAG
for an image, which becomes an OCI layout; -o names the directory for them.
With -r the address is that of a directory that was put with -r. It is made as it
was there; files that are in DIR already and have the right bytes stay, and so
does what is no part of it.

What was broken off stays as FILE.part, and another run goes on from there if the
origin still has that version. The exit code is 0 when all is here, 3 when there
is no such thing, 4 when something was broken off or only a part of several URLs
could be had, and 5 when there is no daemon.`,
		Example: `  shatabdi get http://example.com/large.iso
  shatabdi get https://example.com/model.bin -o /models/ --sha256 2cf24dba...
  shatabdi get http://example.com/data.tar -o - | tar x
  shatabdi get s3://models/llm/ -o /models/
  shatabdi get oci://registry.example.com/team/app:v1 -o app/
  shatabdi get -r shatabdi://9f86d081.../models.dataset /models`,
	}
	admin := adminFlag(cmd)
	cmd.Flags().StringVar(&g.list, "file", "", "`LIST` of more URLs, one a line, # begins a comment; - is standard input")
	cmd.Flags().StringVarP(&g.output, "output", "o", "", "`FILE` to write, a directory, or - for standard output")
	cmd.Flags().StringVar(&g.sha256, "sha256", "", "`HEX` digest that it must have; otherwise nothing is left of it")
	cmd.Flags().StringVar(&g.rate, "limit", "", "`RATE` at which it is read at most, such as 4MiB/s")
	cmd.Flags().BoolVarP(&g.recursive, "recursive", "r", false, "get a directory that was put with -r")
	cmd.Flags().BoolVar(&g.quiet, "no-progress", false, "tell only what goes wrong")
	cmd.Flags().StringArrayVarP(&g.headers, "header", "H", nil, "`HEADER` of the request, such as \"Authorization: Bearer ...\" (repeatable)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		urls, dir, err := g.read(args)
		if err != nil {
			return err
		}
		if g.client, err = newClient(*admin); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return g.run(ctx, urls, dir, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// read tells what the command line wants, and with -r where to.
func (g *getting) read(args []string) (urls []string, dir string, err error) {
	if g.rate != "" {
		if g.limit, err = (rates{}).Parse(g.rate); err != nil {
			return nil, "", usage("", "--limit: %w", err)
		}
	}
	urls = args
	if g.list != "" {
		more, err := readURLs(g.list)
		if err != nil {
			return nil, "", err
		}
		urls = append(urls, more...)
	}
	if len(urls) == 0 {
		return nil, "", usage("give URLs, or --file LIST", "nothing to get")
	}
	if g.recursive {
		if len(urls) != 2 || g.output != "" || g.sha256 != "" {
			return nil, "", usage("", "with -r want the address of a dataset and a directory, and neither -o nor --sha256")
		}
		urls, dir = urls[:1], urls[1]
	}
	for i, raw := range urls {
		urls[i] = swarmcache.Resolve(raw)
	}
	return urls, dir, g.check(urls)
}

// readURLs reads a list of URLs.
func readURLs(list string) ([]string, error) {
	f, _, err := openInput(list)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	urls, err := download.ReadList(f, swarmcache.Resolve)
	if err != nil {
		return nil, usage("", "%s: %w", list, err)
	}
	return urls, nil
}

// getting is one run of the command.
type getting struct {
	client  *client
	list    string // a file of more URLs
	output  string
	sha256  string
	rate    string // as it was given
	limit   int64
	quiet   bool
	headers []string

	recursive bool

	header http.Header
	via    *through
	stdout io.Writer
}

// check looks at the command line.
func (g *getting) check(urls []string) error {
	g.header = http.Header{"User-Agent": {"shatabdi/" + buildInfo().Version}}
	for _, h := range g.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return usage("", "--header %q; want NAME: VALUE", h)
		}
		g.header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if g.sha256 != "" && !download.ValidSHA256(g.sha256) {
		return usage("", "--sha256 %q; want 64 hexadecimal digits", g.sha256)
	}
	if len(urls) > 1 && (g.sha256 != "" || g.output != "" && !isDir(g.output)) {
		return usage("with several URLs, -o names a directory", "--sha256 and -o FILE are for one URL")
	}
	for _, u := range urls {
		if err := download.CheckURL(u); err != nil {
			return usage("", "%w", err)
		}
	}
	return nil
}

func isDir(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}

// atOnce is how many of several URLs are fetched at a time.
const atOnce = 4

func (g *getting) run(ctx context.Context, urls []string, dir string, stdout, stderr io.Writer) error {
	var status api.Status
	if err := g.client.get(ctx, "status", nil, &status); err != nil {
		return err
	}
	var err error
	if g.via, err = newThrough(status.Proxy); err != nil {
		return err
	}
	defer g.via.transport.CloseIdleConnections()
	g.stdout = stdout
	if g.recursive {
		return g.tree(ctx, urls[0], dir, stderr)
	}
	all, err := g.expand(ctx, urls)
	if err != nil {
		return err
	}
	return g.all(ctx, all, stderr)
}

// all gets some objects, a few at a time.
func (g *getting) all(ctx context.Context, all []wanted, stderr io.Writer) error {
	show := newShow(stderr, g.quiet, len(all))
	errs := make([]error, len(all))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, w := range all {
		group.Go(func() error {
			errs[i] = g.one(ctx, w, show)
			return nil
		})
	}
	group.Wait()
	show.end()
	return several(errs)
}

// several is what is to be said of several URLs: all errors, and their exit code if
// nothing could be had and they agree.
func several(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	if len(errs) == 1 {
		return errs[0]
	}
	var all []error
	code := -1
	for _, err := range errs {
		if err == nil {
			code = exitPartial
			continue
		}
		its := exitFailure
		if ce := (*cliError)(nil); errors.As(err, &ce) {
			its = ce.code
		}
		if code >= 0 && code != its {
			its = exitPartial
		}
		code = its
		all = append(all, err)
	}
	if len(all) == 0 {
		return nil
	}
	return &cliError{code, errors.Join(all...), firstHint(all)}
}

// one gets one object.
func (g *getting) one(ctx context.Context, w wanted, show *show) error {
	rawURL := w.url
	name, sink, err := g.destination(w)
	if err != nil || sink == nil {
		return err
	}
	get := &download.Get{Transport: g.via, URL: rawURL, Header: g.header, SHA256: w.sha256, Sink: sink}
	get.SetLimit(g.limit)
	item := show.begin(name, get, g.client)
	p, _ := sink.(*part)
	if p != nil {
		if err := p.resume(get); err != nil {
			p.close(true)
			item.end(err)
			return err
		}
	}
	get.Head = func(res *http.Response, _ int64) error {
		item.answered(res)
		if p == nil {
			return nil
		}
		return p.version(get.Validator())
	}
	err = get.Run(ctx)
	if p != nil {
		whole := err == nil
		if whole {
			err = p.finish()
		}
		p.close(whole || get.Validator() != "" && worthKeeping(ctx, err))
	}
	item.end(err)
	return explainGet(rawURL, err, p != nil && get.Validator() != "")
}

// worthKeeping reports whether what came before err may be gone on from: it broke
// off, or the origin refused to go on, maybe for a credential that has run out.
func worthKeeping(ctx context.Context, err error) bool {
	var (
		partial *download.PartialError
		status  *download.StatusError
	)
	return ctx.Err() != nil || errors.As(err, &partial) || errors.As(err, &status)
}

// destination is where the bytes of an object go; nowhere: they are there.
func (g *getting) destination(w wanted) (name string, sink download.Sink, err error) {
	rawURL := w.url
	name = nameOf(rawURL)
	replace := false
	switch {
	case w.path != "":
		p, err := openPart(w.path, rawURL, true)
		return w.shown, p, err
	case w.file != "":
		if name, err = w.place(g.output); err != nil || name == "" {
			return name, nil, err
		}
	case g.output == "-":
		return name, stream{g.stdout}, nil
	case g.output == "" || isDir(g.output):
		name = filepath.Join(g.output, name)
		if _, err := os.Lstat(name); err == nil {
			return "", nil, failure("remove it, or say -o "+name+" to replace it", "%s is there already", name)
		}
	default:
		name, replace = g.output, true
		if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
			f, err := os.OpenFile(name, os.O_WRONLY, 0) // a device or a pipe
			return name, stream{f}, err
		}
	}
	p, err := openPart(name, rawURL, replace)
	if err != nil {
		return "", nil, err
	}
	return name, p, nil
}

// nameOf is how the file of a URL is called.
func nameOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "index.html"
	}
	name := path.Base(u.Path)
	if name == "/" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return "index.html"
	}
	return name
}

// explainGet gives what went wrong an exit code.
func explainGet(rawURL string, err error, kept bool) error {
	if err == nil {
		return nil
	}
	var (
		status  *download.StatusError
		partial *download.PartialError
		code    = exitFailure
		hint    string
	)
	switch {
	case errors.As(err, &partial), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code = exitPartial
		if kept {
			hint = "the same command goes on from there"
		}
	case errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status == http.StatusGone):
		code = exitNotFound
	case errors.As(err, &status) && status.Status == http.StatusGatewayTimeout:
		code = exitPartial
	case errors.Is(err, syscall.ECONNREFUSED), isHangUp(err):
		code = exitUnreachable
	}
	if ue := (*url.Error)(nil); errors.As(err, &ue) {
		err = ue.Err // without the verb; the URL is told anyhow
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	return &cliError{code, fmt.Errorf("%s: %w", redact(rawURL), err), cmp.Or(hint, getHint(err))}
}

// tell is a line about what came.
func tell(name string, p download.Progress, from api.From, took time.Duration) string {
	rate := float64(p.Bytes) / cmp.Or(max(took, time.Millisecond).Seconds(), 1)
	return fmt.Sprintf("%s: %s in %s, %s/s%s", name, size(p.Bytes), took.Round(10*time.Millisecond), size(int64(rate)), shareText(from))
}
