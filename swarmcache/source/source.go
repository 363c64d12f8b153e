// Package source is where bytes come from beyond HTTP: files of this machine, S3,
// registries of images, and commands that an operator names.
//
// To the rest a source is an origin like any other: Sources is an http.RoundTripper
// that answers GET and HEAD of a source's URLs with length, strong validator and
// ranges. So claims, spans and revalidation know of HTTP only, and the key of an
// object is its source's URL.
//
// It promises: bytes of two versions are never mixed, and no credential gets into
// a URL, a response, an error or a log. Who may ask is left to the caller: what a
// source's credentials open, everybody who may use the proxy can read.
//
// It is the door to minio-go and go-containerregistry.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"shatabdi/swarmcache/layout"
)

// Source has objects under the URLs of one scheme. What is asked of it is what
// was cleaned before: absolute URLs without user and fragment.
type Source interface {
	// Stat tells what stands at u now.
	Stat(ctx context.Context, u *url.URL) (Info, error)
	// Open reads r of the version that i tells of. No byte of another one comes:
	// the error is ErrChanged, of Open or of a Read. The caller closes.
	Open(ctx context.Context, u *url.URL, i Info, r layout.Range) (io.ReadCloser, error)
}

// Lister is a Source where a URL can stand for many objects.
type Lister interface {
	// List returns what u stands for; nil: u is an object itself.
	List(ctx context.Context, u *url.URL) ([]Item, error)
}

// Info is what is known of one version of an object.
type Info struct {
	Length      int64
	Validator   string // two versions differ in it; empty: nothing tells them apart
	Modified    time.Time
	ContentType string
	// Immutable: at this URL there will never be anything else.
	Immutable bool
}

// Item is one of the objects that a URL stands for.
type Item struct {
	URL    string
	Name   string // of a file for it: a relative path
	SHA256 string // hex; empty: not known
	Length int64
	Type   string // media type; empty: not known
}

// MaxItems bounds what a URL may stand for.
const MaxItems = 10_000

// Config of the sources of a node. The zero value works: registries without
// credentials, and neither files nor buckets.
type Config struct {
	// Directories are those whose files may be read; none: no file may.
	Directories []string
	S3          S3
	Registry    Registry
	// Commands answer for other schemes, by scheme; see command.go.
	Commands map[string]string
	// Dial connects to registries, which clients may choose; nil: as usual.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Schemes are those that are always known.
var Schemes = []string{"file", "oci", "s3"}

// Sources are those of a node.
type Sources struct {
	byScheme map[string]Source
	now      func() time.Time

	mu    sync.Mutex // guards infos
	infos map[string]Info
}

// New returns the sources of a node. It starts nothing, and looks at nothing: what
// is wrong with credentials turns out when they are needed.
func New(cfg Config) *Sources {
	s := &Sources{now: time.Now, infos: map[string]Info{}, byScheme: map[string]Source{
		"file": files{cfg.Directories},
		"s3":   newBuckets(cfg.S3),
		"oci":  newRegistries(cfg.Registry, cfg.Dial),
	}}
	for scheme, line := range cfg.Commands {
		s.byScheme[scheme] = command{strings.Fields(line)}
	}
	return s
}

// Schemes are the schemes that have a source.
func (s *Sources) Schemes() (all []string) {
	for scheme := range s.byScheme {
		all = append(all, scheme)
	}
	slices.Sort(all)
	return all
}

// List returns what raw stands for; nil: it is an object itself, or of HTTP.
func (s *Sources) List(ctx context.Context, raw string) ([]Item, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	l, ok := s.byScheme[strings.ToLower(u.Scheme)].(Lister)
	if !ok {
		return nil, nil
	}
	items, err := l.List(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", u.Redacted(), err)
	}
	return items, nil
}

// Error is what a source answers instead of bytes. It holds no secret.
type Error struct {
	Status int    // of HTTP, that says it best
	Text   string // one line
	Hint   string // what to try; may be empty
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Text
	}
	return e.Text + "; " + e.Hint
}

func notFound(format string, args ...any) error {
	return &Error{Status: http.StatusNotFound, Text: fmt.Sprintf(format, args...)}
}

func forbidden(hint, format string, args ...any) error {
	return &Error{Status: http.StatusForbidden, Text: fmt.Sprintf(format, args...), Hint: hint}
}

func malformed(format string, args ...any) error {
	return &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf(format, args...)}
}

// ErrChanged: what is there now is another version.
var ErrChanged = errors.New("it has changed meanwhile")

// errMany is the answer where a URL stands for more than MaxItems.
func errMany() error {
	return &Error{http.StatusRequestEntityTooLarge, fmt.Sprintf("more than %d objects are there", MaxItems), "name a part of them"}
}
