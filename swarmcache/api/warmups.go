package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/download"
)

// Warmup is a list of objects that caches are to have, this node's or those of
// several, as far as it has come.
type Warmup struct {
	ID       string          `json:"id" pattern:"^[0-9a-f]{20}$"`
	State    string          `json:"state" enum:"running,done,partial" doc:"partial: it is over, or waits for nodes that are away, and not everything could be had."`
	Objects  int             `json:"objects" minimum:"0"`
	Done     int             `json:"done" minimum:"0"`
	Passed   int             `json:"passed" minimum:"0" doc:"Of those done: responses that passed through, too small for the cache or not to be stored."`
	Failed   int             `json:"failed" minimum:"0"`
	NotKept  int             `json:"not_kept,omitempty" minimum:"0" doc:"It went on after a restart without so many, which it does not count otherwise: their URLs may have held credentials, which are kept nowhere. Order them again."`
	Bytes    int64           `json:"bytes" minimum:"0"`
	Total    int64           `json:"total_bytes" minimum:"0" doc:"Of those whose length is known by now."`
	From     From            `json:"from"`
	Failures []WarmupFailure `json:"failures" nullable:"false" doc:"The first twenty."`
	Created  time.Time       `json:"created"`
	Nodes    []WarmupNode    `json:"nodes,omitempty" doc:"Of a warm-up of several nodes, of which the rest is the sum; absent: it is this node's own."`
}

// WarmupFailure is an object that could not be had.
type WarmupFailure struct {
	URL   string            `json:"url"`
	Error string            `json:"error"`
	Node  swarmcache.NodeID `json:"node,omitempty" doc:"Absent: this one."`
}

// Warmups are those that are remembered.
type Warmups struct {
	Warmups []Warmup `json:"warmups" nullable:"false"`
	Next    string   `json:"next_cursor,omitempty" doc:"Pass it as cursor for the next page; absent on the last one."`
}

// WarmupOrder is a list of objects to have.
type WarmupOrder struct {
	URLs     []string `json:"urls,omitempty" maxItems:"10000" doc:"Those of a source may stand for many: s3://BUCKET/PREFIX/, oci://REGISTRY/REPOSITORY:TAG."`
	Pinned   bool     `json:"pinned,omitempty" doc:"They stay when space is short. What passes through cannot, and counts as failed."`
	Manifest string   `json:"manifest,omitempty" maxLength:"8192" doc:"URL of a list, one URL a line, # begins a comment; instead of urls, or beside them."`
	Nodes    []string `json:"nodes,omitempty" maxItems:"10000" doc:"Nodes to warm up instead of this one, by name or id, or by the first digits of that."`
	All      bool     `json:"all,omitempty" doc:"All nodes of now that do not drain."`
}

