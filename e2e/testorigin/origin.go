// Package testorigin is an HTTP origin that misbehaves on order. What it does is
// written in the path of the URL, so that a scenario's request says it all:
//
//	/size=64MiB/seed=3/norange/rate=8MiB/file.bin
//
// Without orders it is a good origin: a strong entity tag, Last-Modified,
// max-age=3600, ranges. It counts requests and body bytes for every path.
package testorigin

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/time/rate"

	"shatabdi/e2e/content"
)

// orders is what a path asks for. Sizes are bytes of the body.
type orders struct {
	Object content.Object // size=, seed=

	Cache   string        // cache=VALUE: Cache-Control
	Weak    bool          // weak: a weak entity tag, no Last-Modified
	Bare    bool          // novalidator: neither ETag nor Last-Modified
	NoRange bool          // norange: Range is ignored
	Chunked bool          // nolength: no Content-Length, no ranges
	Gzip    bool          // gzip: Content-Encoding: gzip (no ranges)
	Status  int           // status=CODE: an error with a short body
	Slow    time.Duration // slow=DURATION before the header
	Rate    int64         // rate=SIZE a second, each response
	Die     int64         // die=SIZE: the connection breaks after that much of each response
	DieOnce bool          // once: only the first response dies
	Long    int64         // long=SIZE more than Content-Length announced
	Stall   int64         // stall=SIZE: each response stops there and says nothing more
	Change  int64         // change=SIZE: once so much was sent in all, the object is another one

	SpanTag   bool // spantag: a 206 carries another ETag than the 200
	SpanShift bool // spanshift: Content-Range of a 206 names another place
	Tags      int  // tags=N: load-balanced servers, each with its own ETag
	Contents  int  // contents=N: as many contents under one ETag
}

func parse(path string) (o orders, err error) {
	o.Object = content.Object{Size: 1 << 20, Seed: 1}
	words := strings.Split(strings.Trim(path, "/"), "/")
	for _, w := range words[:len(words)-1] { // the last one is the file's name
		name, value, _ := strings.Cut(w, "=")
		var e error
		switch name {
		case "size":
			o.Object.Size, e = size(value)
		case "seed":
			o.Object.Seed, e = strconv.ParseUint(value, 10, 64)
		case "cache":
			o.Cache = value
		case "weak":
			o.Weak = true
		case "novalidator":
			o.Bare = true
		case "norange":
			o.NoRange = true
		case "nolength":
			o.Chunked = true
		case "gzip":
			o.Gzip = true
		case "status":
			o.Status, e = strconv.Atoi(value)
		case "slow":
			o.Slow, e = time.ParseDuration(value)
		case "rate":
			o.Rate, e = size(value)
		case "die":
			o.Die, e = size(value)
		case "once":
			o.DieOnce = true
		case "long":
			o.Long, e = size(value)
		case "stall":
			o.Stall, e = size(value)
		case "change":
			o.Change, e = size(value)
		case "spantag":
			o.SpanTag = true
		case "spanshift":
			o.SpanShift = true
		case "tags":
			o.Tags, e = strconv.Atoi(value)
		case "contents":
			o.Contents, e = strconv.Atoi(value)
		default:
			e = fmt.Errorf("unknown order")
		}
		if e != nil {
			return o, fmt.Errorf("%q: %w", w, e)
		}
	}
	return o, nil
}

func size(s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	return int64(n), err
}

// Counts are what was asked and sent under one path.
type Counts struct {
	Requests int   `json:"requests"`
	Ranges   int   `json:"ranges"` // requests that carried a Range header
	Bytes    int64 `json:"bytes"`  // of bodies, handed to the kernel
	Aborted  int   `json:"aborted"`
}

// Origin serves any path. /_/stats answers with the counts as JSON, by path;
// POST /_/change/PATH makes the object under PATH another one.
type Origin struct {
	limit *rate.Limiter // of all responses together; nil: none

	mu      sync.Mutex // guards the fields below
	counts  map[string]*Counts
	version map[string]int // how often the object under a path changed
}

// New returns an origin that sends at most bytesPerSecond in all; 0: no limit.
func New(bytesPerSecond int64) *Origin {
	return &Origin{limit: limiter(bytesPerSecond), counts: map[string]*Counts{}, version: map[string]int{}}
}

// burst is what a limiter lets through at once: fine enough for a smooth
// stream, coarse enough to cost no CPU.
const burst = 64 << 10

func limiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), burst)
}

