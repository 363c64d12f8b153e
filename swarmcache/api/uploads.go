package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"syscall"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/download"
)

// Upload is what became of bytes that were put into the cluster.
type Upload struct {
	Object    swarmcache.ObjectID `json:"object" pattern:"^[0-9a-f]{64}$"`
	Address   string              `json:"address" doc:"shatabdi://SHA256/NAME, for people and for shatabdi get."`
	URL       string              `json:"url" doc:"The same for any client of any node's proxy. There is no such host: the proxies answer for it."`
	SHA256    string              `json:"sha256" pattern:"^[0-9a-f]{64}$"`
	Length    int64               `json:"length" minimum:"1"`
	InfoHash  string              `json:"infohash,omitempty" pattern:"^[0-9a-f]{40}$"`
	Magnet    string              `json:"magnet,omitempty"`
	Pinned    bool                `json:"pinned"`
	Published bool                `json:"published" doc:"The others can find it. false: the directory is away, and will be told."`
}

// UploadOrder names a file of this machine.
type UploadOrder struct {
	Path string `json:"path" minLength:"1" maxLength:"4096" doc:"Absolute path of a regular file, in one of the directories that uploads.directories allows."`
	Name string `json:"name,omitempty" maxLength:"255" doc:"What it is called; by default as the file is."`
}

// uploading is a request to create an upload, with its body unread.
type uploading struct {
	Name     string `query:"name" maxLength:"255" doc:"What a stream is called."`
	Unpinned bool   `query:"unpinned" doc:"It may go when space is short, although no origin has it."`

	kind string
	body io.Reader
}

// Resolve implements huma.Resolver: a body may be of any length.
func (u *uploading) Resolve(ctx huma.Context) []error {
	u.kind, _, _ = mime.ParseMediaType(ctx.Header("Content-Type"))
	u.body = ctx.BodyReader()
	return nil
}

func (s *service) registerUploads(api huma.API) {
	op := operation("create-upload", http.MethodPost, "uploads", "Put a file into the cluster")
	op.Description = "Either the file's bytes as application/octet-stream, with its name in the query, or a path as application/json. " +
		"It becomes an object with an address of its own, found by every node's proxy, and is pinned here, as no origin has it. The same bytes under the same name are the same object."
	op.DefaultStatus = http.StatusCreated
	huma.Register(api, op, func(ctx context.Context, in *uploading) (*struct{ Body Upload }, error) {
		body, name := io.NopCloser(in.body), in.Name
		switch in.kind {
		case "application/octet-stream":
		case "application/json":
			var err error
			if body, name, err = s.named(in); err != nil {
				return nil, problem(err)
			}
		default:
			return nil, huma.Error415UnsupportedMediaType("want application/octet-stream, or application/json with a path")
		}
		defer body.Close()
		if !swarmcache.Nameable(name) {
			return nil, invalid("name", "want the name of a file, without / and control characters")
		}
		u, err := s.upload(ctx, name, body, !in.Unpinned)
		if err != nil {
			return nil, problem(err)
		}
		return &struct{ Body Upload }{u}, nil
	})
	order := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[UploadOrder](), true, "UploadOrder")
	// After the registration: what is described before it, huma reads whole.
	api.OpenAPI().Paths[op.Path].Post.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json":         {Schema: order},
		"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}},
	}}
	s.registerPutUpload(api)
}

// named opens the file that an order names.
func (s *service) named(in *uploading) (io.ReadCloser, string, error) {
	var order UploadOrder
	dec := json.NewDecoder(io.LimitReader(in.body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&order); err != nil {
		return nil, "", invalid("body", err.Error())
	}
	root, rel, err := download.Within(s.UploadDirectories, order.Path)
	if err != nil {
		return nil, "", err
	}
	defer root.Close()
	f, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not hold us up
	if err != nil {
		return nil, "", err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, "", invalid("body.path", "is no regular file")
	}
	if order.Name == "" {
		order.Name = filepath.Base(order.Path)
	}
	return f, order.Name, nil
}

func (s *service) upload(ctx context.Context, name string, body io.Reader, pin bool) (Upload, error) {
	r, err := s.Cache.Put(ctx, name, s.keyOf, body)
	if err == nil && pin && !r.Pinned {
		err = s.Cache.SetPinned(r.Version.ID, true)
		r.Pinned = err == nil
	}
	if err != nil {
		return Upload{}, err
	}
	return uploaded(r, name), nil
}

// keyOf is what selects what is put.
func (s *service) keyOf(u *url.URL) policy.Key {
	return s.Rules().Route(policy.Request{Method: http.MethodGet, URL: u}).Key
}

func uploaded(r swarmcache.Record, name string) Upload {
	v, u := r.Version, swarmcache.PutURL(r.Version.SHA256, name)
	up := Upload{
		Object: v.ID, Address: swarmcache.PutAddress(u), URL: u.String(), SHA256: v.SHA256, Length: v.Length,
		Pinned: r.Pinned, Published: !r.Untold,
	}
	if !v.InfoHash.IsZero() {
		up.InfoHash = v.InfoHash.String()
		up.Magnet = fmt.Sprintf("magnet:?xt=urn:btih:%s&dn=%s&xl=%d", up.InfoHash, url.QueryEscape(name), v.Length)
	}
	return up
}
