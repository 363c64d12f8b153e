package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
	"shatabdi/swarmcache/dataset"
	"shatabdi/swarmcache/download"
)

// isDataset reports whether a resolved URL is that of a dataset's manifest, and what
// digest that has to have.
func isDataset(rawURL string) (sum string, yes bool) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host != swarmcache.PutHost || !strings.HasSuffix(u.Path, dataset.Suffix) {
		return "", false
	}
	sum, _, _ = strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	return sum, download.ValidSHA256(sum)
}

// getManifest gets a dataset's manifest, and takes only that of the address.
func getManifest(ctx context.Context, via http.RoundTripper, rawURL string) (*dataset.Manifest, error) {
	sum, ok := isDataset(rawURL)
	if !ok {
		return nil, usage("`shatabdi put -r DIR` tells one", "%s is not the address of a dataset: shatabdi://SHA256/NAME%s", rawURL, dataset.Suffix)
	}
	b := &bounded{max: dataset.MaxManifest}
	get := &download.Get{Transport: via, URL: rawURL, SHA256: sum, Sink: b}
	if err := get.Run(ctx); err != nil {
		return nil, explainGet(rawURL, err, false)
	}
	m, err := dataset.Parse(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", rawURL, err)
	}
	return m, nil
}

// bounded is a sink in memory.
type bounded struct {
	bytes.Buffer
	max int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.max {
		return 0, fmt.Errorf("it is longer than %d bytes", b.max)
	}
	return b.Buffer.Write(p)
}

// Restart implements download.Sink.
func (b *bounded) Restart() error { b.Reset(); return nil }

// fileURL is where the file of an entry is.
func fileURL(e dataset.Entry) string { return swarmcache.PutURL(e.SHA256, dataset.FileName).String() }

// tree gets a dataset into a directory. What is there already stays.
func (g *getting) tree(ctx context.Context, rawURL, dir string, stderr io.Writer) (err error) {
	m, err := getManifest(ctx, g.via, rawURL)
	if err != nil {
		return err
	}
	t, err := dataset.Open(ctx, dir, m)
	if err != nil {
		return err
	}
	defer t.Close()
	var all []wanted
	for _, e := range t.Wanted() {
		all = append(all, wanted{url: fileURL(e), path: t.Part(e), shown: e.Path, sha256: e.SHA256})
	}
	if err := g.all(ctx, all, stderr); err != nil {
		return err
	}
	if err := t.Finish(); err != nil {
		return err
	}
	if !g.quiet {
		fmt.Fprintf(stderr, "%s: %d %s, %d of %d contents were there already\n", dir, len(m.Entries), plural(len(m.Entries), "path"), len(m.Files())-len(all), len(m.Files()))
	}
	return nil
}

// treePut is a directory on its way into the cluster.
type treePut struct {
	client   *client
	dir      string
	unpinned bool
	told     io.Writer
	files    int // that have bytes, each content once

	done, there atomic.Int64
	mu          sync.Mutex // guards last
	last        time.Time  // when a line was told
}

// putTree puts a directory into the cluster: the files that it has not yet, then
// the manifest.
func putTree(ctx context.Context, c *client, dir, name string, unpinned bool, told io.Writer) (u api.Upload, err error) {
	m, err := dataset.Walk(ctx, dir, nil)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return u, err
	case err != nil:
		return u, usage("what a dataset cannot hold must be left out, or packed, as with tar", "%w", err)
	}
	if name == "" {
		whole, err := filepath.Abs(dir)
		if err != nil {
			return u, err
		}
		name = filepath.Base(whole)
	}
	p := &treePut{client: c, dir: dir, unpinned: unpinned, told: told, files: len(m.Files()), last: time.Now()}
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, e := range m.Files() {
		group.Go(func() error { return p.file(within, e) })
	}
	if err := group.Wait(); err != nil {
		return u, err
	}
	fmt.Fprintf(told, "%s: %d %s, %d of %d contents were there already\n", dir, len(m.Entries), plural(len(m.Entries), "path"), p.there.Load(), p.files)
	return p.upload(ctx, strings.TrimSuffix(name, dataset.Suffix)+dataset.Suffix, bytes.NewReader(m.Encode()))
}

// file puts the bytes of one file, unless this node has them.
func (p *treePut) file(ctx context.Context, e dataset.Entry) error {
	if p.has(ctx, e) {
		p.there.Add(1)
	} else if err := p.send(ctx, e); err != nil {
		return err
	}
	n := p.done.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.last) >= lineEvery {
		p.last = time.Now()
		fmt.Fprintf(p.told, "%s: %d of %d contents\n", p.dir, n, p.files)
	}
	return nil
}

// has reports whether this node holds the file, as firmly as is wanted.
func (p *treePut) has(ctx context.Context, e dataset.Entry) bool {
	var found api.Objects
	err := p.client.get(ctx, "objects", url.Values{"url": {fileURL(e)}}, &found)
	if err != nil || len(found.Objects) != 1 || !found.Objects[0].Complete || found.Objects[0].Suspect {
		return false
	}
	if o := found.Objects[0]; !o.Pinned && !p.unpinned {
		return p.client.do(ctx, http.MethodPut, path.Join("objects", string(o.ID), "pin"), nil, nil, &api.ObjectDetail{}) == nil
	}
	return true
}

func (p *treePut) send(ctx context.Context, e dataset.Entry) error {
	f, err := os.Open(filepath.Join(p.dir, filepath.FromSlash(e.Path)))
	if err != nil {
		return err
	}
	defer f.Close()
	u, err := p.upload(ctx, dataset.FileName, f)
	if err == nil && u.SHA256 != e.SHA256 {
		err = failure("put it again when nobody writes to it", "%s has changed meanwhile", f.Name())
	}
	return err
}

func (p *treePut) upload(ctx context.Context, name string, body io.Reader) (u api.Upload, err error) {
	query := url.Values{"name": {name}, "unpinned": {strconv.FormatBool(p.unpinned)}}
	return u, p.client.stream(ctx, http.MethodPost, "uploads", query, nil, body, &u)
}