func (s *service) registerWarmups(api huma.API) {
	create := operation("create-warmup", http.MethodPost, "warmups", "Make this node's cache, or those of several, have a list of objects")
	create.Description = "They come from peers first, and from the origin once for the whole cluster. Each is a download of its own. What is not over goes on when the daemon starts again, but for URLs with a query that may be a credential (not_kept). With nodes or all it is kept in the directory: it goes on when this node does not, each node goes on with its part when it was away, and it is forgotten a day after it was last heard of. A manifest is read by each node then. URLs with a query that may be a credential are refused there, the directory is no place for them; a manifest may list some."
	create.DefaultStatus = http.StatusCreated
	create.MaxBodyBytes = 16 << 20
	huma.Register(api, create, func(ctx context.Context, in *struct{ Body WarmupOrder }) (*struct{ Body Warmup }, error) {
		// The time that an order may take to arrive does not bound its manifest's, nor that
		// of what its URLs stand for.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if in.Body.All || len(in.Body.Nodes) > 0 {
			w, err := s.startJob(ctx, in.Body)
			return &struct{ Body Warmup }{w}, err
		}
		urls, err := s.listed(ctx, in.Body)
		if err != nil {
			return nil, err
		}
		specs, err := s.Downloads.Expand(ctx, urls, in.Body.Pinned)
		if err != nil {
			return nil, sourceProblem(err)
		}
		w, err := s.Downloads.WarmDurably(specs)
		if err != nil {
			return nil, problem(err)
		}
		return &struct{ Body Warmup }{s.warmup(w)}, nil
	})

	list := operation("list-warmups", http.MethodGet, "warmups", "The warm-ups of this node, and those of several")
	list.Description = "In the order of their making; the one of the configuration, if any, is among them. Of this node's own the last hundred since it started, and what was not over before. Those of several nodes are left out while the directory is away."
	huma.Register(api, list, func(ctx context.Context, in *struct {
		Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Warm-ups on a page."`
		Cursor string `query:"cursor" pattern:"^[0-9a-f]{20}$" doc:"The next_cursor of the page before."`
	}) (*struct{ Body Warmups }, error) {
		jobs, err := s.allJobs(ctx, in.Cursor, in.Limit)
		if err != nil && !errors.Is(err, swarmcache.ErrUnavailable) {
			return nil, problem(err)
		}
		for _, w := range s.Downloads.Warmups() {
			if !w.Part {
				jobs = append(jobs, s.warmup(w))
			}
		}
		page, next := paged(jobs, Warmup.id, in.Cursor, in.Limit)
		return &struct{ Body Warmups }{Warmups{append([]Warmup{}, page...), next}}, nil
	})

	type named struct {
		ID string `path:"id" pattern:"^[0-9a-f]{20}$"`
	}
	get := operation("get-warmup", http.MethodGet, "warmups/{id}", "One warm-up")
	get.Description = "One of this node alone is told when it is over, if the caller waits; one of several nodes as it stands."
	huma.Register(api, get, func(ctx context.Context, in *struct {
		ID   string  `path:"id" pattern:"^[0-9a-f]{20}$"`
		Wait float64 `query:"wait_seconds" minimum:"0" maximum:"60" doc:"How long to wait for its end."`
	}) (*struct{ Body Warmup }, error) {
		wait := time.Duration(in.Wait * float64(time.Second))
		if w, err := s.ownWarmup(ctx, in.ID, wait); err == nil && !w.Part { // which would say nothing of the other nodes
			return &struct{ Body Warmup }{s.warmup(w)}, nil
		}
		w, err := s.oneJob(ctx, in.ID)
		return &struct{ Body Warmup }{w}, warmupProblem(err)
	})

	cancel := operation("cancel-warmup", http.MethodDelete, "warmups/{id}", "End a warm-up, on all its nodes, and forget it")
	cancel.Description = "What is there already stays."
	cancel.DefaultStatus = http.StatusNoContent
	huma.Register(api, cancel, func(ctx context.Context, in *named) (*struct{}, error) {
		return nil, warmupProblem(s.cancelWarmup(ctx, in.ID))
	})
}

// warmupProblem is problem of one that is named.
func warmupProblem(err error) error {
	if errors.Is(err, swarmcache.ErrNotFound) || errors.Is(err, download.ErrNotFound) {
		return huma.Error404NotFound("no such warm-up, or it was forgotten: a day after it was last heard of, or with the daemon that did it")
	}
	return problem(err)
}

// ownWarmup tells how far a warm-up of this node has come, when it is over or after a
// while. A part of one of several nodes is not waited for.
func (s *service) ownWarmup(ctx context.Context, id string, wait time.Duration) (download.Warmup, error) {
	w, err := s.Downloads.Warmup(id)
	if err != nil || w.Part || wait == 0 {
		return w, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if w, err = s.Downloads.Warmed(ctx, id); errors.Is(err, download.ErrNotFound) {
		return w, err // it was cancelled meanwhile
	}
	return w, nil
}

func (w Warmup) id() string { return w.ID }

// listed are the URLs of an order. Its errors are problems.
func (s *service) listed(ctx context.Context, o WarmupOrder) (urls []string, err error) {
	for i, raw := range o.URLs {
		u, err := s.fetchable(raw, fmt.Sprintf("body.urls[%d]", i))
		if err != nil {
			return nil, err
		}
		urls = append(urls, u)
	}
	if o.Manifest != "" {
		from, err := s.fetchable(o.Manifest, "body.manifest")
		if err != nil {
			return nil, err
		}
		more, err := s.Downloads.Manifest(ctx, from)
		if err != nil {
			return nil, huma.Error502BadGateway("the manifest: " + err.Error())
		}
		urls = append(urls, more...)
	}
	if len(urls) == 0 {
		return nil, invalid("body", "give urls, or a manifest that has some")
	}
	return urls, nil
}

func (s *service) warmup(w download.Warmup) Warmup {
	out := Warmup{
		ID: w.ID, State: "running", Objects: w.Objects, Done: w.Done, Passed: w.Passed, Failed: w.Failed, NotKept: w.NotKept,
		Bytes: w.Bytes, Total: w.Total, From: from(w.From), Failures: []WarmupFailure{}, Created: w.Created.UTC().Truncate(time.Millisecond),
	}
	switch {
	case w.Partial():
		out.State = "partial"
	case w.Over:
		out.State = "done"
	}
	for _, f := range w.Failures {
		out.Failures = append(out.Failures, WarmupFailure{URL: s.shown(f.URL), Error: f.Err.Error()})
	}
	return out
}
