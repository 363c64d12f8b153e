package api

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Object is one object that this node has or is filling.
type Object struct {
	ID       swarmcache.ObjectID `json:"id" pattern:"^[0-9a-f]{64}$"`
	Key      string              `json:"key" doc:"What selects it: the normalised URL."`
	URL      string              `json:"url" doc:"As fetched, without the parameters that the key leaves out: they may be credentials."`
	Length   int64               `json:"length" minimum:"0" doc:"Bytes of the body."`
	Complete bool                `json:"complete"`
	InfoHash string              `json:"infohash,omitempty" pattern:"^[0-9a-f]{40}$" doc:"Of the sealed torrent."`
	Added    time.Time           `json:"added"`
	LastUsed time.Time           `json:"last_used,omitzero"`
	Pinned   bool                `json:"pinned" doc:"It stays when space is short."`
	Suspect  bool                `json:"suspect,omitempty" doc:"A piece of it was found damaged, and the others are being verified."`
	Away     bool                `json:"away,omitempty" doc:"It is on a volume that is missing: nothing of it is here, but its pin may be taken off."`
}

// ObjectDetail is what is known of one object.
type ObjectDetail struct {
	Object
	Validator   string    `json:"validator,omitempty" doc:"Strong entity tag or Last-Modified; without one spans cannot be fetched apart."`
	SHA256      string    `json:"sha256,omitempty"`
	Magnet      string    `json:"magnet,omitempty" doc:"For BitTorrent clients; absent until the object is complete here."`
	PieceLength int64     `json:"piece_length" doc:"Bytes of a piece of its torrents, all but the last."`
	Verified    time.Time `json:"verified,omitzero" doc:"When all of it was last read back and had its hashes."`
	Priority    string    `json:"priority" enum:"low,normal,high" doc:"Its share of this node's limits while other objects want them too: an object of high priority gets four times as much as a normal one, and that as a low one."`
	Arrived     From      `json:"arrived" doc:"Bytes that are on this node, by where they came from since the file was opened: local is what was here before."`
	Response    Response  `json:"response"`
}

// Response is the head of the stored response.
type Response struct {
	Status int                 `json:"status"`
	Header map[string][]string `json:"header"`
	Time   time.Time           `json:"time" doc:"When it came, or was last revalidated."`
}

// Objects is one page of a listing.
type Objects struct {
	Objects []Object `json:"objects" nullable:"false"`
	Next    string   `json:"next_cursor,omitempty" doc:"Pass it as cursor for the next page; absent on the last one."`
}

// named is the path of one object.
type named struct {
	ID string `path:"id" pattern:"^[0-9a-f]{8,64}$" doc:"The object's id, or as much of its beginning as is unique."`
}

func (s *service) registerObjects(api huma.API) {
	s.registerLooks(api)
	s.registerKeeping(api)
	s.registerContent(api)
}

// registerLooks is what tells of objects.
func (s *service) registerLooks(api huma.API) {
	list := operation("list-objects", http.MethodGet, "objects", "The objects on this node")
	list.Description = "In the order of their ids, or as sort says. With url: what that URL selects here, if anything; or would, were its volume not missing."
	huma.Register(api, list, func(_ context.Context, in *struct {
		Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Objects on a page."`
		Cursor string `query:"cursor" pattern:"^[0-9A-Za-z_-]+$" maxLength:"16384" doc:"The next_cursor of the page before, of the same listing."`
		URL    string `query:"url" maxLength:"8192" doc:"Only what this URL selects."`
		Sort   string `query:"sort" enum:"url,size,added,used,-url,-size,-added,-used" doc:"With - the largest or last comes first."`
		Chosen
	}) (*struct{ Body Objects }, error) {
		c, err := in.Chosen.read("query.")
		if err != nil {
			return nil, err
		}
		var found Objects
		switch {
		case in.URL != "":
			found, err = s.selected(in.URL)
		case in.Sort != "" || c != Choice{}:
			found, err = s.sorted(c, in.Sort, in.Cursor, in.Limit)
		case in.Cursor != "" && !objectID.MatchString(in.Cursor):
			err = invalid("query.cursor", "is none of this listing's")
		default:
			found, err = s.page(swarmcache.ObjectID(in.Cursor), in.Limit)
		}
		if err != nil {
			return nil, problem(err)
		}
		return &struct{ Body Objects }{found}, nil
	})

	get := operation("get-object", http.MethodGet, "objects/{id}", "One object")
	huma.Register(api, get, func(ctx context.Context, in *named) (*struct{ Body ObjectDetail }, error) {
		r, err := s.find(in.ID)
		if err != nil {
			return nil, problem(err)
		}
		return &struct{ Body ObjectDetail }{s.detail(ctx, r)}, nil
	})
}

