package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/download"
)

// Download is one download that was ordered here.
type Download struct {
	ID          string    `json:"id" pattern:"^[0-9a-f]{20}$"`
	URL         string    `json:"url" doc:"Without the parameters that its key leaves out: they may be credentials."`
	Destination string    `json:"destination,omitempty" doc:"The file it becomes; absent: the cache alone is to have it."`
	SHA256      string    `json:"sha256,omitempty" doc:"What it has to be."`
	State       string    `json:"state" enum:"queued,running,paused,done,failed"`
	Error       string    `json:"error,omitempty" doc:"Why it failed."`
	Bytes       int64     `json:"bytes" minimum:"0"`
	Total       *int64    `json:"total_bytes,omitempty" doc:"Absent: not known."`
	Rate        int64     `json:"rate_bytes_per_second" minimum:"0"`
	ETA         *float64  `json:"eta_seconds,omitempty" doc:"Absent: nobody can tell."`
	From        From      `json:"from" doc:"Where the bytes came from."`
	Object      string    `json:"object,omitempty" doc:"The object of the cache it comes from; absent while that is not known, and when the response passes through."`
	Limit       int64     `json:"limit_bytes_per_second" minimum:"0" doc:"0: none."`
	Priority    string    `json:"priority,omitempty" doc:"That was asked for."`
	Created     time.Time `json:"created"`
	Ended       time.Time `json:"ended,omitzero"`
}

// From are bytes by where they came from.
type From struct {
	Local  int64 `json:"local_bytes" minimum:"0" doc:"They were on this node."`
	Peers  int64 `json:"peers_bytes" minimum:"0"`
	Origin int64 `json:"origin_bytes" minimum:"0"`
}

// Downloads is one page of a listing.
type Downloads struct {
	Downloads []Download `json:"downloads" nullable:"false"`
	Next      string     `json:"next_cursor,omitempty" doc:"Pass it as cursor for the next page; absent on the last one."`
}

// DownloadOrder is a download to begin.
type DownloadOrder struct {
	URL         string            `json:"url" minLength:"1" maxLength:"8192" doc:"http:// or https://; both come through the cache. Or that of a source, such as s3://, or shatabdi://."`
	Destination string            `json:"destination,omitempty" maxLength:"4096" doc:"Absolute path of a file that is not there yet, in one of the directories that downloads.directories allows. Without it the cache alone is to have the object."`
	SHA256      string            `json:"sha256,omitempty" pattern:"^[0-9A-Fa-f]{64}$" doc:"What it has to be; otherwise nothing is left of it."`
	Limit       *string           `json:"limit,omitempty" doc:"How fast it is read at most, such as 4MiB/s. What the node exchanges with peers behind it is a matter of its limits and of the priority."`
	LimitRate   *int64            `json:"limit_bytes_per_second,omitempty" minimum:"0" doc:"Instead of limit; 0: none."`
	Priority    string            `json:"priority,omitempty" enum:"low,normal,high" doc:"Of the object, where a link is limited."`
	Headers     map[string]string `json:"headers,omitempty" doc:"Of the request, such as Authorization. They are shown to nobody."`
}

// DownloadChange is what can be changed; what is left out stays.
type DownloadChange struct {
	Limit     *string `json:"limit,omitempty"`
	LimitRate *int64  `json:"limit_bytes_per_second,omitempty" minimum:"0"`
	Priority  *string `json:"priority,omitempty" enum:"low,normal,high,default"`
}

func (s *service) registerDownloads(api huma.API) {
	type output struct{ Body Download }
	type named struct {
		ID string `path:"id" pattern:"^[0-9a-f]{20}$"`
	}
	one := func(st download.Status, err error) (*output, error) {
		if err != nil {
			return nil, problem(err)
		}
		return &output{s.download(st)}, nil
	}

	create := operation("create-download", http.MethodPost, "downloads", "Download a URL into the cache, or into a file")
	create.Description = "It comes the way a client's request does: the same rules, the same swarm, one copy from the origin however many ask. " +
		"A file is written beside its destination, flushed, and only then given its name. What is not over goes on when the daemon starts again; " +
		"but headers and queries that may be credentials are kept nowhere: a download that had such has failed then."
	create.DefaultStatus = http.StatusCreated
	huma.Register(api, create, func(_ context.Context, in *struct{ Body DownloadOrder }) (*output, error) {
		spec, err := s.spec(in.Body)
		if err != nil {
			return nil, err
		}
		return one(s.Downloads.Create(spec))
	})

	list := operation("list-downloads", http.MethodGet, "downloads", "The downloads that were ordered here")
	list.Description = "In the order in which they were; of those that have ended, the last thousand."
	huma.Register(api, list, func(_ context.Context, in *struct {
		Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Downloads on a page."`
		Cursor string `query:"cursor" pattern:"^[0-9a-f]{20}$" doc:"The next_cursor of the page before."`
	}) (*struct{ Body Downloads }, error) {
		found := s.Downloads.List(in.Cursor, in.Limit+1)
		page := Downloads{Downloads: []Download{}}
		if len(found) > in.Limit {
			found = found[:in.Limit]
			page.Next = found[in.Limit-1].ID
		}
		for _, st := range found {
			page.Downloads = append(page.Downloads, s.download(st))
		}
		return &struct{ Body Downloads }{page}, nil
	})

	get := operation("get-download", http.MethodGet, "downloads/{id}", "One download")
	huma.Register(api, get, func(_ context.Context, in *named) (*output, error) { return one(s.Downloads.Status(in.ID)) })

	pause := operation("pause-download", http.MethodPost, "downloads/{id}/pause", "Let a download stand still")
	pause.Description = "What the cache fills for others goes on."
	huma.Register(api, pause, func(_ context.Context, in *named) (*output, error) { return one(s.Downloads.Pause(in.ID)) })

	resume := operation("resume-download", http.MethodPost, "downloads/{id}/resume", "Let a download go on that was paused or broke off")
	huma.Register(api, resume, func(_ context.Context, in *named) (*output, error) { return one(s.Downloads.Resume(in.ID)) })

	change := operation("change-download", http.MethodPatch, "downloads/{id}", "Change a download's limit or priority")
	huma.Register(api, change, func(_ context.Context, in *struct {
		ID   string `path:"id" pattern:"^[0-9a-f]{20}$"`
		Body DownloadChange
	}) (*output, error) {
		limit, err := s.limit(in.Body.Limit, in.Body.LimitRate)
		if err != nil {
			return nil, err
		}
		priority := in.Body.Priority
		if priority != nil && *priority == "default" {
			priority = new(string)
		}
		return one(s.Downloads.Change(in.ID, limit, priority))
	})

	cancel := operation("cancel-download", http.MethodDelete, "downloads/{id}", "Cancel a download, or forget one that has ended")
	cancel.Description = "Of a file that is not whole nothing is left."
	cancel.DefaultStatus = http.StatusNoContent
	huma.Register(api, cancel, func(_ context.Context, in *named) (*struct{}, error) {
		return nil, problem(s.Downloads.Cancel(in.ID))
	})
}

