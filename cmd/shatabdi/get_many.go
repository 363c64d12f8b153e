package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"shatabdi/swarmcache/api"
)

// wanted is one object to get.
type wanted struct {
	url    string
	file   string // one of many: where it goes in the directory for them
	sha256 string
	path   string // exactly where it goes, if that is settled
	shown  string // and what it is called then
}

// expand tells what urls stand for. What is many goes into a directory, which must
// have been named.
func (g *getting) expand(ctx context.Context, urls []string) (all []wanted, err error) {
	for _, raw := range urls {
		if scheme, _, _ := strings.Cut(raw, "://"); scheme == "http" || scheme == "https" {
			all = append(all, wanted{url: raw, sha256: g.sha256})
			continue
		}
		var l api.Listing
		if err := g.client.patiently(2*time.Minute).get(ctx, "sources", url.Values{"url": {raw}}, &l); err != nil {
			return nil, err
		}
		if !l.Many {
			all = append(all, wanted{url: raw, sha256: g.sha256})
			continue
		}
		if g.sha256 != "" || g.output == "" || !isDir(g.output) && !strings.HasSuffix(g.output, "/") {
			return nil, usage("-o DIR/ names a directory for them", "%s stands for %d objects", raw, len(l.Items))
		}
		for _, i := range l.Items {
			all = append(all, wanted{url: i.URL, file: i.Name, sha256: i.SHA256})
		}
		if strings.HasPrefix(raw, "oci://") {
			if err := ociLayout(g.output, raw, l.Items); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// place makes room for one of many in dir. No name: it is there already.
func (w wanted) place(dir string) (string, error) {
	name := filepath.Join(dir, filepath.FromSlash(w.file))
	if !filepath.IsLocal(filepath.FromSlash(w.file)) {
		return "", failure("get it by itself, with -o FILE", "%s: its name leads out of %s", w.url, dir)
	}
	if _, err := os.Lstat(name); err == nil {
		if w.sha256 != "" && digestOf(name) == w.sha256 {
			return "", nil
		}
		return "", failure("remove it", "%s is there already", name)
	}
	return name, os.MkdirAll(filepath.Dir(name), 0o777)
}

// digestOf is the SHA-256 of a regular file; empty: there is none.
func digestOf(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	sum := sha256.New()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	if _, err := io.Copy(sum, f); err != nil {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// ociLayout writes what tools need to find an image in a directory of blobs (OCI
// image layout, version 1).
func ociLayout(dir, raw string, items []api.ListingItem) error {
	type descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int64             `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	var manifests []api.ListingItem
	for _, i := range items {
		if strings.Contains(i.URL, "/manifests/") {
			manifests = append(manifests, i)
		}
	}
	root := manifests[0]
	if len(manifests) == 2 { // an index, and the one image of it that was chosen
		root = manifests[1]
	}
	d := descriptor{root.Type, "sha256:" + root.SHA256, root.Length, nil}
	if u, err := url.Parse(raw); err == nil && !strings.Contains(u.Path, "@") {
		if _, tag, ok := strings.Cut(filepath.Base(u.Path), ":"); ok {
			d.Annotations = map[string]string{"org.opencontainers.image.ref.name": tag}
		}
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{d}})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o666); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "index.json"), index, 0o666)
}
