package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/download"
)

// WarmupNode is how far a node has come with a warm-up of several.
type WarmupNode struct {
	ID      swarmcache.NodeID `json:"id"`
	Name    string            `json:"name,omitempty"`
	State   string            `json:"state" enum:"waiting,running,done,partial,away" doc:"away: it is not done, and goes on when it comes again."`
	Objects int               `json:"objects" minimum:"0"`
	Done    int               `json:"done" minimum:"0"`
	Passed  int               `json:"passed" minimum:"0"`
	Failed  int               `json:"failed" minimum:"0"`
	Bytes   int64             `json:"bytes" minimum:"0"`
	Total   int64             `json:"total_bytes" minimum:"0"`
	From    From              `json:"from"`
	Updated time.Time         `json:"updated,omitzero" doc:"When it last told."`
}

// startJob has several nodes warm up. What is wrong with the list is found here,
// before any of them is told.
func (s *service) startJob(ctx context.Context, o WarmupOrder) (w Warmup, err error) {
	if o.All && len(o.Nodes) > 0 {
		return w, invalid("body.nodes", "give nodes or all, not both")
	}
	if err := unsigned(o); err != nil {
		return w, err
	}
	live, err := s.Cluster.Nodes(ctx)
	if err != nil {
		return w, problem(err)
	}
	j := swarmcache.Job{ID: download.NewID(), At: time.Now().UTC().Truncate(time.Millisecond), By: s.Node.ID, Manifest: o.Manifest, Pinned: o.Pinned}
	if j.Nodes, err = choose(live, o); err != nil {
		return w, err
	}
	urls, err := s.listed(ctx, o)
	if err != nil {
		return w, err
	}
	if _, err := s.Downloads.Expand(ctx, urls, false); err != nil {
		return w, sourceProblem(err)
	}
	j.URLs = urls[:len(o.URLs)] // the manifest's each node reads for itself
	if err := s.Cluster.StartJob(ctx, j); err != nil {
		return w, problem(err)
	}
	return s.job(j, nil, live), nil
}

// unsigned refuses what would put a credential into the directory. What the lines of
// a manifest hold does not get there.
func unsigned(o WarmupOrder) error {
	const why = "its query may be a credential, which is not for the directory, by which other nodes are told: " +
		"order it from each node, without nodes or all (`shatabdi warm --admin`), or list it in a manifest, which each node reads for itself"
	for i, u := range o.URLs {
		if _, secret := download.Public(u); secret != "" {
			return invalid(fmt.Sprintf("body.urls[%d]", i), why)
		}
	}
	if _, secret := download.Public(o.Manifest); secret != "" {
		return invalid("body.manifest", why)
	}
	return nil
}

// choose picks the nodes that are named: by their names, or their ids, of which
// the first digits will do. All are those that do not drain.
func choose(live []swarmcache.Node, o WarmupOrder) (chosen []swarmcache.NodeID, err error) {
	if o.All {
		for _, n := range live {
			if !n.Draining {
				chosen = append(chosen, n.ID)
			}
		}
	}
	known := map[swarmcache.NodeID]bool{}
	for i, name := range o.Nodes {
		where := fmt.Sprintf("body.nodes[%d]", i)
		var fit []swarmcache.NodeID
		for _, n := range live {
			if n.Name == name || len(name) >= 4 && strings.HasPrefix(string(n.ID), name) {
				fit = append(fit, n.ID)
			}
		}
		switch {
		case len(fit) == 0:
			return nil, invalid(where, fmt.Sprintf("no node that lives has the name or id %q", name))
		case len(fit) > 1:
			return nil, invalid(where, fmt.Sprintf("%q is the name or id of %d nodes; give more of the id", name, len(fit)))
		case !known[fit[0]]:
			known[fit[0]] = true
			chosen = append(chosen, fit[0])
		}
	}
	if len(chosen) == 0 {
		return nil, invalid("body", "no node that does not drain lives")
	}
	return chosen, nil
}

// allJobs are those of a page, and one more if there is: nobody asks how far the
// others have come.
func (s *service) allJobs(ctx context.Context, cursor string, limit int) (all []Warmup, err error) {
	jobs, err := s.Cluster.Jobs(ctx)
	jobs, _ = paged(jobs, func(j swarmcache.Job) string { return j.ID }, cursor, limit+1)
	if err != nil || len(jobs) == 0 {
		return nil, err
	}
	return s.progress(ctx, "", jobs...)
}

// oneJob is one of them. It is asked for again and again, and the others may be long.
func (s *service) oneJob(ctx context.Context, id string) (w Warmup, err error) {
	j, err := s.Cluster.Job(ctx, id)
	if err != nil {
		return w, err
	}
	all, err := s.progress(ctx, id, j)
	if err != nil {
		return w, err
	}
	return all[0], nil
}

// progress adds what was told of them: of one, or of all with an empty id.
func (s *service) progress(ctx context.Context, only string, jobs ...swarmcache.Job) (all []Warmup, err error) {
	parts, err := s.Cluster.Parts(ctx, only)
	if err != nil {
		return nil, err
	}
	live, err := s.Cluster.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		all = append(all, s.job(j, parts, live))
	}
	return all, nil
}

// job adds up what its nodes have told; live are the nodes of now.
func (s *service) job(j swarmcache.Job, parts []swarmcache.JobPart, live []swarmcache.Node) Warmup {
	w := Warmup{ID: j.ID, State: "done", Failures: []WarmupFailure{}, Created: j.At}
	told := map[swarmcache.NodeID]swarmcache.JobPart{}
	for _, p := range parts {
		if p.Job == j.ID {
			told[p.Node] = p
		}
	}
	lives := map[swarmcache.NodeID]swarmcache.Node{}
	for _, n := range live {
		lives[n.ID] = n
	}
	running, short := false, false
	for _, id := range j.Nodes {
		p, begun := told[id]
		n, here := lives[id]
		one := WarmupNode{
			ID: id, Name: n.Name, State: "running", Objects: p.Objects, Done: p.Done, Passed: p.Passed, Failed: p.Failed,
			Bytes: p.Bytes, Total: p.Total, From: From{p.Local, p.Peers, p.Origin}, Updated: p.At,
		}
		switch {
		case p.Over && p.Failed > 0:
			one.State, short = "partial", true
		case p.Over:
			one.State = "done"
		case !here:
			one.State, short = "away", true
		case !begun:
			one.State, running = "waiting", true
		default:
			running = true
		}
		w.Nodes = append(w.Nodes, one)
		w.add(one)
		for _, f := range p.Failures {
			if len(w.Failures) < shownFailures {
				w.Failures = append(w.Failures, WarmupFailure{URL: s.shown(f.URL), Error: f.Error, Node: id})
			}
		}
	}
	switch {
	case running:
		w.State = "running"
	case short:
		w.State = "partial"
	}
	return w
}

// shownFailures of all nodes are shown.
const shownFailures = 20

func (w *Warmup) add(n WarmupNode) {
	w.Objects += n.Objects
	w.Done += n.Done
	w.Passed += n.Passed
	w.Failed += n.Failed
	w.Bytes += n.Bytes
	w.Total += n.Total
	w.From.Local += n.From.Local
	w.From.Peers += n.From.Peers
	w.From.Origin += n.From.Origin
}

// cancelWarmup ends a warm-up: of several nodes, or this one's own, which needs no
// directory.
func (s *service) cancelWarmup(ctx context.Context, id string) error {
	if w, err := s.Downloads.Warmup(id); err == nil && !w.Part {
		return s.Downloads.CancelWarmup(id)
	}
	return s.Cluster.CancelJob(ctx, id)
}
