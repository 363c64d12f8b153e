// Package replica keeps as many complete copies of an object in the cluster as
// are wanted.
//
// What is wanted stands in the directory. The leader, whose tracker knows who has
// what, compares the two and gives orders to nodes that have none; each node gets
// its copies from peers. Only what nobody has any more comes from its origin, if
// it has one. While all is well nobody asks or writes anything but the list of
// nodes, every few seconds, and that is the leader alone.
package replica

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/swarmcache"
)

// Directory is the part of a cluster.Cluster that the leader needs.
type Directory interface {
	Nodes(context.Context) ([]swarmcache.Node, error)
	FollowKept(ctx context.Context, f func(all bool, kept map[string]swarmcache.Kept, gone []string)) error
	Orders(context.Context) ([]swarmcache.Order, error)
	Order(context.Context, swarmcache.Order) error
	EndOrder(context.Context, swarmcache.Order) error
	TellHealth(context.Context, swarmcache.Health) error
}

// LeaderConfig is what a Leader is made of. Defaults are in brackets.
type LeaderConfig struct {
	Directory Directory
	// Leads reports whether this node leads, EachSeeder calls f for the nodes that
	// have all of a swarm until it returns false. Neither does I/O.
	Leads      func() bool
	EachSeeder func(ih swarmcache.InfoHash, f func(swarmcache.NodeID) bool)

	Every  time.Duration // it looks [2 s]
	After  time.Duration // so long copies are missing before others are made: nodes restart [0]
	Settle time.Duration // so long a new leader waits until all have told what they have [10 s]

	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// Bounds of what is under way at a time, in the whole cluster and on one node.
const (
	maxOrders  = 32
	maxPerNode = 2
)

const (
	orderFor = time.Hour        // so long an order may stand
	sparedBy = 10 * time.Minute // so long a node is not asked again for what it could not get
	tellAll  = 50               // magnets that are not healthy are named to all
	tellRest = 5 * time.Second  // between two times that they are
)

// Leader looks after the magnets while its node leads.
type Leader struct {
	cfg LeaderConfig
	log *slog.Logger

	mu     sync.Mutex // guards the fields below
	kept   map[string]swarmcache.Kept
	caught bool // kept is what the directory says
	health swarmcache.Health

	// The fields below belong to step.
	since    time.Time // it leads
	ordered  bool      // there may be orders
	ill      map[string]*illness
	standing map[made]bool      // orders that stood in the last round, and
	made     map[made]time.Time // those that were obeyed since: the tracker may hear of it later
	told     swarmcache.Health
	toldAt   time.Time
	ordersOf *prometheus.CounterVec
}

// made is a copy on a node.
type made struct {
	id   swarmcache.ObjectID
	node swarmcache.NodeID
}

// heardBy is the time in which a tracker hears of a new copy.
const heardBy = 5 * time.Second

// illness is what is known of a magnet that is not healthy.
type illness struct {
	since  time.Time
	failed map[swarmcache.NodeID]time.Time // could not get a copy, then
	why    string                          // the last one could not
}

// NewLeader returns a Leader that looks at nothing before Run.
func NewLeader(cfg LeaderConfig) *Leader {
	cfg.Every, cfg.Settle = cmp.Or(cfg.Every, 2*time.Second), cmp.Or(cfg.Settle, 10*time.Second)
	l := &Leader{cfg: cfg, log: cfg.Logger.With("component", "replicas")}
	l.ordersOf = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "shatabdi", Name: "replica_orders_total", Help: "Copies that this node, as the leader, asked others to make, by where they come from.",
	}, []string{"source"})
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(l.ordersOf, magnets{l})
	}
	return l
}