// Stats returns a copy of the counts by path.
func (s *Origin) Stats() map[string]Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]Counts, len(s.counts))
	for p, c := range s.counts {
		m[p] = *c
	}
	return m
}

// Sent is the number of body bytes sent under all paths.
func (s *Origin) Sent() (n int64) {
	for _, c := range s.Stats() {
		n += c.Bytes
	}
	return n
}

func (s *Origin) count(path string, f func(*Counts)) Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[path]
	if c == nil {
		c = &Counts{}
		s.counts[path] = c
	}
	f(c)
	return *c
}

func (s *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, "/_/"); ok {
		s.control(w, r, rest)
		return
	}
	path := r.URL.Path
	o, err := parse(path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	so := s.count(path, func(c *Counts) {
		c.Requests++
		if r.Header.Get("Range") != "" {
			c.Ranges++
		}
	})
	pause(r.Context(), o.Slow)
	if o.Status != 0 {
		http.Error(w, "as ordered", o.Status)
		return
	}

	version := s.versionAt(path, o, so)
	object, tag := version.object(o, so.Requests-1)
	out := &body{ResponseWriter: w, ctx: r.Context(), origin: s, path: path, orders: o, own: limiter(o.Rate)}
	out.dies = o.Die > 0 && (!o.DieOnce || so.Requests == 1)
	head(w.Header(), o, tag, version)
	if o.SpanTag && r.Header.Get("Range") != "" && r.Header.Get("If-Range") != "" {
		w.Header().Set("ETag", `"another"`)
		r.Header.Del("If-Range") // whoever is sloppy answers 206 all the same
	}

	switch {
	case o.Gzip:
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(out)
		io.Copy(z, object.Reader()) // an error means the client is gone
		z.Close()
	case o.Chunked:
		io.CopyBuffer(struct{ io.Writer }{out}, object.Reader(), make([]byte, 32<<10)) // as above
	case o.Long > 0:
		sendMore(w, object, o.Long)
	default:
		if o.NoRange {
			r.Header.Del("Range")
			w.Header().Set("Accept-Ranges", "none")
		}
		http.ServeContent(out, r, "", modified(version), object.Reader())
	}
}

// version is how often an object changed before this request.
type version int

func (s *Origin) versionAt(path string, o orders, c Counts) version {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := version(s.version[path])
	if o.Change > 0 && c.Bytes >= o.Change {
		v++
	}
	return v
}

// object returns what request i (from 0) sees under which entity tag.
func (v version) object(o orders, i int) (content.Object, string) {
	c := o.Object
	c.Seed += 1000 * uint64(v)
	tag := fmt.Sprintf("%d-%d", c.Seed, c.Size)
	if o.Tags > 0 {
		tag += fmt.Sprintf("-server%d", i%o.Tags)
	}
	if o.Contents > 0 {
		c.Seed += uint64(i % o.Contents)
	}
	return c, tag
}

// modified is long ago, and a day later with every change.
func modified(v version) time.Time {
	return time.Date(2020, 1, 1+int(v), 0, 0, 0, 0, time.UTC)
}

func head(h http.Header, o orders, tag string, v version) {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", cmp.Or(o.Cache, "max-age=3600"))
	switch {
	case o.Bare:
		h.Set("Last-Modified", "") // keeps ServeContent from setting its own
		h.Del("Last-Modified")
	case o.Weak:
		h.Set("ETag", `W/"`+tag+`"`)
	default:
		h.Set("ETag", `"`+tag+`"`)
		h.Set("Last-Modified", modified(v).Format(http.TimeFormat))
	}
}

// sendMore announces the object's size and sends extra bytes behind it. It
// needs the connection for itself, since net/http would refuse.
func sendMore(w http.ResponseWriter, object content.Object, extra int64) {
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err) // only HTTP/1 is served here
	}
	defer conn.Close()
	fmt.Fprintf(rw, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: %q\r\nCache-Control: max-age=3600\r\n\r\n", object.Size, "long")
	io.Copy(rw, object.Reader()) // an error means the client is gone
	io.CopyN(rw, content.Object{Seed: 99, Size: extra}.Reader(), extra)
	rw.Flush()
}

func (s *Origin) control(w http.ResponseWriter, r *http.Request, what string) {
	switch path, change := strings.CutPrefix(what, "change"); {
	case what == "stats":
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.Stats()) // an error means the client is gone
	case change && r.Method == http.MethodPost:
		s.mu.Lock()
		s.version[path]++
		s.mu.Unlock()
	default:
		http.NotFound(w, r)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
