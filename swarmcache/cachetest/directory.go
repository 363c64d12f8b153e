package cachetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Directories is a directory in memory, shared by the nodes of a test. It keeps
// the contract of swarmcache.Directory to the letter, and can be made to fail.
type Directories struct {
	mu        sync.Mutex // guards everything below; never held while a caller is told
	rev       int64
	away      chan struct{} // closed while the directory is away
	delay     time.Duration
	size      int
	counts    DirectoryCounts
	objects   map[policy.Key]swarmcache.Version
	published map[policy.Key]int64 // when, by rev
	filling   map[policy.Key]*pointer
	boards    map[swarmcache.ObjectID]*sheet
	first     map[policy.Key]*first
	expected  map[*expected]struct{}
	slots     map[string]*slots // by origin
	purges    []swarmcache.Purge
	purged    chan struct{} // closed and renewed with each purge
}

// DirectoryCounts is what the nodes asked of a directory. Claims are spans asked
// for, of which LostClaims went to somebody else.
type DirectoryCounts struct {
	Lookups, Publishes, Withdraws, FirstClaims  int
	Expectations                                int
	Refused                                     int // while it was away
	SlotClaims                                  int
	Opens, Joins, Leaves                        int
	Claims, LostClaims, Progresses, Lands, Free int
}

// pointer leads from a key to the fill that runs for it, and remembers restarts.
type pointer struct {
	fill     swarmcache.ObjectID // empty: none runs
	restarts int
	last     time.Time
	poisoned bool
}

// expected is what one node waits for.
type expected struct {
	key  policy.Key
	node swarmcache.NodeID
}

// first is one node's claim on the first GET for a key.
type first struct {
	holder swarmcache.NodeID
	over   chan struct{}
}

// NewDirectory returns an empty directory.
func NewDirectory() *Directories {
	return &Directories{
		away:      make(chan struct{}),
		objects:   map[policy.Key]swarmcache.Version{},
		published: map[policy.Key]int64{},
		filling:   map[policy.Key]*pointer{},
		boards:    map[swarmcache.ObjectID]*sheet{},
		first:     map[policy.Key]*first{},
		expected:  map[*expected]struct{}{},
		slots:     map[string]*slots{},
		purged:    make(chan struct{}),
	}
}

// Node returns the directory as n sees it.
func (d *Directories) Node(n swarmcache.Node) swarmcache.Directory { return &directory{d, n} }

// SetSize says how many nodes there are.
func (d *Directories) SetSize(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.size = n
}

// SetAvailable(false) makes every method answer ErrUnavailable, also those that
// wait. Watches stay, and are silent because nothing can change.
func (d *Directories) SetAvailable(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch down := d.downLocked(); {
	case yes && down:
		d.away = make(chan struct{})
	case !yes && !down:
		close(d.away)
	}
}

// SetDelay makes every later change reach the watchers that much later.
func (d *Directories) SetDelay(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = by
}

// Expire takes a node's lease away: its claims and its participations end.
func (d *Directories) Expire(id swarmcache.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, f := range d.first {
		if f.holder == id {
			close(f.over)
			delete(d.first, k)
		}
	}
	for e := range d.expected {
		if e.node == id {
			delete(d.expected, e)
		}
	}
	for _, o := range d.slots {
		o.departLocked(id)
	}
	for _, s := range d.boards {
		s.departLocked(id)
	}
}

// Counts returns what was asked so far.
func (d *Directories) Counts() DirectoryCounts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

func (d *Directories) downLocked() bool {
	select {
	case <-d.away:
		return true
	default:
		return false
	}
}

// lock locks the directory for one request and counts it, or tells why it
// cannot be asked; then it is not locked.
func (d *Directories) lock(ctx context.Context, counter *int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	if d.downLocked() {
		d.counts.Refused++
		d.mu.Unlock()
		return swarmcache.ErrUnavailable
	}
	*counter++
	return nil
}

// directory is one node's view.
type directory struct {
	*Directories
	self swarmcache.Node
}

func (d *directory) Secret() []byte {
	s := sha256.Sum256([]byte("the secret of a test"))
	return s[:]
}

// Size is what SetSize said.
func (d *directory) Size() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.size
}

func (d *directory) Lookup(ctx context.Context, key policy.Key) (*swarmcache.Version, *swarmcache.FillRecord, error) {
	if err := d.lock(ctx, &d.counts.Lookups); err != nil {
		return nil, nil, err
	}
	defer d.mu.Unlock()
	version, fill := d.lookupLocked(key)
	if version == nil && fill == nil {
		return nil, nil, swarmcache.ErrNotFound
	}
	return version, fill, nil
}

