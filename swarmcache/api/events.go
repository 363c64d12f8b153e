package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/swarmcache/download"
	"shatabdi/swarmcache/events"
)

const (
	// maxListeners bounds the streams of events at a time.
	maxListeners = 64
	// progressEvery is how often progress is told, and a sign of life given.
	progressEvery = time.Second
	lifeEvery     = 15 * time.Second
	// patienceListener is how long a listener may take nothing.
	patienceListener = 30 * time.Second
)

// listening is what a listener asks for.
type listening struct {
	Last   string   `header:"Last-Event-ID" maxLength:"64" doc:"The id of the last event that was seen: go on behind it, as far as what came since is kept."`
	After  string   `query:"after" maxLength:"64" doc:"The same, for those who cannot set a header."`
	All    bool     `query:"all" doc:"Begin with the events that are kept, and not with the next one."`
	Follow bool     `query:"follow" default:"true" doc:"false: end when there are no more for now."`
	Kinds  []string `query:"kind" maxItems:"16" doc:"Only these kinds; lost events are always told."`
}

func (s *service) registerEvents(api huma.API) {
	op := operation("events", http.MethodGet, "events", "What happens on this node, as it happens")
	op.Description = "Server-sent events: each has its kind as event, its id, and an Event as data. The last 4096 are kept for those who come again. " +
		"Who reads too slowly loses events, and gets one of kind lost with their number. While bytes come, their progress is told every second."
	event := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[events.Event](), true, "Event")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A stream of events", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: event}},
	}}
	huma.Register(api, op, func(ctx context.Context, in *listening) (*huma.StreamResponse, error) {
		for _, kind := range in.Kinds {
			if !slices.Contains(events.Kinds, kind) {
				return nil, invalid("query.kind", "want some of "+strings.Join(events.Kinds, ","))
			}
		}
		if s.listeners.Add(1) > maxListeners {
			s.listeners.Add(-1)
			return nil, huma.Error503ServiceUnavailable(fmt.Sprintf("%d listen already", maxListeners))
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			defer s.listeners.Add(-1)
			ctx.SetHeader("Content-Type", "text/event-stream")
			w := ctx.BodyWriter().(http.ResponseWriter)
			l := &listener{s: s, in: in, w: w, out: http.NewResponseController(w), coming: map[string]pace{}}
			l.serve(ctx.Context())
		}}, nil
	})
}

// listener is one stream of events.
type listener struct {
	s      *service
	in     *listening
	w      http.ResponseWriter
	out    *http.ResponseController
	coming map[string]pace // objects, by id
	err    error           // the client takes no more
}

// serve writes events until there are no more, or the client is gone.
func (l *listener) serve(ctx context.Context) {
	from := l.begin()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	life := time.Now()
	for l.err == nil {
		kept, lost, news, open := from.Next()
		if lost > 0 {
			l.tell(events.Event{Time: time.Now().UTC(), Kind: events.Lost, Count: lost})
		}
		for _, e := range kept {
			l.tell(e)
		}
		if l.flush(); !open || !l.in.Follow {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		case now := <-tick.C:
			if l.wants(events.Progress) {
				l.progress(now.UTC())
			}
			if now.Sub(life) > lifeEvery {
				life = now
				l.write(":\n\n") // a comment: somebody is there
			}
		}
	}
}

func (l *listener) begin() *events.Listener {
	last := l.in.Last
	if last == "" {
		last = l.in.After
	}
	if last == "" {
		return l.s.Events.Listen(l.in.All || !l.in.Follow)
	}
	from, known := l.s.Events.ListenAfter(last)
	if !known {
		l.tell(events.Event{Time: time.Now().UTC(), Kind: events.Lost, Reason: "that event is not of this run of the daemon"})
	}
	return from
}

func (l *listener) wants(kind string) bool {
	return len(l.in.Kinds) == 0 || kind == events.Lost || slices.Contains(l.in.Kinds, kind)
}

func (l *listener) tell(e events.Event) {
	if !l.wants(e.Kind) {
		return
	}
	data, err := json.Marshal(e)
	if err != nil {
		panic(err) // made of our own types
	}
	head := "event: " + e.Kind + "\n"
	if e.ID != "" {
		head += "id: " + e.ID + "\n"
	}
	l.write(head + "data: " + string(data) + "\n\n")
}

func (l *listener) write(text string) {
	if l.err == nil {
		l.out.SetWriteDeadline(time.Now().Add(patienceListener)) // not everything that writes has one
		_, l.err = l.w.Write([]byte(text))
	}
}

func (l *listener) flush() {
	if l.err == nil {
		l.err = l.out.Flush()
	}
}

// progress tells how far objects and downloads have come.
func (l *listener) progress(now time.Time) {
	was := l.coming
	l.coming = map[string]pace{}
	for _, c := range l.s.Cache.Coming() {
		v, a := c.Version, c.Arrived
		e := events.Event{Time: now, Kind: events.Progress, Object: string(v.ID), Key: string(v.Key), Length: v.Length, Bytes: a.Stored + a.Peers + a.Origin, Peers: a.Peers, Origin: a.Origin}
		p := was[e.Object].next(e.Bytes, now)
		l.coming[e.Object] = p
		if e.Rate = int64(p.rate); e.Rate > 0 {
			eta := float64(e.Length-e.Bytes) / p.rate
			e.ETA = &eta
		}
		l.tell(e)
	}
	for _, d := range l.s.Downloads.List("", 1000) {
		if d.State != download.Running {
			continue
		}
		e := events.Event{
			Time: now, Kind: events.Progress, Download: d.ID, Object: d.Object, Length: max(d.Total, 0),
			Bytes: d.Bytes, Peers: d.From.Peers, Origin: d.From.Origin, Rate: d.Rate, State: d.State,
		}
		if eta, ok := d.ETA(); ok {
			seconds := eta.Seconds()
			e.ETA = &seconds
		}
		l.tell(e)
	}
	l.flush()
}

// pace is how fast bytes come, smoothed over some seconds.
type pace struct {
	bytes int64
	at    time.Time
	rate  float64
}

func (p pace) next(bytes int64, now time.Time) pace {
	if since := now.Sub(p.at).Seconds(); !p.at.IsZero() && since > 0 {
		lately := max(0, float64(bytes-p.bytes)) / since
		if p.rate == 0 {
			p.rate = lately
		}
		p.rate = (p.rate + lately) / 2
	}
	return pace{bytes, now, p.rate}
}
