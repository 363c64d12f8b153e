package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Stats are what a node has done since it started, and what it is doing. Rates are
// for who asks twice.
type Stats struct {
	Time   time.Time `json:"time"`
	Uptime int64     `json:"uptime_seconds" minimum:"0"`
	Counters
	Cache  Usage    `json:"cache"`
	Coming []Coming `json:"coming" nullable:"false" doc:"Objects that bytes are coming in for, the largest first; a hundred at most."`
}

// Counters are sums since the node started, but for Peers and InFlight.
type Counters struct {
	Requests Requests `json:"requests"`
	Clients  From     `json:"clients" doc:"Bytes of bodies that clients got, by where they came from; tunnels are not counted."`
	Origin   int64    `json:"origin_bytes" minimum:"0" doc:"That origins sent."`
	Received int64    `json:"peers_received_bytes" minimum:"0"`
	Sent     int64    `json:"peers_sent_bytes" minimum:"0"`
	Peers    int64    `json:"peers" minimum:"0" doc:"Connected now, summed over torrents."`
	InFlight int64    `json:"requests_in_flight" minimum:"0"`
}

// Requests are those that have ended, by their outcome.
type Requests struct {
	Hit         int64 `json:"hit" minimum:"0"`
	Miss        int64 `json:"miss" minimum:"0"`
	Revalidated int64 `json:"revalidated" minimum:"0"`
	Stale       int64 `json:"stale" minimum:"0"`
	Bypass      int64 `json:"bypass" minimum:"0"`
	Collapsed   int64 `json:"collapsed" minimum:"0" doc:"They waited for another one's answer."`
}

// Since is what was added to sums since an earlier account of them.
func (c Counters) Since(before Counters) Counters {
	a, b := &c.Requests, before.Requests
	a.Hit, a.Miss, a.Revalidated = a.Hit-b.Hit, a.Miss-b.Miss, a.Revalidated-b.Revalidated
	a.Stale, a.Bypass, a.Collapsed = a.Stale-b.Stale, a.Bypass-b.Bypass, a.Collapsed-b.Collapsed
	c.Clients.Local -= before.Clients.Local
	c.Clients.Peers -= before.Clients.Peers
	c.Clients.Origin -= before.Clients.Origin
	c.Origin, c.Received, c.Sent = c.Origin-before.Origin, c.Received-before.Received, c.Sent-before.Sent
	return c
}

// Coming is an object that bytes are coming in for.
type Coming struct {
	URL     string    `json:"url"`
	Length  int64     `json:"length" minimum:"0"`
	Arrived From      `json:"arrived"`
	Started time.Time `json:"started"`
}

// maxComing are listed.
const maxComing = 100

func (s *service) registerStats(api huma.API) {
	op := operation("get-stats", http.MethodGet, "stats", "What this node has done, and is doing")
	huma.Register(api, op, func(context.Context, *struct{}) (*struct{ Body Stats }, error) {
		return &struct{ Body Stats }{s.stats(time.Now())}, nil
	})
}

func (s *service) stats(now time.Time) Stats {
	books := s.Cache.Stats()
	st := Stats{
		Time: now.UTC().Truncate(time.Millisecond), Uptime: int64(now.Sub(s.Started) / time.Second), Counters: s.Counters(),
		Cache: Usage{books.Bytes, books.Objects, books.Limit}, Coming: []Coming{},
	}
	for _, c := range s.Cache.Coming() {
		st.Coming = append(st.Coming, Coming{
			shown(c.Version.URL, string(c.Version.Key.Base())), c.Version.Length, arrived(c.Arrived), c.Started.UTC().Truncate(time.Millisecond),
		})
	}
	slices.SortFunc(st.Coming, func(a, b Coming) int { return cmp.Or(-cmp.Compare(a.Length, b.Length), cmp.Compare(a.URL, b.URL)) })
	st.Coming = st.Coming[:min(len(st.Coming), maxComing)]
	return st
}