// registerKeeping is what decides how an object is kept, and whether.
func (s *service) registerKeeping(api huma.API) {
	change := operation("change-object", http.MethodPatch, "objects/{id}", "Change an object's priority on this node")
	huma.Register(api, change, func(ctx context.Context, in *struct {
		ID   string `path:"id" pattern:"^[0-9a-f]{8,64}$" doc:"As above."`
		Body struct {
			Priority string `json:"priority" enum:"low,normal,high,default" doc:"default: what the configuration's rules say."`
		}
	}) (*struct{ Body ObjectDetail }, error) {
		r, err := s.find(in.ID)
		if err != nil {
			return nil, problem(err)
		}
		p := policy.Priority(in.Body.Priority)
		if p == "default" {
			p = ""
		}
		if err := s.Cache.SetPriority(r.Version.ID, p); err != nil {
			return nil, problem(err)
		}
		r.Priority = p
		return &struct{ Body ObjectDetail }{s.detail(ctx, r)}, nil
	})

	pin := operation("pin-object", http.MethodPut, "objects/{id}/pin", "Keep an object on this node")
	pin.Description = "It stays when space is short, and so does a version that takes its place. A purge takes the pin along."
	unpin := operation("unpin-object", http.MethodDelete, "objects/{id}/pin", "Let an object go when space is short")
	for pinned, op := range map[bool]huma.Operation{true: pin, false: unpin} {
		huma.Register(api, op, func(ctx context.Context, in *named) (*struct{ Body ObjectDetail }, error) {
			r, err := s.find(in.ID)
			if err == nil {
				r.Pinned = pinned
				err = s.Cache.SetPinned(r.Version.ID, pinned)
			}
			if err != nil {
				return nil, problem(err)
			}
			return &struct{ Body ObjectDetail }{s.detail(ctx, r)}, nil
		})
	}

	remove := operation("delete-object", http.MethodDelete, "objects/{id}", "Remove an object from this node")
	remove.Description = "The cluster may hold it elsewhere, and this node may fetch it again; to withdraw it, purge its URL."
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(api, remove, func(_ context.Context, in *named) (*struct{}, error) {
		r, err := s.find(in.ID)
		if err == nil {
			err = s.Cache.Forget(r.Version.ID)
		}
		return nil, problem(err)
	})
}

// registerContent is what reads all of an object.
func (s *service) registerContent(api huma.API) {
	verify := operation("verify-object", http.MethodPost, "objects/{id}/verify", "Read an object back and compare it with its hashes")
	verify.Description = "409: not all of it is here. A piece that is not what was stored is dropped, nobody gets it, and it comes again; then intact is false."
	huma.Register(api, verify, func(ctx context.Context, in *named) (*struct{ Body Verified }, error) {
		r, err := s.find(in.ID)
		if err == nil {
			err = s.Cache.Verify(ctx, r.Version.ID)
		}
		out := Verified{ID: r.Version.ID, Length: r.Version.Length, Intact: err == nil}
		if errors.Is(err, swarmcache.ErrDamaged) {
			out.Reason, err = err.Error(), nil
		}
		if err != nil {
			return nil, problem(err)
		}
		return &struct{ Body Verified }{out}, nil
	})

	content := operation("get-object-content", http.MethodGet, "objects/{id}/content", "The body of an object that is complete here")
	content.Description = "Each piece is verified before it is sent; one that is damaged breaks the answer off. 409: not all of it is here."
	content.Responses = map[string]*huma.Response{"200": {
		Description: "The bytes", Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}}
	huma.Register(api, content, func(_ context.Context, in *named) (*huma.StreamResponse, error) {
		r, err := s.find(in.ID)
		if err == nil && !r.Complete {
			err = swarmcache.ErrIncomplete
		}
		if err != nil {
			return nil, problem(err)
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			ctx.SetHeader("Content-Type", "application/octet-stream")
			ctx.SetHeader("Content-Length", strconv.FormatInt(r.Version.Length, 10))
			if s.Cache.Export(ctx.Context(), r.Version.ID, ctx.BodyWriter()) != nil {
				panic(http.ErrAbortHandler) // it must not look whole
			}
		}}, nil
	})
}

// Verified tells what the reading back of an object has found.
type Verified struct {
	ID     swarmcache.ObjectID `json:"id" pattern:"^[0-9a-f]{64}$"`
	Length int64               `json:"length" minimum:"0"`
	Intact bool                `json:"intact"`
	Reason string              `json:"reason,omitempty"`
}

var objectID = regexp.MustCompile("^[0-9a-f]{64}$")

