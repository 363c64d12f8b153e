package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/swarmcache"
)

// Status is what a node says about itself.
type Status struct {
	Node      Self      `json:"node"`
	Started   time.Time `json:"started"`
	Uptime    int64     `json:"uptime_seconds"`
	Readiness Readiness `json:"readiness"`
	Proxy     string    `json:"proxy" doc:"Where clients of this node connect: the address for http_proxy."`
	Mode      Mode      `json:"mode"`
	Cache     Usage     `json:"cache"`
	Volumes   []Volume  `json:"volumes,omitempty" doc:"Where objects are, the home first; absent where that is all."`
	Directory Directory `json:"directory"`
	Leader    *Leader   `json:"leader,omitempty" doc:"Who runs the tracker; absent while nobody is known to."`
	Clock     *Clock    `json:"clock,omitempty" doc:"How far this node's clock is from the leader's, which all nodes go by; absent while that is not known: then what other nodes tell of is revalidated."`
}

// Self is this node.
type Self struct {
	ID      swarmcache.NodeID `json:"id"`
	Name    string            `json:"name"`
	Version string            `json:"version"`
}

// Readiness tells whether the node should get requests, as /readyz does.
type Readiness struct {
	Ready  bool    `json:"ready"`
	State  string  `json:"state" enum:"ok,degraded,waiting,failed,draining"`
	Checks []Check `json:"checks" nullable:"false"`
}

// Check is one condition of readiness.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state" enum:"ok,degraded,waiting,failed"`
	Reason string `json:"reason,omitempty"`
}

// Usage is how full the cache is.
type Usage struct {
	Bytes   int64 `json:"bytes" minimum:"0" doc:"Reserved by objects, complete or not."`
	Objects int   `json:"objects" minimum:"0"`
	Limit   int64 `json:"limit_bytes" minimum:"0" doc:"What objects may take; 0: no bound but the disk's."`
}

// Volume is how full a directory for objects is.
type Volume struct {
	Dir     string `json:"directory"`
	Bytes   int64  `json:"bytes" minimum:"0"`
	Objects int    `json:"objects" minimum:"0" doc:"Those that are here."`
	Limit   int64  `json:"limit_bytes" minimum:"0"`
	State   string `json:"state" enum:"well,full,failed,missing" doc:"full: its disk is, though objects may take more. failed: its disk failed, and takes nothing new. missing: its objects are not here until a start with it."`
	Reason  string `json:"reason,omitempty"`
}

// Directory tells whether etcd can be asked.
type Directory struct {
	Healthy bool   `json:"healthy"`
	Reason  string `json:"reason,omitempty" doc:"Why it cannot be asked."`
}

// Leader is the node that runs the tracker.
type Leader struct {
	ID   swarmcache.NodeID `json:"id"`
	URL  string            `json:"announce_url"`
	Self bool              `json:"self" doc:"It is this node."`
}

// Clock compares clocks.
type Clock struct {
	Offset float64 `json:"offset_seconds" doc:"What to add to this node's."`
	Doubt  float64 `json:"doubt_seconds" minimum:"0" doc:"By how much that may be wrong, either way."`
}

func (s *service) registerStatus(api huma.API) {
	op := operation("get-status", http.MethodGet, "status", "This node's state")
	huma.Register(api, op, func(context.Context, *struct{}) (*struct{ Body Status }, error) {
		return &struct{ Body Status }{s.status(time.Now())}, nil
	})
}

func (s *service) status(now time.Time) Status {
	books := s.Cache.Stats()
	st := Status{
		Node:    Self{s.Node.ID, s.Name, s.Node.Version},
		Started: s.Started.UTC().Truncate(time.Second), Uptime: int64(now.Sub(s.Started) / time.Second),
		Readiness: s.Ready(), Proxy: "http://" + s.Proxy(), Mode: s.mode(),
		Cache:     Usage{books.Bytes, books.Objects, books.Limit},
		Directory: Directory{Healthy: true},
	}
	if all := s.Cache.Volumes(); len(all) > 1 {
		for _, v := range all {
			st.Volumes = append(st.Volumes, Volume(v))
		}
	}
	if err := s.Cluster.State(); err != nil {
		st.Directory = Directory{Reason: err.Error()}
	}
	if url, id, self := s.Cluster.Leader(); url != "" {
		st.Leader = &Leader{id, url, self}
	}
	if s.Clock != nil {
		if r := s.Clock(); r.Scale != "" {
			st.Clock = &Clock{r.Offset.Seconds(), r.Doubt.Seconds()}
		}
	}
	return st
}
