package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/swarmcache"
)

// SteppedDown is the node that gave the lead up.
type SteppedDown struct {
	ID swarmcache.NodeID `json:"id"`
}

func (s *service) registerLeader(api huma.API) {
	get := operation("get-leader", http.MethodGet, "cluster/leader", "The node that runs the tracker")
	get.Description = "As this node knows it. 404: nobody is known to; another is elected within seconds, if a directory can be asked."
	huma.Register(api, get, func(context.Context, *struct{}) (*struct{ Body Leader }, error) {
		url, id, self := s.Cluster.Leader()
		if url == "" {
			return nil, huma.Error404NotFound("no leader is known")
		}
		return &struct{ Body Leader }{Leader{id, url, self}}, nil
	})

	stepDown := operation("step-down", http.MethodPost, "cluster/leader/step-down", "Have this node give the lead up")
	stepDown.Description = "Another one takes it within a second or two; a node that is alone takes it again. " +
		"409: this node does not lead. 503: the directory is away, and nothing has changed."
	huma.Register(api, stepDown, func(ctx context.Context, _ *struct{}) (*struct{ Body SteppedDown }, error) {
		if err := s.Cluster.StepDown(ctx); err != nil {
			return nil, problem(err)
		}
		return &struct{ Body SteppedDown }{SteppedDown{s.Node.ID}}, nil
	})
}
