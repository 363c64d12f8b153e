package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Purged tells what a purge did.
type Purged struct {
	Key     policy.Key `json:"key" doc:"What the URL means to the cache."`
	Removed bool       `json:"removed" doc:"This node had something under it."`
}

func (s *service) registerPurge(api huma.API) {
	op := operation("purge", http.MethodPost, "purge", "Make every node forget what a URL selects")
	op.Description = "This node forgets it before the answer, the others at once, and those that are away when they come again, " +
		"within a week. Who is reading it reads on. 503: this node is done, the directory is away; ask again."
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Body struct {
			URL string `json:"url" minLength:"1" maxLength:"8192" doc:"As clients ask for it, http:// or https://"`
		}
	}) (*struct{ Body Purged }, error) {
		p, err := s.purge(ctx, in.Body.URL)
		if err != nil {
			return nil, problem(err)
		}
		return &struct{ Body Purged }{p}, nil
	})
}

func (s *service) purge(ctx context.Context, rawURL string) (Purged, error) {
	key, err := s.key(rawURL, "body.url")
	if err != nil {
		return Purged{}, err
	}
	had, err := s.Cache.Purge(ctx, key)
	return Purged{key, had}, err
}

// key is what the rules make of a URL that clients ask for.
func (s *service) key(rawURL, where string) (policy.Key, error) {
	u, err := url.Parse(swarmcache.Resolve(rawURL))
	if err == nil {
		if key := s.Rules().Route(policy.Request{Method: http.MethodGet, URL: u}).Key; key != "" {
			return key, nil
		}
	}
	return "", huma.Error422UnprocessableEntity("validation failed",
		&huma.ErrorDetail{Location: where, Message: "want an absolute http:// or https:// URL"})
}

// absentIsNone makes nothing found an answer.
func absentIsNone(err error) error {
	if errors.Is(err, swarmcache.ErrNotFound) {
		return nil
	}
	return err
}