// Run looks after the magnets whenever this node leads, until ctx is done.
func (l *Leader) Run(ctx context.Context) error {
	for ; ; l.forget() {
		for !l.cfg.Leads() {
			if !pause(ctx, l.cfg.Every/2) {
				return nil
			}
		}
		l.lead(ctx)
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (l *Leader) lead(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	l.since, l.ordered, l.ill, l.told = time.Now(), true, map[string]*illness{}, swarmcache.Health{Healthy: -1}
	l.standing, l.made = map[made]bool{}, map[made]time.Time{}
	wg.Go(func() { l.cfg.Directory.FollowKept(ctx, l.follow) })
	for pause(ctx, l.cfg.Every) && l.cfg.Leads() {
		if err := l.step(ctx, time.Now()); err != nil {
			l.log.Debug("look after the magnets", "error", err)
		}
	}
}

func (l *Leader) follow(all bool, kept map[string]swarmcache.Kept, gone []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if all {
		l.kept, l.caught = kept, true
		return
	}
	maps.Copy(l.kept, kept)
	for _, name := range gone {
		delete(l.kept, name)
	}
}

func (l *Leader) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept, l.caught, l.health = nil, false, swarmcache.Health{}
}

// round is one look at everything.
type round struct {
	now    time.Time
	nodes  map[swarmcache.NodeID]swarmcache.Node
	able   []swarmcache.Node             // of those, who may get copies
	orders map[string][]swarmcache.Order // that stand, by what is kept
	busy   map[swarmcache.NodeID]int     // orders that a node has
	given  int                           // orders, in all
	ills   []swarmcache.Ill
}

// step compares what is wanted with what is there, and gives orders.
func (l *Leader) step(ctx context.Context, now time.Time) error {
	if now.Sub(l.since) < l.cfg.Settle {
		return nil
	}
	l.mu.Lock()
	kept, caught := maps.Clone(l.kept), l.caught
	l.mu.Unlock()
	if !caught {
		return nil
	}
	r := &round{now: now, nodes: map[swarmcache.NodeID]swarmcache.Node{}, orders: map[string][]swarmcache.Order{}, busy: map[swarmcache.NodeID]int{}}
	nodes, err := l.cfg.Directory.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if r.nodes[n.ID] = n; !n.Draining {
			r.able = append(r.able, n)
		}
	}
	rand.Shuffle(len(r.able), func(i, k int) { r.able[i], r.able[k] = r.able[k], r.able[i] })
	if err := l.takeOrders(ctx, r, kept); err != nil {
		return err
	}
	h := swarmcache.Health{}
	for name, k := range kept {
		switch state, err := l.look(ctx, r, name, k); {
		case err != nil:
			return err
		case state == swarmcache.Healthy:
			h.Healthy++
			delete(l.ill, name)
		case state == swarmcache.Degraded:
			h.Degraded++
		default:
			h.Lost++
		}
	}
	for name := range l.ill {
		if _, is := kept[name]; !is {
			delete(l.ill, name)
		}
	}
	h.Ill = r.worst()
	l.mu.Lock()
	l.health = h
	l.mu.Unlock()
	return l.tell(ctx, h, now)
}

// takeOrders reads the orders that stand, if there may be any, and ends those
// that nobody can obey.
func (l *Leader) takeOrders(ctx context.Context, r *round, kept map[string]swarmcache.Kept) error {
	if !l.ordered {
		return nil
	}
	all, err := l.cfg.Directory.Orders(ctx)
	if err != nil {
		return err
	}
	byKey := make(map[swarmcache.ObjectID]string, len(kept))
	for name, k := range kept {
		byKey[k.ID] = name
	}
	stood := l.standing
	l.standing = map[made]bool{}
	for _, o := range all {
		delete(stood, made{o.Kept.ID, o.Node})
		name, wanted := byKey[o.Kept.ID]
		_, lives := r.nodes[o.Node]
		if o.Failed != "" && wanted {
			l.illOf(name, r.now).fail(o, r.now)
			l.log.Warn("a copy could not be made", "on", o.Node, "url", o.Kept.URL, "reason", o.Failed)
		}
		if o.Failed != "" || !wanted || !lives || r.now.Sub(o.At) > orderFor {
			if err := l.cfg.Directory.EndOrder(ctx, o); err != nil {
				return err
			}
			continue
		}
		l.standing[made{o.Kept.ID, o.Node}] = true
		r.orders[name] = append(r.orders[name], o)
		r.busy[o.Node]++
		r.given++
	}
	for m := range stood {
		l.made[m] = r.now
	}
	maps.DeleteFunc(l.made, func(_ made, at time.Time) bool { return r.now.Sub(at) > heardBy })
	l.ordered = r.given+len(l.made) > 0
	return nil
}

func (l *Leader) illOf(name string, now time.Time) *illness {
	if l.ill[name] == nil {
		l.ill[name] = &illness{since: now, failed: map[swarmcache.NodeID]time.Time{}}
	}
	return l.ill[name]
}

func (i *illness) fail(o swarmcache.Order, now time.Time) {
	i.failed[o.Node], i.why = now, o.Failed
}

// look judges one magnet, and has copies made if there are too few.
func (l *Leader) look(ctx context.Context, r *round, name string, k swarmcache.Kept) (state string, err error) {
	var here []swarmcache.Node // copies that count
	leaving := 0               // copies that do not, but can be had
	l.cfg.EachSeeder(k.InfoHash, func(id swarmcache.NodeID) bool {
		switch n, lives := r.nodes[id]; {
		case lives && n.Draining:
			leaving++
		case lives:
			here = append(here, n)
		}
		return len(here) < k.Replicas
	})
	for m := range l.made {
		n, lives := r.nodes[m.node]
		if m.id == k.ID && lives && !slices.ContainsFunc(here, func(h swarmcache.Node) bool { return h.ID == n.ID }) {
			here = append(here, n)
		}
	}
	target := min(k.Replicas, len(r.able)) // no node needs two
	if len(here) >= max(target, 1) {
		return swarmcache.Healthy, nil
	}
	ill := l.illOf(name, r.now)
	lost := len(here)+leaving == 0
	ordered := 0
	if r.now.Sub(ill.since) >= l.cfg.After {
		need := target - len(here)
		if lost {
			need = min(need, 1) // others get it from there
		}
		if lost && !k.HasOrigin() {
			need = 0
		}
		if ordered, err = l.order(ctx, r, name, k, ill, here, need, lost); err != nil {
			return "", err
		}
	}
	state = swarmcache.Degraded
	if lost {
		state = swarmcache.Lost
	}
	r.ills = append(r.ills, swarmcache.Ill{
		Key: k.Key, URL: k.URL, State: state, Replicas: len(here), Wanted: k.Replicas, Since: ill.since.UTC().Truncate(time.Second),
		Why: l.why(r, k, ill, len(here), lost, ordered),
	})
	return state, nil
}

