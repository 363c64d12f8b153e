package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/swarmcache"
)

// Magnets tells of the objects of which the cluster keeps copies.
type Magnets struct {
	Known    bool          `json:"known" doc:"False until the leader has looked."`
	Healthy  int           `json:"healthy" minimum:"0"`
	Degraded int           `json:"degraded" minimum:"0" doc:"There are fewer copies than wanted."`
	Lost     int           `json:"lost" minimum:"0" doc:"No node has a copy."`
	Ill      []MagnetState `json:"unhealthy" nullable:"false" doc:"Some of those that are not healthy, the worst first."`
}

// MagnetState is the state of one of them.
type MagnetState struct {
	URL      string    `json:"url,omitempty"`
	State    string    `json:"state" enum:"healthy,degraded,lost,unkept" doc:"unkept: no copies of it are made."`
	Replicas int       `json:"replicas" minimum:"0" doc:"Complete copies that are seen."`
	Wanted   int       `json:"wanted" minimum:"0"`
	Why      string    `json:"why,omitempty"`
	Since    time.Time `json:"since,omitzero"`
}

func (s *service) registerMagnets(api huma.API) {
	all := operation("list-magnets", http.MethodGet, "magnets", "Whether there are as many copies as wanted")
	all.Description = "Of what was put, is pinned, or is named by a rule with replicas. As the leader saw it some seconds ago; 503 while the directory is away."
	huma.Register(api, all, func(ctx context.Context, _ *struct{}) (*struct{ Body Magnets }, error) {
		h, err := s.Cluster.Health(ctx)
		m := Magnets{Known: err == nil, Healthy: h.Healthy, Degraded: h.Degraded, Lost: h.Lost, Ill: []MagnetState{}}
		for _, i := range h.Ill {
			m.Ill = append(m.Ill, stateOf(i))
		}
		return &struct{ Body Magnets }{m}, problem(absentIsNone(err))
	})

	one := operation("get-magnet", http.MethodGet, "objects/{id}/magnet", "Whether there are as many copies of an object as wanted")
	huma.Register(api, one, func(ctx context.Context, in *struct {
		ID string `path:"id" pattern:"^[0-9a-f]{8,64}$" doc:"The object's id, or as much of its beginning as is unique."`
	}) (*struct{ Body MagnetState }, error) {
		r, err := s.find(in.ID)
		if err != nil {
			return nil, problem(err)
		}
		state, err := s.magnetState(ctx, r)
		return &struct{ Body MagnetState }{state}, problem(err)
	})
}

// stateOf shows what the leader said.
func stateOf(i swarmcache.Ill) MagnetState {
	return MagnetState{shown(i.URL, string(i.Key)), i.State, i.Replicas, i.Wanted, i.Why, i.Since}
}

// magnetState is the state of an object's magnet: what the leader says or, of one
// that it does not complain of, what the tracker does.
func (s *service) magnetState(ctx context.Context, r swarmcache.Record) (m MagnetState, err error) {
	v := r.Version
	m = MagnetState{URL: shown(v.URL, string(v.Key)), State: "unkept"}
	if !v.InfoHash.IsZero() {
		if m.Replicas, err = s.Torrents.Seeders(ctx, v.InfoHash); err != nil {
			m.Why = "the tracker does not tell how many copies there are: " + err.Error()
		}
	}
	k, err := s.Cluster.Kept(ctx, v.Key)
	switch {
	case errors.Is(err, swarmcache.ErrNotFound):
		return m, nil
	case err != nil:
		return m, err
	}
	m.State, m.Wanted = swarmcache.Healthy, k.Replicas
	h, err := s.Cluster.Health(ctx)
	for _, i := range h.Ill {
		if i.Key == v.Key {
			return stateOf(i), nil
		}
	}
	return m, absentIsNone(err)
}

// Drained tells whether a node takes on nothing new.
type Drained struct {
	Draining bool `json:"draining"`
}

func (s *service) registerDrain(api huma.API) {
	on := operation("drain", http.MethodPost, "drain", "Have this node take on nothing new")
	on.Description = "It is not ready any more, gives the lead up, and fills nothing: what it has it serves, other responses pass through. Its copies do not count, so that others are made where they are wanted. It does not stop."
	off := operation("undrain", http.MethodDelete, "drain", "End that")
	for draining, op := range map[bool]huma.Operation{true: on, false: off} {
		huma.Register(api, op, func(ctx context.Context, _ *struct{}) (*struct{ Body Drained }, error) {
			return &struct{ Body Drained }{Drained{draining}}, problem(s.Drain(ctx, draining))
		})
	}
}
