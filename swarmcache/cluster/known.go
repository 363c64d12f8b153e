package cluster

import (
	"bytes"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"shatabdi/swarmcache"
)

// Known is what a node keeps of its cluster from run to run.
type Known struct {
	ID     string `json:"id"`
	Secret []byte `json:"secret"`
	Epoch  int64  `json:"epoch,omitempty"`
	Nodes  int64  `json:"nodes,omitempty"` // the most that were counted; 0: none were
	Etcd   Moment `json:"etcd,omitzero"`
	// After is the cluster that this one took the place of.
	After string `json:"after,omitempty"`
	// Places are where the cluster's etcd was, addresses with the prefix, and Seen is
	// when it last answered there.
	Places []string  `json:"places,omitempty"`
	Seen   time.Time `json:"seen,omitzero"`
}

// places are where etcd is.
func (cfg Config) places() []string {
	var all []string
	for _, e := range cfg.Endpoints {
		all = append(all, strings.TrimSuffix(e, "/")+cfg.Prefix)
	}
	return all
}

// Moment is how far an etcd has come. It never goes back, unless etcd was restored
// from a copy or is another one.
type Moment struct {
	Cluster uint64 `json:"cluster"` // as etcd calls itself
	Term    uint64 `json:"term"`
	Rev     int64  `json:"rev"`
}

func moment(h *etcdserverpb.ResponseHeader) Moment {
	return Moment{h.GetClusterId(), h.GetRaftTerm(), h.GetRevision()}
}

// before reports whether an etcd that is here now has lost what it had at past.
func (m Moment) before(past Moment) bool {
	return past != (Moment{}) && (m.Cluster != past.Cluster || m.Term < past.Term || m.Rev < past.Rev)
}

// recall begins with what an earlier run knew. Until first contact a node that
// knows nothing is alone, and so is its secret.
func (c *Cluster) recall(k Known) {
	if id := c.cfg.ClusterID; id != "" && id != k.ID {
		k = Known{ID: id} // it moves there: what it knows is another cluster's
	}
	if k.Secret == nil {
		k.Secret = randomSecret()
	}
	c.record, c.past, c.most = record{ID: k.ID, Secret: k.Secret, Epoch: k.Epoch, After: k.After}, k.Etcd, k.Nodes
	c.places, c.seen = k.Places, k.Seen
}

// outlives reports whether r knows of an epoch after got's, which then comes from
// an old copy.
func (r record) outlives(got record) bool { return r.Epoch > got.Epoch }

func (r record) nextEpoch() int64 { return max(time.Now().Unix(), r.Epoch+1) }

// adopt takes over the cluster's record as it stands, since that revision.
func (c *Cluster) adopt(known, got record, now Moment, rev int64) {
	c.mu.Lock()
	c.record, c.recorded, c.places = got, rev, c.cfg.places()
	c.answeredLocked(time.Now())
	c.pastLocked(now)
	if known.ID != got.ID {
		c.most = 1
	}
	c.mu.Unlock()
	switch {
	case known.ID != "" && known.ID == got.After && known.ID != got.ID:
		c.log.Warn("etcd seems to have been wiped: a new cluster is in the place of this node's, which belongs to that one now, and has all it stored confirmed by its origins before use; "+
			"if it does not belong there, stop it and start it in the right place with --etcd-cluster-id", "was", known.ID, "is", got.ID, "should_be", "--etcd-cluster-id "+known.ID)
	case known.ID != "" && known.ID != got.ID:
		c.log.Info("this node was alone, and moves to another cluster", "was", known.ID, "is", got.ID)
	case known.Epoch != 0 && known.Epoch != got.Epoch:
		c.log.Warn("etcd has lost data of the cluster", "epoch", got.Epoch)
	}
}

// counted notes how many nodes there are, and how far etcd has come, by an answer
// that reflects all that was agreed on before it. It has that kept.
func (c *Cluster) counted(h *etcdserverpb.ResponseHeader, nodes int64) {
	c.size.Store(nodes)
	c.mu.Lock()
	c.answeredLocked(time.Now())
	now := moment(h)
	back := now.before(c.past) // keepAlive finds out
	if !back {
		c.pastLocked(now)
		c.most = max(c.most, nodes)
	}
	k := Known{c.record.ID, bytes.Clone(c.record.Secret), c.record.Epoch, c.most, c.past, c.record.After, c.places, c.seen}
	c.mu.Unlock()
	if !back && c.cfg.OnKnown != nil {
		c.cfg.OnKnown(k)
	}
}

// saw notes how far etcd has come, by any answer.
func (c *Cluster) saw(h *etcdserverpb.ResponseHeader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answeredLocked(time.Now())
	if now := moment(h); !now.before(c.past) {
		c.pastLocked(now)
	}
}

// pastLocked notes that the cluster's etcd, as this node knows it, has come that far.
func (c *Cluster) pastLocked(now Moment) { c.past, c.seen = now, time.Now().Round(0) }

// outOfTouch is how long etcd may be silent and what this node has still count: while
// it is in touch nobody tells it of what others replace either.
const outOfTouch = 2 * time.Minute

// answeredLocked notes that etcd answered. It needs mu.
func (c *Cluster) answeredLocked(now time.Time) {
	// By both clocks: one of them stands still while the machine sleeps.
	gap := max(now.Sub(c.answered), now.Round(0).Sub(c.answered.Round(0)))
	if !c.answered.IsZero() && gap > c.silence {
		c.absences++
	}
	c.answered = now
}

// absence tells how often etcd was silent for long, and its era since.
func (c *Cluster) absence() (n int, now swarmcache.Era) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.absences, c.record.era()
}

// seemsRestored reports whether etcd seems to have come less far than before. A
// member that lags behind the others answers like that too.
func (c *Cluster) seemsRestored(h *etcdserverpb.ResponseHeader) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return moment(h).before(c.past)
}

// Era is that of what etcd tells now.
func (c *Cluster) Era() swarmcache.Era {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.record.era()
}
