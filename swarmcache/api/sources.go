package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/swarmcache/source"
)

// Listing is what a URL of a source stands for.
type Listing struct {
	URL   string        `json:"url"`
	Many  bool          `json:"many" doc:"false: it is an object itself, or has no source, and there are no objects here."`
	Items []ListingItem `json:"objects" nullable:"false"`
}

// ListingItem is one of many objects.
type ListingItem struct {
	URL    string `json:"url"`
	Name   string `json:"name" doc:"Of a file for it: a path, relative to where all of them go."`
	SHA256 string `json:"sha256,omitempty" pattern:"^[0-9a-f]{64}$" doc:"What it has to be, where that is known."`
	Length int64  `json:"length" minimum:"0" doc:"0 where it is not known."`
	Type   string `json:"media_type,omitempty"`
}

// Sources is the part of a *source.Sources that the API needs.
type Sources interface {
	// List returns what a URL stands for; nil: an object itself.
	List(ctx context.Context, url string) ([]source.Item, error)
}

func (s *service) registerSources(api huma.API) {
	op := operation("list-source", http.MethodGet, "sources", "What a URL of a source stands for")
	op.Description = "s3://BUCKET/PREFIX/ and file:///DIRECTORY/ stand for all below them, oci://REGISTRY/REPOSITORY:TAG for what an image consists of. A warm-up takes them as they are; a download is of one object."
	huma.Register(api, op, func(ctx context.Context, in *struct {
		URL string `query:"url" required:"true" minLength:"1" maxLength:"8192"`
	}) (*struct{ Body Listing }, error) {
		u, err := s.fetchable(in.URL, "query.url")
		if err != nil {
			return nil, err
		}
		items, err := s.Sources.List(ctx, u)
		if err != nil {
			return nil, sourceProblem(err)
		}
		l := Listing{URL: in.URL, Many: items != nil, Items: []ListingItem{}}
		for _, i := range items {
			l.Items = append(l.Items, ListingItem{URL: i.URL, Name: i.Name, SHA256: i.SHA256, Length: i.Length, Type: i.Type})
		}
		return &struct{ Body Listing }{l}, nil
	})
}

// sourceProblem is what a source says instead of a listing.
func sourceProblem(err error) error {
	var refused *source.Error
	if errors.As(err, &refused) {
		return huma.NewError(refused.Status, err.Error())
	}
	return huma.Error502BadGateway(err.Error())
}