func (d *directory) lookupLocked(key policy.Key) (version *swarmcache.Version, fill *swarmcache.FillRecord) {
	if v, ok := d.objects[key]; ok {
		version = &v
	}
	if p := d.filling[key]; p != nil {
		if s := d.boards[p.fill]; s != nil && s.fill.Ended == "" {
			r := s.fill
			fill = &r
		}
	}
	return version, fill
}

// Obeyed: who purges here has told all others when it returns.
func (d *directory) Obeyed() int64 { return 1 }

func (d *directory) Publish(ctx context.Context, v swarmcache.Version) error {
	if err := d.lock(ctx, &d.counts.Publishes); err != nil {
		return err
	}
	defer d.mu.Unlock()
	old, ok := d.objects[v.Key]
	switch {
	case ok && old.ID == v.ID && old.SHA256 != "" && v.SHA256 != "" && old.SHA256 != v.SHA256:
		return swarmcache.ErrPoisoned
	case ok && old.ID == v.ID:
		v = merge(old, v)
	case ok && date(old).After(date(v)):
		return swarmcache.ErrStale
	}
	delete(d.published, v.Key)
	d.objects[v.Key] = v
	d.rev++
	d.published[v.Key] = d.rev
	d.boundVariantsLocked(v.Key)
	return nil
}

// boundVariantsLocked removes the variant that was published first, if there are
// too many.
func (d *Directories) boundVariantsLocked(key policy.Key) {
	n, oldest := 0, key
	for k := range d.objects {
		if k.Base() != key.Base() || k == k.Base() {
			continue
		}
		if n++; d.published[k] < d.published[oldest] {
			oldest = k
		}
	}
	if n > swarmcache.MaxVariants {
		delete(d.objects, oldest)
	}
}

func (d *directory) Withdraw(ctx context.Context, key policy.Key) error {
	if err := d.lock(ctx, &d.counts.Withdraws); err != nil {
		return err
	}
	defer d.mu.Unlock()
	delete(d.objects, key)
	delete(d.filling, key)
	return nil
}

func (d *directory) WithdrawVersion(ctx context.Context, key policy.Key, id swarmcache.ObjectID) error {
	if err := d.lock(ctx, &d.counts.Withdraws); err != nil {
		return err
	}
	defer d.mu.Unlock()
	if v, there := d.objects[key]; there && v.ID == id {
		delete(d.objects, key)
	}
	if p := d.filling[key]; p != nil && p.fill == id {
		delete(d.filling, key)
	}
	return nil
}

func (d *directory) Purge(ctx context.Context, p swarmcache.Purge) error {
	d.mu.Lock()
	stands := slices.ContainsFunc(d.purges, func(q swarmcache.Purge) bool { return q.ID == p.ID })
	down := d.downLocked()
	d.mu.Unlock()
	if stands && !down {
		return nil
	}
	if err := d.lock(ctx, &d.counts.Withdraws); err != nil {
		return err
	}
	defer d.mu.Unlock()
	same := func(k policy.Key) bool { return !p.Soft && k.Base() == p.Key }
	maps.DeleteFunc(d.objects, func(k policy.Key, _ swarmcache.Version) bool { return same(k) })
	for k := range d.filling {
		if same(k) {
			delete(d.filling, k)
		}
	}
	d.purges = append(d.purges, p)
	close(d.purged)
	d.purged = make(chan struct{})
	return nil
}

func (d *directory) Invalidate(ctx context.Context, p swarmcache.Purge) (told bool, err error) {
	if err := d.lock(ctx, &d.counts.Withdraws); err != nil {
		return true, err
	}
	known := d.expectsLocked(p.Key)
	for k := range d.objects {
		known = known || k.Base() == p.Key
	}
	for k := range d.filling {
		known = known || k.Base() == p.Key
	}
	for k := range d.first {
		known = known || k.Base() == p.Key
	}
	d.mu.Unlock()
	if !known {
		return false, nil
	}
	return true, d.Purge(ctx, p)
}

func (d *directory) Expect(ctx context.Context, key policy.Key) (end func() (known bool), err error) {
	if err := d.lock(ctx, &d.counts.Expectations); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	e := &expected{key.Base(), d.self.ID}
	d.expected[e] = struct{}{}
	return func() bool {
		if d.lock(context.Background(), new(int)) != nil {
			return false
		}
		defer d.mu.Unlock()
		_, stood := d.expected[e]
		delete(d.expected, e)
		return stood
	}, nil
}

// Expects reports whether something is on its way.
func (d *Directories) Expects(key policy.Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expectsLocked(key)
}

func (d *Directories) expectsLocked(key policy.Key) bool {
	for e := range d.expected {
		if e.key == key {
			return true
		}
	}
	return false
}

func (d *directory) Purges(ctx context.Context, f func(swarmcache.Standing)) error {
	for afresh := true; ; afresh = false {
		d.mu.Lock()
		standing, more := slices.Clone(d.purges), d.purged
		d.mu.Unlock()
		f(swarmcache.Standing{Purges: standing, Afresh: afresh})
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
	}
}

