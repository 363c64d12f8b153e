package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Purged tells what a purge did.
type Purged struct {
	Key     policy.Key `json:"key" doc:"What the URL means to the cache."`
	Removed bool       `json:"removed" doc:"This node had something under it."`
	Count   int        `json:"count" minimum:"0" doc:"So many responses: the variants of one URL are several."`
	DryRun  bool       `json:"dry_run" doc:"Nothing was done."`
}

// PurgeURL is what one URL selects.
type PurgeURL struct {
	URL    string `json:"url" minLength:"1" maxLength:"8192" doc:"As clients ask for it, http:// or https://"`
	Scope  string `json:"scope,omitempty" enum:"node,cluster" default:"cluster" doc:"node: this one alone, which may get it from the others again."`
	Soft   bool   `json:"soft,omitempty" doc:"It stays, and the origin must confirm it before any node uses it again; small responses go."`
	DryRun bool   `json:"dry_run,omitempty" doc:"Tell only what would be: removed and count are of this node's objects, what is small and in memory left out, and with scope cluster of those that the directory knows beside them."`
}

func (s *service) registerPurge(api huma.API) {
	op := operation("purge", http.MethodPost, "purge", "Make every node forget what a URL selects")
	op.Description = "This node forgets it before the answer, the others at once, and those that are away when they come again, " +
		"within a week. Who is reading it reads on. 503: this node is done, the directory is away; ask again."
	huma.Register(api, op, func(ctx context.Context, in *struct{ Body PurgeURL }) (*struct{ Body Purged }, error) {
		p, err := s.purge(ctx, in.Body)
		if err != nil {
			return nil, problem(err)
		}
		return &struct{ Body Purged }{p}, nil
	})
}

// PurgeOrder chooses what is to be forgotten; at least one of the first four is
// given, and all that are must fit.
type PurgeOrder struct {
	Match     string `json:"match,omitempty" maxLength:"8192" doc:"Glob on the key: * and ? stand for any characters."`
	Tag       string `json:"tag,omitempty" maxLength:"1024" doc:"One that its response gives in Surrogate-Key or Cache-Tag."`
	OlderThan string `json:"older_than,omitempty" maxLength:"32" doc:"Since it came, such as 24h."`
	UnusedFor string `json:"unused_for,omitempty" maxLength:"32" doc:"Since it was used, such as 24h."`
	Scope     string `json:"scope,omitempty" enum:"node,cluster" default:"cluster" doc:"cluster: what the directory knows and what is found here, and every node forgets it, those that are away when they come again. Of what only others have the age counts from its last response, and nobody here knows of its use: with unused_for only what is found here goes."`
	Soft      bool   `json:"soft,omitempty" doc:"It stays, and the origin must confirm it before it is used again; small responses go."`
	DryRun    bool   `json:"dry_run,omitempty" doc:"Tell only what would be."`
}

// PurgedMany tells what was forgotten.
type PurgedMany struct {
	Count  int          `json:"count" minimum:"0"`
	Bytes  int64        `json:"bytes" minimum:"0"`
	Keys   []policy.Key `json:"keys" nullable:"false" doc:"The first thousand."`
	DryRun bool         `json:"dry_run"`
}

func (s *service) registerPurgeMany(api huma.API) {
	op := operation("purge-many", http.MethodPost, "purge-many", "Forget what a pattern, a tag or an age chooses")
	op.Description = "Objects of the swarm; what is small and in memory goes by purge. 503: the directory is away, and not all is done; ask again, or for scope node."
	huma.Register(api, op, func(ctx context.Context, in *struct{ Body PurgeOrder }) (*struct{ Body PurgedMany }, error) {
		o := in.Body
		c, err := Chosen{Match: o.Match, Tag: o.Tag, OlderThan: o.OlderThan, UnusedFor: o.UnusedFor}.read("body.")
		switch {
		case err != nil:
			return nil, err
		case c == Choice{}:
			return nil, invalid("body", "give match, tag, older_than or unused_for")
		}
		// It takes longer than the order may take to arrive.
		out, err := s.purgeMany(context.WithoutCancel(ctx), c, o)
		if err != nil {
			return nil, problem(err)
		}
		return &struct{ Body PurgedMany }{out}, nil
	})
}

func (s *service) purgeMany(ctx context.Context, c Choice, o PurgeOrder) (out PurgedMany, err error) {
	out = PurgedMany{Keys: []policy.Key{}, DryRun: o.DryRun}
	records, err := s.chosen(c)
	if err == nil && o.Scope != "node" && c.UnusedFor == 0 {
		records, err = s.chosenElsewhere(ctx, c, records)
	}
	for _, r := range records {
		key := r.Version.Key
		switch {
		case err != nil:
			return out, err
		case o.DryRun:
		case o.Soft && o.Scope == "node":
			_, err = s.Cache.Expire(key)
		case o.Soft:
			_, err = s.Cache.SoftPurge(ctx, key.Base())
		case o.Scope == "node":
			err = s.Cache.Forget(r.Version.ID)
		default:
			_, err = s.Cache.Purge(ctx, key)
		}
		if err = absentIsNone(err); err != nil {
			continue
		}
		out.Count++
		out.Bytes += r.Version.Length
		if len(out.Keys) < 1000 {
			out.Keys = append(out.Keys, key.Base())
		}
	}
	return out, err
}

// chosenElsewhere adds to the records that are meant here what the directory knows
// beside them. Each key is named once.
func (s *service) chosenElsewhere(ctx context.Context, c Choice, here []swarmcache.Record) (all []swarmcache.Record, err error) {
	named := map[policy.Key]bool{}
	once := func(r swarmcache.Record) {
		if !named[r.Version.Key] {
			named[r.Version.Key] = true
			all = append(all, r)
		}
	}
	for _, r := range here {
		once(r)
	}
	is := c.chooser(time.Now())
	err = s.Cluster.Published(ctx, func(v swarmcache.Version) {
		if r := (swarmcache.Record{Version: v, Added: v.Stored.ResponseTime.Unix()}); is(&r) {
			once(r)
		}
	})
	return all, err
}

func (s *service) purge(ctx context.Context, o PurgeURL) (p Purged, err error) {
	key, err := s.key(o.URL, "body.url")
	if err != nil {
		return p, err
	}
	p = Purged{Key: key, DryRun: o.DryRun}
	switch {
	case o.DryRun:
		p.Removed, p.Count, err = s.wouldPurge(ctx, key, o.Scope)
		return p, err
	case o.Scope == "node":
		p.Count, err = s.Cache.PurgeHere(key, o.Soft)
	case o.Soft:
		p.Count, err = s.Cache.SoftPurge(ctx, key)
	default:
		p.Count, err = s.Cache.Purge(ctx, key)
	}
	p.Removed = p.Count > 0
	return p, err
}

// wouldPurge tells what key selects: whether any of it is here, and how much there is.
func (s *service) wouldPurge(ctx context.Context, key policy.Key, scope string) (here bool, n int, err error) {
	c := Choice{Key: key}
	records, err := s.chosen(c)
	here = len(records) > 0
	if err == nil && scope != "node" {
		records, err = s.chosenElsewhere(ctx, c, records)
	}
	return here, len(records), err
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
