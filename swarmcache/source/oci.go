package source

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"shatabdi/swarmcache/layout"
)

// Registry says how registries of images are asked.
type Registry struct {
	// CredentialsFile is a config.json of docker's; empty: there are no credentials.
	CredentialsFile string
	// Platform is the one of an image that is taken where its URL names none, as
	// os/arch[/variant]; empty: this node's.
	Platform string
	// Insecure are registries, HOST[:PORT], that are asked over http. Those on
	// loopback and private addresses are anyway, if they do not speak TLS.
	Insecure []string
}

// registries of images. oci://HOST/REPOSITORY:TAG or @DIGEST is an image, which
// stands for its manifest, configuration and layers; ?platform= takes another
// than the default, or all. What it stands for has URLs by digest:
// oci://HOST/REPOSITORY/blobs/DIGEST and /manifests/DIGEST.
type registries struct {
	cfg  Registry
	base http.RoundTripper

	mu    sync.Mutex // guards conns
	conns map[string]conn
}

// conn asks for what is in one repository, with what the registry granted.
type conn struct {
	http.RoundTripper
	made time.Time
}

// connStands is how long a conn is used before the credentials are looked at again.
const connStands = 10 * time.Minute

func newRegistries(cfg Registry, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *registries {
	return &registries{cfg: cfg, conns: map[string]conn{}, base: &http.Transport{
		DialContext: dial, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 16,
		ResponseHeaderTimeout: time.Minute, DisableCompression: true,
	}}
}

// byDigest is the path of what has its digest for a name.
var byDigest = regexp.MustCompile(`^/(.+)/(blobs|manifests)/(sha256:[0-9a-f]{64})$`)

// held is one thing in a repository, by digest.
type held struct {
	repo   name.Repository
	kind   string // blobs or manifests
	digest string
}

func (r *registries) held(u *url.URL) (held, error) {
	m := byDigest.FindStringSubmatch(u.Path)
	if m == nil {
		return held{}, &Error{http.StatusBadRequest, "an image is many objects", "`shatabdi get " + u.String() + " -o DIR/` gets all of them, warm has them in the cache"}
	}
	repo, err := name.NewRepository(u.Host+"/"+m[1], r.options(u.Host)...)
	if err != nil || u.RawQuery != "" {
		return held{}, malformed("want oci://HOST/REPOSITORY/%s/%s", m[2], m[3])
	}
	return held{repo, m[2], m[3]}, nil
}

func (r *registries) options(host string) []name.Option {
	if slices.Contains(r.cfg.Insecure, host) {
		return []name.Option{name.Insecure}
	}
	return nil
}

func (r *registries) Stat(ctx context.Context, u *url.URL) (Info, error) {
	h, err := r.held(u)
	if err != nil {
		return Info{}, err
	}
	res, err := r.ask(ctx, http.MethodHead, h, nil)
	if err != nil {
		return Info{}, err
	}
	res.Body.Close()
	if res.ContentLength < 0 {
		return Info{}, fmt.Errorf("%s does not tell the length of %s", h.repo.RegistryStr(), h.digest)
	}
	i := Info{Length: res.ContentLength, Validator: h.digest, ContentType: "application/octet-stream", Immutable: true}
	if h.kind == "manifests" {
		i.ContentType = res.Header.Get("Content-Type")
	}
	return i, nil
}

func (r *registries) Open(ctx context.Context, u *url.URL, i Info, want layout.Range) (io.ReadCloser, error) {
	h, err := r.held(u)
	if err != nil {
		return nil, err
	}
	var ranges *layout.Range
	if whole := (layout.Range{To: i.Length}); want != whole {
		ranges = &want
	}
	res, err := r.ask(ctx, http.MethodGet, h, ranges)
	if err != nil {
		return nil, err
	}
	if ranges != nil && res.StatusCode == http.StatusOK { // no ranges there: what comes before is read for nothing
		if _, err := io.CopyN(io.Discard, res.Body, want.From); err != nil {
			res.Body.Close()
			return nil, err
		}
	}
	if ranges != nil && res.StatusCode == http.StatusPartialContent {
		if told := fmt.Sprintf("bytes %d-%d/%d", want.From, want.To-1, i.Length); res.Header.Get("Content-Range") != told {
			res.Body.Close()
			return nil, fmt.Errorf("%s answers with other bytes of %s", h.repo.RegistryStr(), h.digest)
		}
	}
	return res.Body, nil
}

// ask sends a request about h, as often as redirects want.
func (r *registries) ask(ctx context.Context, method string, h held, want *layout.Range) (*http.Response, error) {
	rt, err := r.conn(ctx, h.repo)
	if err != nil {
		return nil, r.explain(h.repo, h.digest, err)
	}
	at := fmt.Sprintf("%s://%s/v2/%s/%s/%s", h.repo.Scheme(), h.repo.RegistryStr(), h.repo.RepositoryStr(), h.kind, h.digest)
	req, err := http.NewRequestWithContext(ctx, method, at, nil)
	if err != nil {
		return nil, err
	}
	if h.kind == "manifests" {
		req.Header.Set("Accept", "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "+
			"application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json")
	}
	if want != nil {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", want.From, want.To-1))
	}
	res, err := (&http.Client{Transport: rt}).Do(req)
	if err != nil {
		return nil, r.explain(h.repo, h.digest, err)
	}
	if err := transport.CheckError(res, http.StatusOK, http.StatusPartialContent); err != nil {
		res.Body.Close()
		return nil, r.explain(h.repo, h.digest, err)
	}
	return res, nil
}

// conn is a way to repo, with the token that the registry gives for it.
func (r *registries) conn(ctx context.Context, repo name.Repository) (http.RoundTripper, error) {
	r.mu.Lock()
	c, ok := r.conns[repo.Name()]
	r.mu.Unlock()
	if ok && time.Since(c.made) < connStands {
		return c, nil
	}
	auth, err := authn.Resolve(ctx, r.keychain(), repo)
	if err != nil {
		return nil, err
	}
	rt, err := transport.NewWithContext(ctx, repo.Registry, auth, r.base, []string{repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.conns) >= maxConns {
		clear(r.conns)
	}
	r.conns[repo.Name()] = conn{rt, time.Now()}
	return rt, nil
}

// maxConns are remembered.
const maxConns = 256

// List takes an image apart. An index comes with it, so that who has all of it has
// the image as its tag names it.
func (r *registries) List(ctx context.Context, u *url.URL) ([]Item, error) {
	if byDigest.MatchString(u.Path) {
		return nil, nil
	}
	ref, platform, err := r.image(u)
	if err != nil {
		return nil, err
	}
	auth, err := authn.Resolve(ctx, r.keychain(), ref.Context())
	if err != nil {
		return nil, r.explain(ref.Context(), ref.Identifier(), err)
	}
	opts := []remote.Option{remote.WithContext(ctx), remote.WithTransport(r.base), remote.WithAuth(auth)}
	l := listing{repo: ref.Context(), at: url.URL{Scheme: "oci", Host: u.Host}, opts: opts}
	if err := l.add(ref, platform); err != nil {
		return nil, r.explain(ref.Context(), ref.Identifier(), err)
	}
	return l.items, nil
}

// image is what u names; no platform: all of them.
func (r *registries) image(u *url.URL) (name.Reference, *v1.Platform, error) {
	ref, err := name.ParseReference(u.Host+u.Path, r.options(u.Host)...)
	q := u.Query()
	wanted := cmp.Or(q.Get("platform"), r.cfg.Platform, "linux/"+runtime.GOARCH)
	q.Del("platform")
	if err != nil || len(q) > 0 || u.Host == "" {
		return nil, nil, malformed("want oci://HOST/REPOSITORY:TAG or @sha256:DIGEST, and at most ?platform=OS/ARCH or all")
	}
	if wanted == "all" {
		return ref, nil, nil
	}
	platform, err := v1.ParsePlatform(wanted)
	if err != nil || platform.Architecture == "" {
		return nil, nil, malformed("%q is no platform; want OS/ARCH[/VARIANT], such as linux/arm64, or all", wanted)
	}
	return ref, platform, nil
}

// listing is an image being taken apart.
type listing struct {
	repo  name.Repository
	at    url.URL
	opts  []remote.Option
	items []Item
}

func (l *listing) add(ref name.Reference, platform *v1.Platform) error {
	d, err := remote.Get(ref, l.opts...)
	if err != nil {
		return err
	}
	if err := l.item("manifests", v1.Descriptor{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}); err != nil {
		return err
	}
	if !d.MediaType.IsIndex() {
		return l.image(d.Manifest)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(d.Manifest))
	if err != nil {
		return err
	}
	var has []string
	found := false
	for _, m := range index.Manifests {
		switch {
		case platform == nil:
		case m.Platform == nil || !m.Platform.Satisfies(*platform):
			if m.Platform != nil {
				has = append(has, m.Platform.String())
			}
			continue
		}
		found = true
		if err := l.add(l.repo.Digest(m.Digest.String()), nil); err != nil {
			return err
		}
		if platform != nil {
			break // the first is the one that is run
		}
	}
	if !found {
		return &Error{http.StatusNotFound, fmt.Sprintf("%s is not there for %s", ref, platform), "choose with ?platform= among " + strings.Join(has, ", ") + ", or all"}
	}
	return nil
}

func (l *listing) image(manifest []byte) error {
	m, err := v1.ParseManifest(bytes.NewReader(manifest))
	if err != nil {
		return err
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if len(d.URLs) > 0 {
			continue // held elsewhere, for its licence
		}
		if err := l.item("blobs", d); err != nil {
			return err
		}
	}
	return nil
}

func (l *listing) item(kind string, d v1.Descriptor) error {
	u := l.at
	u.Path = "/" + path.Join(l.repo.RepositoryStr(), kind, d.Digest.String())
	if !byDigest.MatchString(u.Path) {
		return fmt.Errorf("its digest %s is of a kind that is not known here", d.Digest)
	}
	item := Item{URL: u.String(), Name: "blobs/sha256/" + d.Digest.Hex, SHA256: d.Digest.Hex, Length: d.Size, Type: string(d.MediaType)}
	if !slices.Contains(l.items, item) {
		l.items = append(l.items, item)
	}
	if len(l.items) > MaxItems {
		return errMany()
	}
	return nil
}

// keychain finds credentials, each time anew: files are rewritten.
func (r *registries) keychain() authn.Keychain {
	return dockerConfig(r.cfg.CredentialsFile)
}

// dockerConfig is a file in the format of docker's config.json.
type dockerConfig string

// Resolve implements authn.Keychain.
func (file dockerConfig) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if file == "" {
		return authn.Anonymous, nil
	}
	text, err := os.ReadFile(string(file))
	if err != nil {
		return nil, forbidden("", "the credentials for %s cannot be read: %v", r.RegistryStr(), err)
	}
	var config struct {
		Auths map[string]authn.AuthConfig `json:"auths"`
	}
	if json.Unmarshal(text, &config) != nil { // its error may quote the file
		return nil, forbidden("", "%s is no config.json of docker's", file)
	}
	for _, key := range []string{r.String(), r.RegistryStr(), "https://" + r.RegistryStr(), "https://" + r.RegistryStr() + "/v1/"} {
		if auth, ok := config.Auths[key]; ok {
			return authn.FromConfig(auth), nil
		}
	}
	return authn.Anonymous, nil
}

// explain says what a registry refuses, and which credentials that is about;
// never what is in them.
func (r *registries) explain(repo name.Repository, what string, err error) error {
	var (
		ours    *Error
		theirs  *transport.Error
		network *url.Error
	)
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &theirs) && (theirs.StatusCode == http.StatusUnauthorized || theirs.StatusCode == http.StatusForbidden):
		if auth, err := r.keychain().Resolve(repo); err == nil && auth == authn.Anonymous {
			return forbidden("sources.oci.credentials_file names a config.json of docker's", "%s wants credentials for %s, and there are none", repo.RegistryStr(), repo.RepositoryStr())
		}
		return forbidden("", "%s refuses the credentials from %s for %s", repo.RegistryStr(), r.cfg.CredentialsFile, repo.RepositoryStr())
	case errors.As(err, &theirs) && theirs.StatusCode == http.StatusNotFound:
		return notFound("there is no %s in %s", what, repo.Name())
	case errors.As(err, &theirs):
		return fmt.Errorf("%s answers with %d about %s", repo.RegistryStr(), theirs.StatusCode, what)
	case errors.As(err, &network):
		err = network.Err // its URL may be a signed one
	}
	return fmt.Errorf("%s cannot be asked about %s: %w", repo.RegistryStr(), what, err)
}
