package api

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/swarmcache"
)

// Nodes are the members of the cluster, in the order of their ids.
type Nodes struct {
	Nodes []Node `json:"nodes" nullable:"false"`
	Next  string `json:"next_cursor,omitempty" doc:"Pass it as cursor for the next page; absent on the last one."`
}

// Node is one member, as it describes itself.
type Node struct {
	ID       swarmcache.NodeID `json:"id"`
	Name     string            `json:"name,omitempty" doc:"As its operator calls it."`
	Self     bool              `json:"self" doc:"The node that answers."`
	Leader   bool              `json:"leader" doc:"The node that runs the tracker."`
	Peers    []netip.AddrPort  `json:"peers" nullable:"false" doc:"Where its swarm listens."`
	Tracker  string            `json:"tracker,omitempty" doc:"Its announce URL, should it lead."`
	Zone     string            `json:"zone,omitempty"`
	Rack     string            `json:"rack,omitempty"`
	Version  string            `json:"version,omitempty"`
	Draining bool              `json:"draining"`
}

func (s *service) registerNodes(api huma.API) {
	op := operation("list-nodes", http.MethodGet, "nodes", "The members of the cluster")
	op.Description = "Asks the directory; 503 while that is away."
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Limit  int    `query:"limit" default:"1000" minimum:"1" maximum:"10000" doc:"Nodes on a page."`
		Cursor string `query:"cursor" pattern:"^[0-9a-f]{16}$" doc:"The next_cursor of the page before."`
	}) (*struct{ Body Nodes }, error) {
		members, err := s.Cluster.Nodes(ctx)
		if err != nil {
			return nil, problem(err)
		}
		members, next := paged(members, func(n swarmcache.Node) string { return string(n.ID) }, in.Cursor, in.Limit)
		return &struct{ Body Nodes }{Nodes{s.nodes(members), next}}, nil
	})
}

func (s *service) nodes(members []swarmcache.Node) []Node {
	_, leader, _ := s.Cluster.Leader()
	all := make([]Node, len(members))
	for i, m := range members {
		all[i] = Node{
			ID: m.ID, Name: m.Name, Self: m.ID == s.Node.ID, Leader: m.ID == leader,
			Peers: append([]netip.AddrPort{}, m.Peers...), Tracker: m.Tracker,
			Zone: m.Zone, Rack: m.Rack, Version: m.Version, Draining: m.Draining,
		}
	}
	return all
}