// why says what is wrong and what is done about it.
func (l *Leader) why(r *round, k swarmcache.Kept, ill *illness, here int, lost bool, ordered int) string {
	what := fmt.Sprintf("%d of %d copies", here, k.Replicas)
	if lost {
		what = "no node has it"
	}
	switch {
	case ordered > 0 && lost:
		return what + ", it is fetched from its origin"
	case ordered > 0:
		return fmt.Sprintf("%s, %d more being made", what, ordered)
	case lost && !k.HasOrigin():
		return what + ", and it has no origin"
	case r.now.Sub(ill.since) < l.cfg.After:
		return what + ", waiting for missing nodes to come back"
	case ill.why != "":
		return what + ", a node could not get it: " + ill.why
	}
	return what + ", others come first"
}

// order has nodes make copies that have none, and returns how many are being made.
func (l *Leader) order(ctx context.Context, r *round, name string, k swarmcache.Kept, ill *illness, here []swarmcache.Node, need int, lost bool) (int, error) {
	used := slices.Clone(here)
	for _, o := range r.orders[name] {
		used = append(used, r.nodes[o.Node])
	}
	making := len(r.orders[name])
	for ; making < need && r.given < maxOrders; making++ {
		n, ok := choose(r, ill, used)
		if !ok {
			break
		}
		o := swarmcache.Order{Node: n.ID, Kept: k, Origin: lost, At: r.now}
		if err := l.cfg.Directory.Order(ctx, o); err != nil {
			return making, err
		}
		source := "peers"
		if lost {
			source = "origin"
		}
		l.ordersOf.WithLabelValues(source).Inc()
		l.log.Info("a copy is to be made", "on", n.ID, "url", k.URL, "source", source)
		used = append(used, n)
		l.ordered = true
		l.standing[made{k.ID, n.ID}] = true
		r.busy[n.ID]++
		r.given++
	}
	return making, nil
}

// choose picks a node for one more copy: where no copy is in its zone, or else in
// its rack, and that has the least to do.
func choose(r *round, ill *illness, used []swarmcache.Node) (best swarmcache.Node, ok bool) {
	least := 0
	for _, n := range r.able {
		near := 0
		for _, u := range used {
			switch {
			case u.ID == n.ID:
				near = 3
			case u.Zone == n.Zone && u.Rack == n.Rack:
				near = max(near, 2)
			case u.Zone == n.Zone:
				near = max(near, 1)
			}
		}
		tried, failed := ill.failed[n.ID]
		if near == 3 || r.busy[n.ID] >= maxPerNode || failed && r.now.Sub(tried) < sparedBy {
			continue
		}
		if cost := near*(maxPerNode+1) + r.busy[n.ID]; !ok || cost < least {
			best, least, ok = n, cost, true
		}
	}
	return best, ok
}

// worst are those that are named to all.
func (r *round) worst() []swarmcache.Ill {
	slices.SortFunc(r.ills, func(a, b swarmcache.Ill) int {
		return cmp.Or(cmp.Compare(b.State, a.State), a.Since.Compare(b.Since), cmp.Compare(a.Key, b.Key)) // lost, degraded
	})
	return r.ills[:min(len(r.ills), tellAll)]
}

// tell lets the others know, if there is something new.
func (l *Leader) tell(ctx context.Context, h swarmcache.Health, now time.Time) error {
	same := h.Healthy == l.told.Healthy && h.Degraded == l.told.Degraded && h.Lost == l.told.Lost && slices.Equal(h.Ill, l.told.Ill)
	if same || now.Sub(l.toldAt) < min(tellRest, 4*l.cfg.Every) {
		return nil
	}
	if err := l.cfg.Directory.TellHealth(ctx, h); err != nil {
		return err
	}
	l.told, l.toldAt = h, now
	return nil
}

// pause waits; false when ctx is done first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

var descMagnets = prometheus.NewDesc("shatabdi_magnets",
	"Objects of which copies are kept, by state, as this node sees it while it leads; 0 on others.", []string{"state"}, nil)

// magnets reads the books when asked.
type magnets struct{ l *Leader }

func (m magnets) Describe(ch chan<- *prometheus.Desc) { ch <- descMagnets }

func (m magnets) Collect(ch chan<- prometheus.Metric) {
	m.l.mu.Lock()
	h := m.l.health
	m.l.mu.Unlock()
	for state, n := range map[string]int{swarmcache.Healthy: h.Healthy, swarmcache.Degraded: h.Degraded, swarmcache.Lost: h.Lost} {
		ch <- prometheus.MustNewConstMetric(descMagnets, prometheus.GaugeValue, float64(n), state)
	}
}
