package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// HotObjects are those that clients of the whole cluster want most.
type HotObjects struct {
	Objects []HotObject `json:"objects" nullable:"false"`
}

// HotObject is one of them.
type HotObject struct {
	URL    string  `json:"url"`
	Length int64   `json:"length" minimum:"0" doc:"Bytes of the body."`
	Heat   float64 `json:"heat" minimum:"0" doc:"Uses of late, on all nodes: each counts half as much after an hour."`
	Nodes  int     `json:"nodes" minimum:"1" doc:"Nodes whose clients want it."`
}

func (s *service) registerHot(api huma.API) {
	op := operation("list-hot", http.MethodGet, "hot", "The objects that clients of the whole cluster want most")
	op.Description = "The hottest first, as each node told it within the last minute or so. 503 while the directory is away."
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Limit int `query:"limit" default:"20" minimum:"1" maximum:"1000"`
	}) (*struct{ Body HotObjects }, error) {
		hottest, err := s.Cluster.Hottest(ctx, in.Limit)
		out := HotObjects{[]HotObject{}}
		for _, h := range hottest {
			out.Objects = append(out.Objects, HotObject{shown(h.URL, string(h.Key)), h.Length, h.Heat, h.Nodes})
		}
		return &struct{ Body HotObjects }{out}, problem(err)
	})
}