func (d *directory) ClaimFirst(ctx context.Context, key policy.Key) (release func(), fresh bool, err error) {
	if err := d.lock(ctx, &d.counts.FirstClaims); err != nil {
		return nil, false, err
	}
	if f := d.first[key]; f != nil {
		away := d.away
		d.mu.Unlock()
		select {
		case <-f.over:
		case <-ctx.Done():
		case <-away:
			return nil, false, swarmcache.ErrUnavailable
		}
		return nil, false, &swarmcache.ClaimedError{Holder: f.holder}
	}
	defer d.mu.Unlock()
	if version, fill := d.lookupLocked(key); version != nil || fill != nil {
		return nil, false, &swarmcache.ClaimedError{There: &swarmcache.Selected{Version: version, Fill: fill}}
	}
	f := &first{d.self.ID, make(chan struct{})}
	d.first[key] = f
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.first[key] == f { // not released, and not lost with the lease
			close(f.over)
			delete(d.first, key)
		}
	}, d.filling[key] == nil, nil
}

func (d *directory) OpenFill(ctx context.Context, r swarmcache.FillRecord, spans ...int) (swarmcache.FillRecord, swarmcache.Board, error) {
	if err := d.lock(ctx, &d.counts.Opens); err != nil {
		return swarmcache.FillRecord{}, nil, err
	}
	defer d.mu.Unlock()
	if s := d.boards[r.Version.ID]; s != nil {
		return s.fill, nil, nil
	}
	p := d.filling[r.Version.Key]
	if p == nil {
		p = &pointer{}
		d.filling[r.Version.Key] = p
	}
	if time.Since(p.last) < restartWindow && (p.restarts >= 2 || p.poisoned) {
		r.Single = true
	}
	other := d.boards[p.fill]
	if other == nil || other.fill.Ended != "" || !date(other.fill.Version).After(date(r.Version)) {
		p.fill = r.Version.ID
	}
	if f := d.first[r.Version.Key]; f != nil && f.holder == d.self.ID {
		close(f.over)
		delete(d.first, r.Version.Key)
	}
	s := &sheet{
		dir: d.Directories, fill: r,
		spans: map[int]swarmcache.SpanRecord{}, nodes: map[swarmcache.NodeID]swarmcache.Member{},
		watchers: map[*watcher]bool{},
	}
	d.boards[r.Version.ID] = s
	b := d.joinLocked(s)
	for _, i := range spans {
		s.setLocked(swarmcache.SpanRecord{Span: i, Owner: d.self.ID})
	}
	return r, b, nil
}

func (d *directory) JoinFill(ctx context.Context, r swarmcache.FillRecord) (swarmcache.Board, error) {
	if err := d.lock(ctx, &d.counts.Joins); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	s := d.boards[r.Version.ID]
	if s == nil {
		return nil, swarmcache.ErrNotFound
	}
	return d.joinLocked(s), nil
}

func (d *directory) joinLocked(s *sheet) *board {
	_, listed := s.nodes[d.self.ID]
	if listed = listed || len(s.nodes) < swarmcache.MaxListed; listed {
		d.rev++
		m := swarmcache.Member{Node: d.self, Rev: d.rev}
		s.nodes[d.self.ID] = m
		s.tellLocked(swarmcache.BoardEvent{Joined: &m})
	}
	return &board{s, d.self.ID, listed}
}

// restartWindow is how long the restart of a fill counts against its key.
const restartWindow = 2 * time.Minute

// date is when the origin made the response (RFC 9110 §6.6.1), or when it came.
func date(v swarmcache.Version) time.Time {
	if t, err := http.ParseTime(v.Stored.Header.Get("Date")); err == nil {
		return t
	}
	return v.Stored.ResponseTime
}

// merge refreshes the facts of a version: the more recent response counts, and
// what is known of the bytes is never forgotten.
func merge(old, v swarmcache.Version) swarmcache.Version {
	switch {
	case date(old).After(date(v)):
		v.Stored = old.Stored
	case !date(v).After(date(old)):
		invalid := v.Stored.Invalid || old.Stored.Invalid && !v.Stored.ResponseTime.After(old.Stored.ResponseTime)
		if old.Stored.ResponseTime.After(v.Stored.ResponseTime) {
			v.Stored = old.Stored
		}
		v.Stored.Invalid = invalid
	}
	if v.SHA256 == "" {
		v.SHA256 = old.SHA256
	}
	if v.InfoHash.IsZero() {
		v.InfoHash = old.InfoHash
	}
	return v
}

// agree reports whether two lists of hashes say the same where both say something.
func agree(a, b []byte) bool {
	n := min(len(a), len(b))
	return bytes.Equal(a[:n], b[:n])
}
