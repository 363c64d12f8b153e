package main

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"

	"shatabdi/swarmcache/download"
	"shatabdi/swarmcache/source"
)

// Sources are where objects come from beyond HTTP.
type Sources struct {
	File     FileSource        `yaml:"file"`
	S3       S3Source          `yaml:"s3"`
	OCI      OCISource         `yaml:"oci"`
	Commands map[string]string `yaml:"commands"`
}

// FileSource is for file:///PATH.
type FileSource struct {
	Directories []string `yaml:"directories"`
}

// S3Source is for s3://BUCKET/KEY.
type S3Source struct {
	Buckets         []string `yaml:"buckets"`
	Endpoint        string   `yaml:"endpoint"`
	Region          string   `yaml:"region"`
	PathStyle       bool     `yaml:"path_style"`
	CredentialsFile string   `yaml:"credentials_file"`
	Profile         string   `yaml:"profile"`
}

// OCISource is for oci://REGISTRY/REPOSITORY:TAG.
type OCISource struct {
	CredentialsFile string   `yaml:"credentials_file"`
	Platform        string   `yaml:"platform"`
	Insecure        []string `yaml:"insecure"`
}

// schemes are those that have a source.
func (s Sources) schemes() []string {
	return append(sortedKeys(s.Commands), source.Schemes...)
}

// open returns what answers for them. dial connects to hosts that clients choose.
func (s Sources) open(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *source.Sources {
	return source.New(source.Config{
		Directories: s.File.Directories,
		S3: source.S3{
			Buckets: s.S3.Buckets, Endpoint: s.S3.Endpoint, Region: s.S3.Region, PathStyle: s.S3.PathStyle,
			CredentialsFile: s.S3.CredentialsFile, Profile: s.S3.Profile,
		},
		Registry: source.Registry{CredentialsFile: s.OCI.CredentialsFile, Platform: s.OCI.Platform, Insecure: s.OCI.Insecure},
		Commands: s.Commands, Dial: dial,
	})
}

// list is what a URL stands for that is no object itself: a dataset, or what a source
// says.
func (p *parts) list(ctx context.Context, raw string) (specs []download.Spec, err error) {
	if sum, ok := isDataset(raw); ok {
		m, err := getManifest(ctx, p.proxy, raw)
		if err != nil {
			return nil, err
		}
		specs = append(specs, download.Spec{URL: raw, SHA256: sum})
		for _, e := range m.Files() {
			specs = append(specs, download.Spec{URL: fileURL(e), SHA256: e.SHA256})
		}
		return specs, nil
	}
	items, err := p.sources.List(ctx, raw)
	for _, i := range items {
		specs = append(specs, download.Spec{URL: i.URL, SHA256: i.SHA256})
	}
	return specs, err
}

// carriers are s by scheme, for the client that talks to origins.
func carriers(s *source.Sources) map[string]http.RoundTripper {
	by := map[string]http.RoundTripper{}
	for _, scheme := range s.Schemes() {
		by[scheme] = s
	}
	return by
}

var schemeForm = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)

func (v *validator) sources(s Sources) {
	v.directories("sources.file.directories", s.File.Directories)
	if s.S3.Endpoint != "" {
		v.endpoint("sources.s3.endpoint", s.S3.Endpoint)
	}
	for key, file := range map[string]string{"sources.s3.credentials_file": s.S3.CredentialsFile, "sources.oci.credentials_file": s.OCI.CredentialsFile} {
		v.require(file == "" || filepath.IsAbs(file), key, "%q; want an absolute path", file)
	}
	for _, scheme := range sortedKeys(s.Commands) {
		key := "sources.commands." + scheme
		switch {
		case scheme == "http", scheme == "https", scheme == "shatabdi", scheme == "file", scheme == "s3", scheme == "oci", !schemeForm.MatchString(scheme):
			v.add(key, "%q; want a scheme of your own, in small letters", scheme)
		case !strings.HasPrefix(s.Commands[scheme], "/"):
			v.add(key, "%q; want the absolute path of a command, and its arguments", s.Commands[scheme])
		}
	}
}
