package api

import (
	"context"
	"io"
	"mime"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"shatabdi/swarmcache"
)

// placing is a request to put a file where it belongs, with its body unread.
type placing struct {
	SHA256      string   `path:"sha256" pattern:"^[0-9a-f]{64}$" doc:"That the bytes have."`
	Name        string   `path:"name" maxLength:"255" doc:"What it is called."`
	Unpinned    bool     `query:"unpinned" doc:"It may go when space is short, although no origin has it."`
	IfMatch     []string `header:"If-Match" doc:"Entity tags, or *: put it only where the cluster has it already."`
	IfNoneMatch []string `header:"If-None-Match" doc:"* : create it, or 412. Of several that do so at once, on whichever nodes, one does."`

	fields http.Header
	kind   string
	body   io.Reader
}

// Resolve implements huma.Resolver: a body may be of any length, and a field of
// several lines.
func (p *placing) Resolve(ctx huma.Context) []error {
	r, w := humago.Unwrap(ctx)
	p.fields, p.body = r.Header, swarmcache.Unstalled(w, ctx.BodyReader(), swarmcache.StallPut)
	p.kind, _, _ = mime.ParseMediaType(ctx.Header("Content-Type"))
	return nil
}

// placed is the answer: 201 where there was nothing, 200 where there was.
type placed struct {
	Status int
	ETag   string `header:"ETag"`
	Body   Upload
}

func (s *service) registerPutUpload(api huma.API) {
	op := operation("put-upload", http.MethodPut, "uploads/{sha256}/{name}", "Put a file into the cluster, at its address")
	op.Description = "As create-upload of a stream, for who knows its SHA-256 before: other bytes are 422. Its entity tag is \"SHA256\". " +
		"A precondition is evaluated before the body is read (Expect: 100-continue spares it), and for the whole cluster; 503: that cannot be asked."
	op.DefaultStatus = http.StatusCreated
	huma.Register(api, op, func(ctx context.Context, in *placing) (*placed, error) {
		if in.kind != "application/octet-stream" {
			return nil, huma.Error415UnsupportedMediaType("want application/octet-stream")
		}
		if len(in.fields["Content-Range"]) > 0 { // RFC 9110 §14.5
			return nil, huma.Error400BadRequest("a part of a file cannot be put")
		}
		if !swarmcache.Nameable(in.Name) {
			return nil, invalid("path.name", "want the name of a file, without / and control characters")
		}
		at := swarmcache.Place{SHA256: in.SHA256, Name: in.Name, Pin: !in.Unpinned}
		r, created, err := s.Cache.PutAt(ctx, at, s.keyOf, at.Precondition(in.fields), in.body)
		if err != nil {
			return nil, problem(err)
		}
		out := &placed{http.StatusOK, at.Tag(), uploaded(r, in.Name)}
		if created {
			out.Status = http.StatusCreated
		}
		return out, nil
	})
	put := api.OpenAPI().Paths[op.Path].Put
	put.Responses["200"] = put.Responses["201"]
	put.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}},
	}}
}