// spec is what an order means. Its errors are problems.
func (s *service) spec(o DownloadOrder) (download.Spec, error) {
	u, err := s.fetchable(o.URL, "body.url")
	if err != nil {
		return download.Spec{}, err
	}
	spec := download.Spec{URL: u, Destination: o.Destination, SHA256: o.SHA256, Priority: o.Priority, Header: http.Header{}, Durable: true}
	limit, err := s.limit(o.Limit, o.LimitRate)
	if err != nil {
		return spec, err
	}
	if limit != nil {
		spec.Limit = *limit
	}
	for name, value := range o.Headers {
		if !settable(name, value) {
			return spec, invalid("body.headers."+name, "is no header to be set here")
		}
		spec.Header.Set(name, value)
	}
	return spec, nil
}

// fetchable is a URL that can be downloaded.
func (s *service) fetchable(raw, where string) (string, error) {
	u := swarmcache.Resolve(raw)
	scheme, _, _ := strings.Cut(strings.ToLower(u), "://")
	known := scheme == "http" || scheme == "https" || slices.Contains(s.Rules().Schemes, scheme)
	if err := download.CheckURL(u); err != nil || !known {
		return "", invalid(where, "want an absolute URL, without a user: of http, https or a source, or a shatabdi:// address")
	}
	return u, nil
}

// limit is the rate that is given in either way; nil: none is.
func (s *service) limit(text *string, rate *int64) (*int64, error) {
	switch {
	case text != nil && rate != nil:
		return nil, invalid("body.limit", "give a rate or a number of bytes a second, not both")
	case text == nil:
		return rate, nil
	}
	n, err := s.Rates.Parse(*text)
	if err != nil {
		return nil, invalid("body.limit", err.Error())
	}
	return &n, nil
}

// invalid is a problem with one field.
func invalid(where, text string) error {
	return huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: where, Message: text})
}

// settable reports whether a header may be given: it concerns neither the
// connection nor a part of the body.
func settable(name, value string) bool {
	canonical := http.CanonicalHeaderKey(name)
	switch canonical {
	case "", "Host", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Expect", "Range":
		return false
	}
	return !strings.HasPrefix(canonical, "If-") && !strings.HasPrefix(canonical, "Proxy-") &&
		!strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }) &&
		!strings.ContainsAny(value, "\r\n\x00")
}

func (s *service) download(st download.Status) Download {
	d := Download{
		ID: st.ID, URL: s.shown(st.URL), Destination: st.Destination, SHA256: st.SHA256, State: st.State,
		Bytes: st.Bytes, Rate: st.Rate, From: from(st.From), Object: st.Object, Limit: st.Limit, Priority: st.Priority,
		Created: st.Created.UTC().Truncate(time.Millisecond),
	}
	if !st.Ended.IsZero() {
		d.Ended = st.Ended.UTC().Truncate(time.Millisecond)
	}
	if st.Err != nil {
		d.Error = st.Err.Error()
	}
	if st.Total >= 0 {
		d.Total = &st.Total
	}
	if eta, ok := st.ETA(); ok {
		seconds := eta.Seconds()
		d.ETA = &seconds
	}
	return d
}

func from(s download.Sources) From { return From{s.Local, s.Peers, s.Origin} }

// shown is a URL without what its key leaves out.
func (s *service) shown(raw string) string {
	key, err := s.key(raw, "")
	if err != nil {
		key = policy.Key(strings.SplitN(raw, "?", 2)[0])
	}
	return shown(raw, string(key))
}
