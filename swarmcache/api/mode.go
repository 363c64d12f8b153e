package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// The modes of a node and of the fleet.
const (
	ModeSwarm = "swarm" // cache and share
	ModePass  = "pass"  // pass everything through
)

// Mode tells whether caching is on.
type Mode struct {
	Mode  string `json:"mode" enum:"swarm,pass" doc:"In effect on this node."`
	Fleet string `json:"fleet" enum:"swarm,pass" doc:"The fleet's switch, as far as this node has heard."`
	Local string `json:"local" enum:"swarm,pass" doc:"This node's configuration; pass overrides the fleet's switch."`
}

func (s *service) registerMode(api huma.API) {
	type output struct{ Body Mode }
	get := operation("get-mode", http.MethodGet, "mode", "Whether caching is on")
	huma.Register(api, get, func(context.Context, *struct{}) (*output, error) {
		return &output{s.mode()}, nil
	})

	put := operation("set-mode", http.MethodPut, "mode", "Turn caching on or off, on every node")
	put.Description = "Nodes follow at once, without a restart and unnoticed by clients. 503 while the directory is away: nothing has changed then."
	huma.Register(api, put, func(ctx context.Context, in *struct {
		Body struct {
			Mode string `json:"mode" enum:"swarm,pass"`
		}
	}) (*output, error) {
		fleet := in.Body.Mode
		if fleet == ModeSwarm {
			fleet = "" // what a fleet has that never touched the switch
		}
		if err := s.Cluster.SetMode(ctx, fleet); err != nil {
			return nil, problem(err)
		}
		// This node hears of it as the others do, so not from s.Cluster.Mode.
		return &output{combine(fleet, s.LocalMode())}, nil
	})
}

func (s *service) mode() Mode { return combine(s.Cluster.Mode(), s.LocalMode()) }

func combine(fleet, local string) Mode {
	m := Mode{Mode: ModeSwarm, Fleet: ModeSwarm, Local: ModeSwarm}
	if fleet == ModePass {
		m.Mode, m.Fleet = ModePass, ModePass
	}
	if local == ModePass {
		m.Mode, m.Local = ModePass, ModePass
	}
	return m
}