// Chosen is a Choice as a query has it.
type Chosen struct {
	Match     string `query:"match" maxLength:"8192" doc:"Glob on the key: * and ? stand for any characters."`
	State     string `query:"state" enum:"complete,partial,pinned,suspect"`
	OlderThan string `query:"older_than" maxLength:"32" doc:"Since it came, such as 24h."`
	UnusedFor string `query:"unused_for" maxLength:"32" doc:"Since it was used, such as 24h."`
	Tag       string `query:"tag" maxLength:"1024" doc:"One that its response gives in Surrogate-Key or Cache-Tag."`
}

func (c Chosen) read(where string) (out Choice, err error) {
	out = Choice{Match: c.Match, State: c.State, Tag: c.Tag}
	for name, field := range map[string]struct {
		text string
		to   *time.Duration
	}{"older_than": {c.OlderThan, &out.OlderThan}, "unused_for": {c.UnusedFor, &out.UnusedFor}} {
		if field.text == "" {
			continue
		}
		if *field.to, err = time.ParseDuration(field.text); err != nil || *field.to <= 0 {
			return out, invalid(where+name, "want a time such as 90m or 24h")
		}
	}
	return out, nil
}

// page lists the objects after cursor.
func (s *service) page(cursor swarmcache.ObjectID, limit int) (Objects, error) {
	records, err := s.Cache.List(cursor, limit+1)
	if err != nil {
		return Objects{}, err
	}
	page := Objects{Objects: []Object{}}
	if len(records) > limit {
		records = records[:limit]
		page.Next = string(records[limit-1].Version.ID)
	}
	for _, r := range records {
		page.Objects = append(page.Objects, object(r))
	}
	return page, nil
}

// selected lists the one object that a URL selects here.
func (s *service) selected(rawURL string) (Objects, error) {
	found := Objects{Objects: []Object{}}
	key, err := s.key(rawURL, "query.url")
	if err != nil {
		return found, err
	}
	r, err := s.Cache.Selected(key)
	away := errors.Is(err, swarmcache.ErrNotFound)
	if away {
		r, err = s.Cache.SelectedAway(key)
	}
	if err == nil {
		o := object(r)
		o.Away = away
		found.Objects = append(found.Objects, o)
	}
	return found, absentIsNone(err)
}

// find returns the object whose id begins with prefix.
func (s *service) find(prefix string) (swarmcache.Record, error) {
	id := swarmcache.ObjectID(prefix)
	if len(prefix) == 64 {
		r, err := s.Cache.Record(id)
		if errors.Is(err, swarmcache.ErrNotFound) {
			return s.Cache.Away(id)
		}
		return r, err
	}
	// What begins with prefix sorts right behind it.
	near, err := s.Cache.List(id, 2)
	switch {
	case err != nil:
		return swarmcache.Record{}, err
	case len(near) == 0 || !strings.HasPrefix(string(near[0].Version.ID), prefix):
		return swarmcache.Record{}, swarmcache.ErrNotFound
	case len(near) == 2 && strings.HasPrefix(string(near[1].Version.ID), prefix):
		return swarmcache.Record{}, huma.Error409Conflict("more than one object's id begins with " + prefix)
	}
	return near[0], nil
}

func object(r swarmcache.Record) Object {
	v := r.Version
	o := Object{
		ID: v.ID, Key: string(v.Key.Base()), URL: shown(v.URL, string(v.Key.Base())), Length: v.Length,
		Complete: r.Complete, Pinned: r.Pinned, Suspect: r.Suspect, Added: time.Unix(r.Added, 0).UTC(),
	}
	if !v.InfoHash.IsZero() {
		o.InfoHash = v.InfoHash.String()
	}
	if r.LastUsed != 0 {
		o.LastUsed = time.Unix(r.LastUsed, 0).UTC()
	}
	return o
}

func (s *service) detail(ctx context.Context, r swarmcache.Record) ObjectDetail {
	v := r.Version
	d := ObjectDetail{
		Object: object(r), Validator: v.Validator, SHA256: v.SHA256, PieceLength: v.PieceLen,
		Priority: string(s.Cache.PriorityOf(r)), Arrived: arrived(s.Cache.Arrived(r)),
		Response: Response{v.Stored.Status, v.Stored.Header, v.Stored.ResponseTime.UTC()},
	}
	if !r.Complete {
		_, err := s.Cache.Away(v.ID)
		d.Away = err == nil
	}
	d.Magnet = s.magnet(ctx, r)
	if r.Verified != 0 {
		d.Verified = time.Unix(r.Verified, 0).UTC()
	}
	if d.Response.Header == nil {
		d.Response.Header = map[string][]string{}
	}
	return d
}

func arrived(a swarmcache.Arrived) From { return From{a.Stored, a.Peers, a.Origin} }

// shown is rawURL with the query of its key.
func shown(rawURL, key string) string {
	path, _, _ := strings.Cut(rawURL, "?")
	if _, query, ok := strings.Cut(key, "?"); ok {
		return path + "?" + query
	}
	return path
}
