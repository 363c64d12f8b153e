package cachetest

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// DirectoryLab makes the nodes of one test, all on one empty directory.
type DirectoryLab interface {
	// Node returns the directory as a node sees it, ready to answer.
	Node(swarmcache.Node) swarmcache.Directory
	// Expire takes a node's lease away, or kills the node, and returns when
	// nothing stands under the lease any more. The node may be of no use then.
	Expire(swarmcache.NodeID)
}

// TestDirectory checks that a body of swarmcache.Directory keeps its contract.
func TestDirectory(t *testing.T, open func(t *testing.T) DirectoryLab) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, l lab)
	}{
		{"UnknownKeyIsNotFound", unknownKey},
		{"SecretIsShared", sharedSecret},
		{"PublishedVersionIsFoundByAll", published},
		{"OlderDateNeverReplacesNewer", olderDate},
		{"RefreshKeepsWhatIsKnownOfTheBytes", refreshKeeps},
		{"WithdrawnKeySelectsNothing", withdrawn},
		{"PurgesReachThoseWhoFollowAndThoseWhoCome", purges},
		{"VariantsStandSideBySideAndGoTogether", variants},
		{"OneOpensAndTheOthersJoin", oneOpens},
		{"OpenerTakesPartWithItsFirstSpans", openerTakesPart},
		{"LookupFindsTheRunningFill", findsFill},
		{"EndedFillIsNotRunning", endedFill},
		{"NewerVersionTakesTheKeyOver", newerFill},
		{"SecondRestartMakesTheNextSingle", restarts},
		{"PoisonMakesTheNextSingle", poisonSingle},
		{"JoiningAnUnknownFillIsNotFound", joinUnknown},
		{"OneOfManyClaimsASpan", claimRace},
		{"ManySpansAreClaimedEachOnItsMerits", claimMany},
		{"ClaimAtAnOldRevisionLoses", claimOldRevision},
		{"LandedSpanKeepsItsHashes", landed},
		{"LandedSpanClaimedAgainKeepsItsHashes", reclaimed},
		{"HashesAreCreateOnly", createOnly},
		{"LandSucceedsWithoutTheClaim", landWithoutClaim},
		{"ProgressShowsHashesEarly", progress},
		{"ReleasedSpanIsFree", released},
		{"LateWatcherIsToldWhatStands", lateWatcher},
		{"ParticipantsComeAndGo", participants},
		{"WhoComesAgainJoinedAfterItsLanding", comesAgain},
		{"ManyParticipantsAreNotAllListed", manyParticipants},
		{"UpdateReachesEverybody", updateFill},
		{"LastToLeaveDeletesAFinishedBoard", lastLeaves},
		{"UnfinishedBoardStays", unfinishedStays},
		{"LostLeaseFreesClaims", lostLease},
		{"LostLeaseKeepsTheHashesOfAReclaimedSpan", lostReclaim},
		{"PublishOtherBytes", publishOther},
		{"ClaimFirstIsExclusive", claimFirst},
		{"ClaimFirstOfWhatIsKnown", claimFirstKnown},
		{"ClaimFirstEndsWithTheFill", claimFirstFill},
		{"ClaimFirstEndsWithTheLease", claimFirstLease},
		{"ClaimFirstGivesUpWithItsContext", claimFirstContext},
		{"SlotsOfAnOriginAreBounded", slotsBounded},
		{"SlotsOfOriginsAreApart", slotsApart},
		{"ReleasedSlotServesTheSameNodeAgain", slotAgain},
		{"ReleasedSlotServesThoseWhoWait", slotInLine},
		{"SlotEndsWithTheLease", slotLease},
		{"WaitingForASlotEndsWithItsContext", slotContext},
		{"SlotsAreSharedInAStorm", slotStorm},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c.run(t, lab{open(t), ctx})
		})
	}
}

// lab adds what the cases share.
type lab struct {
	DirectoryLab
	ctx context.Context
}

func (l lab) node(i int) swarmcache.Directory { return l.Node(labNode(i)) }

func labNode(i int) swarmcache.Node {
	return swarmcache.Node{
		ID:    swarmcache.NodeID(fmt.Sprintf("node-%d", i)),
		Peers: []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 42069)},
		Zone:  "z",
	}
}

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// version makes a version of key whose response is so old.
func version(key policy.Key, etag string, date time.Time) swarmcache.Version {
	v := swarmcache.Version{
		Key: key, URL: string(key), Validator: etag, Length: 32 << 20, PieceLen: 128 << 10,
		Stored: policy.Stored{
			Status:       200,
			Header:       http.Header{"Date": {date.Format(http.TimeFormat)}, "Etag": {etag}},
			ResponseTime: date,
		},
	}
	v.Identify()
	return v
}

func fillOf(v swarmcache.Version) swarmcache.FillRecord {
	return swarmcache.FillRecord{Version: v, MaxSpan: 4, Opener: "node-1"}
}

// hashes makes n piece hashes that depend on the seed.
func hashes(seed string, n int) []byte {
	var b []byte
	for i := range n {
		h := sha1.Sum(fmt.Appendf(nil, "%s %d", seed, i))
		b = append(b, h[:]...)
	}
	return b
}

// join opens or joins the fill of v from one node.
func (l lab) join(t *testing.T, d swarmcache.Directory, v swarmcache.Version) swarmcache.Board {
	t.Helper()
	r, b, err := d.OpenFill(l.ctx, fillOf(v))
	noErr(t, err)
	if b == nil {
		b, err = d.JoinFill(l.ctx, r)
		noErr(t, err)
	}
	return b
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// view is a board as one watcher was told.
type view struct {
	mu     sync.Mutex
	spans  map[int]swarmcache.SpanRecord
	nodes  map[swarmcache.NodeID]swarmcache.Member
	fill   swarmcache.FillRecord
	caught bool
	listed bool
	ended  chan error
}

func (l lab) watch(t *testing.T, b swarmcache.Board) *view {
	v := &view{
		spans: map[int]swarmcache.SpanRecord{}, nodes: map[swarmcache.NodeID]swarmcache.Member{},
		ended: make(chan error, 1),
	}
	ctx, cancel := context.WithCancel(l.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.ended <- b.Watch(ctx, v.apply)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return v
}

func (v *view) apply(e swarmcache.BoardEvent) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case e.Span != nil:
		v.spans[e.Span.Span] = *e.Span
	case e.Freed != nil:
		delete(v.spans, *e.Freed)
	case e.Joined != nil:
		v.nodes[e.Joined.ID] = *e.Joined
	case e.Left != "":
		delete(v.nodes, e.Left)
	case e.Fill != nil:
		v.fill = *e.Fill
	case e.Caught:
		v.caught = true
	case e.Listed:
		v.listed = true
	}
}

// until waits for a condition on the view.
func (v *view) until(t *testing.T, what string, ok func(v *view) bool) {
	t.Helper()
	eventually(t, what, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return ok(v)
	})
}

func (v *view) isListed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.listed
}

func (v *view) lists(id swarmcache.NodeID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.nodes[id]
	return ok
}

func (v *view) span(i int) swarmcache.SpanRecord {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.spans[i]
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within 15 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (l lab) claim(t *testing.T, b swarmcache.Board, spans ...swarmcache.SpanRecord) []bool {
	t.Helper()
	won, err := b.Claim(l.ctx, spans)
	noErr(t, err)
	return won
}

func free(i int) swarmcache.SpanRecord { return swarmcache.SpanRecord{Span: i} }

func unknownKey(t *testing.T, l lab) {
	v, f, err := l.node(1).Lookup(l.ctx, "http://o/none")
	wantErr(t, err, swarmcache.ErrNotFound)
	if v != nil || f != nil {
		t.Fatal("something came with ErrNotFound")
	}
}

func sharedSecret(t *testing.T, l lab) {
	a, b := l.node(1).Secret(), l.node(2).Secret()
	if len(a) != 32 || !bytes.Equal(a, b) {
		t.Fatalf("secrets %x and %x", a, b)
	}
}

func published(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	noErr(t, l.node(1).Publish(l.ctx, v))
	got, f, err := l.node(2).Lookup(l.ctx, v.Key)
	noErr(t, err)
	if got.ID != v.ID || got.Length != v.Length || got.Stored.Header.Get("Etag") != `"1"` || f != nil {
		t.Fatalf("got %+v, fill %v", got, f)
	}
}

func publishOther(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	noErr(t, l.node(1).Publish(l.ctx, v))
	v.SHA256 = "one"
	noErr(t, l.node(1).Publish(l.ctx, v))
	noErr(t, l.node(2).Publish(l.ctx, v))
	v.SHA256 = "two"
	wantErr(t, l.node(2).Publish(l.ctx, v), swarmcache.ErrPoisoned)
	got, _, err := l.node(2).Lookup(l.ctx, v.Key)
	noErr(t, err)
	if got.SHA256 != "one" {
		t.Fatalf("the digest is now %q", got.SHA256)
	}
}

func olderDate(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	newer, older := version("http://o/a", `"2"`, noon), version("http://o/a", `"1"`, noon.Add(-time.Second))
	noErr(t, a.Publish(l.ctx, older))
	noErr(t, b.Publish(l.ctx, newer))
	wantErr(t, a.Publish(l.ctx, older), swarmcache.ErrStale)
	got, _, err := a.Lookup(l.ctx, newer.Key)
	noErr(t, err)
	if got.ID != newer.ID {
		t.Fatal("the older version is current")
	}
}

func refreshKeeps(t *testing.T, l lab) {
	d := l.node(1)
	sealed := version("http://o/a", `"1"`, noon)
	sealed.SHA256, sealed.InfoHash = fmt.Sprintf("%064d", 7), swarmcache.InfoHash{1, 2, 3}
	noErr(t, d.Publish(l.ctx, sealed))
	for _, at := range []time.Duration{time.Hour, -time.Hour} { // a 304, then a late sealer
		noErr(t, d.Publish(l.ctx, version("http://o/a", `"1"`, noon.Add(at))))
	}
	got, _, err := d.Lookup(l.ctx, sealed.Key)
	noErr(t, err)
	if got.SHA256 != sealed.SHA256 || got.InfoHash != sealed.InfoHash {
		t.Fatalf("lost: %q %v", got.SHA256, got.InfoHash)
	}
	if !date(*got).Equal(noon.Add(time.Hour)) {
		t.Fatalf("facts of %v stand, want the most recent", date(*got))
	}
}

func withdrawn(t *testing.T, l lab) {
	d := l.node(1)
	v := version("http://o/a", `"1"`, noon)
	noErr(t, d.Publish(l.ctx, v))
	noErr(t, d.Withdraw(l.ctx, v.Key))
	noErr(t, d.Withdraw(l.ctx, v.Key))
	_, _, err := d.Lookup(l.ctx, v.Key)
	wantErr(t, err, swarmcache.ErrNotFound)
}

func purges(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	v := version("http://o/a", `"1"`, noon)
	noErr(t, a.Publish(l.ctx, v))
	here := l.followPurges(t, b)
	p := swarmcache.Purge{ID: "1", Key: v.Key, At: time.Now()}
	noErr(t, a.Purge(l.ctx, p))
	noErr(t, a.Purge(l.ctx, swarmcache.Purge{ID: "2", Key: "http://o/b", At: time.Now()}))
	_, _, err := b.Lookup(l.ctx, v.Key)
	wantErr(t, err, swarmcache.ErrNotFound)
	w := version("http://o/c", `"1"`, noon)
	again := swarmcache.Purge{ID: "3", Key: w.Key, At: time.Now()}
	noErr(t, a.Purge(l.ctx, again))
	noErr(t, a.Publish(l.ctx, w))
	noErr(t, b.Purge(l.ctx, again)) // who orders it once more does not undo what came after it
	_, _, err = b.Lookup(l.ctx, w.Key)
	noErr(t, err)
	for _, told := range []<-chan []swarmcache.Purge{here, l.followPurges(t, a)} {
		for all := range told {
			if len(all) == 3 {
				if !slices.ContainsFunc(all, func(q swarmcache.Purge) bool { return q.ID == p.ID && q.Key == p.Key && q.At.Equal(p.At) }) {
					t.Fatalf("told of %v", all)
				}
				break
			}
		}
	}
}

func variants(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	v := version("http://o/a", `"1"`, noon)
	of := func(i int) swarmcache.Version {
		return version(v.Key.Variant(http.Header{"Accept-Language": {fmt.Sprint(i)}}), `"1"`, noon)
	}
	noErr(t, a.Publish(l.ctx, v))
	for i := range swarmcache.MaxVariants + 1 {
		noErr(t, a.Publish(l.ctx, of(i)))
	}
	for i, want := range map[int]error{0: swarmcache.ErrNotFound, 1: nil, swarmcache.MaxVariants: nil} {
		if _, _, err := b.Lookup(l.ctx, of(i).Key); !errors.Is(err, want) {
			t.Errorf("variant %d: %v, want %v", i, err, want)
		}
	}
	noErr(t, b.Withdraw(l.ctx, v.Key)) // that one alone
	_, _, err := a.Lookup(l.ctx, of(1).Key)
	noErr(t, err)
	if told, err := b.Invalidate(l.ctx, swarmcache.Purge{ID: "1", Key: v.Key, At: time.Now()}); err != nil || !told {
		t.Errorf("told %v, %v", told, err)
	}
	_, _, err = a.Lookup(l.ctx, of(1).Key)
	wantErr(t, err, swarmcache.ErrNotFound)
	if told, err := b.Invalidate(l.ctx, swarmcache.Purge{ID: "2", Key: v.Key, At: time.Now()}); err != nil || told {
		t.Errorf("of what nobody has: told %v, %v", told, err)
	}
	release, _, err := a.ClaimFirst(l.ctx, v.Key)
	noErr(t, err)
	defer release()
	if told, err := b.Invalidate(l.ctx, swarmcache.Purge{ID: "3", Key: v.Key, At: time.Now()}); err != nil || !told {
		t.Errorf("of what is asked for now: told %v, %v", told, err)
	}
}

// followPurges returns what a directory tells of purges.
func (l lab) followPurges(t *testing.T, d swarmcache.Directory) <-chan []swarmcache.Purge {
	told := make(chan []swarmcache.Purge, 16)
	ctx, cancel := context.WithCancel(l.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(told)
		d.Purges(ctx, func(s swarmcache.Standing) { told <- s.Purges })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return told
}

func oneOpens(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	nodes := make([]swarmcache.Directory, 4)
	for i := range nodes {
		nodes[i] = l.node(i)
	}
	type result struct {
		r    swarmcache.FillRecord
		mine bool
		err  error
	}
	results := make([]result, 16)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			r := fillOf(v)
			r.Opener = swarmcache.NodeID(fmt.Sprint("opener-", i))
			got, board, err := nodes[i%4].OpenFill(l.ctx, r)
			results[i] = result{got, board != nil, err}
		})
	}
	wg.Wait()
	opened := 0
	for i, r := range results {
		noErr(t, r.err)
		if r.r.Opener != results[0].r.Opener {
			t.Fatal("two records for one fill")
		}
		if r.mine {
			opened++
			if want := swarmcache.NodeID(fmt.Sprint("opener-", i)); r.r.Opener != want {
				t.Fatalf("opened by %s, want %s", r.r.Opener, want)
			}
		}
	}
	if opened != 1 {
		t.Fatalf("%d opened the fill", opened)
	}
}

func openerTakesPart(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	_, a, err := l.node(1).OpenFill(l.ctx, fillOf(v), 0, 1)
	noErr(t, err)
	b := l.join(t, l.node(2), v)
	w := l.watch(t, b)
	w.until(t, "the opener is there", func(w *view) bool {
		_, there := w.nodes["node-1"]
		return there && w.caught && w.spans[0].Owner == "node-1" && w.spans[1].Owner == "node-1" && len(w.spans) == 2
	})
	if won := l.claim(t, b, free(1)); won[0] {
		t.Fatal("two have one span")
	}
	noErr(t, a.Land(l.ctx, 0, hashes("x", 1)))
	w.until(t, "it landed one", func(w *view) bool { return w.spans[0].Landed && w.spans[0].By == "node-1" })
	noErr(t, a.Leave(l.ctx))
	w.until(t, "the other one is free", func(w *view) bool {
		_, there := w.nodes["node-1"]
		return !there && w.spans[1].Owner == ""
	})
}

func findsFill(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	_, _, err := l.node(1).OpenFill(l.ctx, fillOf(v))
	noErr(t, err)
	got, f, err := l.node(2).Lookup(l.ctx, v.Key)
	noErr(t, err)
	if got != nil || f == nil || f.Version.ID != v.ID || f.MaxSpan != 4 || f.Opener != "node-1" {
		t.Fatalf("version %v, fill %+v", got, f)
	}
}

func endedFill(t *testing.T, l lab) {
	d := l.node(1)
	v := version("http://o/a", `"1"`, noon)
	b := l.join(t, d, v)
	r := fillOf(v)
	r.Ended = swarmcache.EndChanged
	noErr(t, b.Update(l.ctx, r))
	_, _, err := d.Lookup(l.ctx, v.Key)
	wantErr(t, err, swarmcache.ErrNotFound)
	got, mine, err := d.OpenFill(l.ctx, fillOf(v))
	noErr(t, err)
	if mine != nil || got.Ended != swarmcache.EndChanged {
		t.Fatalf("mine %v, ended %q: an ended fill is not opened again under its id", mine, got.Ended)
	}
	v.Attempt++
	v.Identify()
	if _, mine, err = d.OpenFill(l.ctx, fillOf(v)); err != nil || mine == nil {
		t.Fatal(mine, err)
	}
	if _, f, err := d.Lookup(l.ctx, v.Key); err != nil || f == nil || f.Version.ID != v.ID {
		t.Fatalf("fill %v, error %v; want the restarted one", f, err)
	}
}

func newerFill(t *testing.T, l lab) {
	d := l.node(1)
	newer, older := version("http://o/a", `"2"`, noon), version("http://o/a", `"1"`, noon.Add(-time.Minute))
	for _, v := range []swarmcache.Version{newer, older, newer} {
		_, _, err := d.OpenFill(l.ctx, fillOf(v))
		noErr(t, err)
	}
	_, f, err := d.Lookup(l.ctx, newer.Key)
	noErr(t, err)
	if f.Version.ID != newer.ID {
		t.Fatal("the key leads to the older version's fill")
	}
	if _, err := d.JoinFill(l.ctx, fillOf(older)); err != nil {
		t.Fatalf("the older fill goes on for those who have it: %v", err)
	}
}

// end opens a fill, ends it for a reason and leaves it, and returns its record.
func (l lab) end(t *testing.T, d swarmcache.Directory, v swarmcache.Version, why string) swarmcache.FillRecord {
	t.Helper()
	r, b, err := d.OpenFill(l.ctx, fillOf(v))
	noErr(t, err)
	r.Ended = why
	noErr(t, b.Update(l.ctx, r))
	noErr(t, b.Update(l.ctx, r)) // every participant may say so
	noErr(t, b.Leave(l.ctx))
	return r
}

func restarts(t *testing.T, l lab) {
	d := l.node(1)
	for i, single := range []bool{false, false, true} {
		v := version("http://o/a", fmt.Sprintf(`"%d"`, i), noon)
		if r := l.end(t, d, v, swarmcache.EndChanged); r.Single != single {
			t.Fatalf("fill %d: single %v", i, r.Single)
		}
	}
	if r := l.end(t, d, version("http://o/b", `"1"`, noon), swarmcache.EndChanged); r.Single {
		t.Fatal("another key is single too")
	}
}

func poisonSingle(t *testing.T, l lab) {
	d := l.node(1)
	v := version("http://o/a", `"1"`, noon)
	l.end(t, d, v, swarmcache.EndPoisoned)
	v.Attempt++
	v.Identify()
	r, mine, err := d.OpenFill(l.ctx, fillOf(v))
	noErr(t, err)
	if mine == nil || !r.Single {
		t.Fatalf("mine %v, single %v", mine, r.Single)
	}
}

func joinUnknown(t *testing.T, l lab) {
	_, err := l.node(1).JoinFill(l.ctx, fillOf(version("http://o/a", `"1"`, noon)))
	wantErr(t, err, swarmcache.ErrNotFound)
}

func claimRace(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	boards := make([]swarmcache.Board, 4)
	for i := range boards {
		boards[i] = l.join(t, l.node(i), v)
	}
	const spans, claimers = 8, 16
	winners := make([]int, spans)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range claimers {
		wg.Go(func() {
			var want []swarmcache.SpanRecord
			for s := range spans {
				want = append(want, free((s+i)%spans))
			}
			won, err := boards[i%4].Claim(l.ctx, want)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for j, ok := range won {
				if ok {
					winners[want[j].Span]++
				}
			}
		})
	}
	wg.Wait()
	for s, n := range winners {
		if n != 1 {
			t.Errorf("span %d was won %d times", s, n)
		}
	}
}

func claimMany(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	l.claim(t, a, free(1), free(3))
	if won := l.claim(t, b, free(0), free(1), free(2), free(3)); !slices.Equal(won, []bool{true, false, true, false}) {
		t.Fatal(won)
	}
	var many []swarmcache.SpanRecord
	for i := range 200 {
		many = append(many, free(10+i))
	}
	if won := l.claim(t, a, many...); slices.Contains(won, false) || len(won) != 200 {
		t.Fatal(won)
	}
	if won := l.claim(t, a); len(won) != 0 {
		t.Fatal(won)
	}
}

func claimOldRevision(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	l.claim(t, a, free(0))
	w.until(t, "the claim is seen", func(w *view) bool { return w.spans[0].Owner == "node-1" })
	seen := w.span(0)
	noErr(t, a.Land(l.ctx, 0, hashes("x", 1)))
	if won := l.claim(t, b, seen); won[0] {
		t.Fatal("won a span that had landed since")
	}
	w.until(t, "the span landed", func(w *view) bool { return w.spans[0].Landed })
	if won := l.claim(t, b, w.span(0)); !won[0] {
		t.Fatal("lost at the current revision")
	}

	l.claim(t, a, free(1)) // and a claim that does not move may be taken over
	w.until(t, "the claim is seen", func(w *view) bool { return w.spans[1].Owner == "node-1" })
	if won := l.claim(t, b, w.span(1)); !won[0] {
		t.Fatal("a stalled claim could not be taken over")
	}
	w.until(t, "the taker is seen", func(w *view) bool { return w.spans[1].Owner == "node-2" })
	noErr(t, a.Release(l.ctx, 1))
	l.claim(t, a, free(2))
	w.until(t, "a later change is seen", func(w *view) bool { return w.spans[2].Owner == "node-1" })
	if w.span(1).Owner != "node-2" {
		t.Fatal("the former claimer released what is another's now")
	}
}

func landed(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	l.claim(t, a, free(5))
	noErr(t, a.Land(l.ctx, 5, hashes("x", 4)))
	w.until(t, "the hashes are known", func(w *view) bool {
		r := w.spans[5]
		return r.Landed && r.Owner == "" && r.Rev > 0 && bytes.Equal(r.Hashes, hashes("x", 4))
	})
}

func reclaimed(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	l.claim(t, a, free(0))
	noErr(t, a.Land(l.ctx, 0, hashes("x", 2)))
	w.until(t, "it landed", func(w *view) bool { return w.spans[0].Landed })
	seen := w.span(0)
	if won := l.claim(t, b, seen); !won[0] {
		t.Fatal("could not claim a landed span")
	}
	if won := l.claim(t, a, seen); won[0] {
		t.Fatal("claimed twice at one revision")
	}
	same := func(r swarmcache.SpanRecord) bool { return r.Landed && bytes.Equal(r.Hashes, hashes("x", 2)) }
	w.until(t, "the claim is seen, with the hashes", func(w *view) bool {
		return w.spans[0].Owner == "node-2" && w.spans[0].Rev > seen.Rev && same(w.spans[0])
	})
	noErr(t, b.Release(l.ctx, 0))
	w.until(t, "released, with the hashes", func(w *view) bool { return w.spans[0].Owner == "" && same(w.spans[0]) })
	if won := l.claim(t, b, w.span(0)); !won[0] {
		t.Fatal("could not claim it once more")
	}
	noErr(t, b.Land(l.ctx, 0, hashes("x", 2)))
	w.until(t, "landed again", func(w *view) bool { return w.spans[0].Owner == "" && same(w.spans[0]) })
}

func createOnly(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	noErr(t, a.Land(l.ctx, 0, hashes("x", 2)))
	noErr(t, b.Land(l.ctx, 0, hashes("x", 2)))
	wantErr(t, b.Land(l.ctx, 0, hashes("y", 2)), swarmcache.ErrPoisoned)
	wantErr(t, b.Land(l.ctx, 0, hashes("x", 1)), swarmcache.ErrPoisoned)
	wantErr(t, b.Progress(l.ctx, 0, hashes("y", 1)), swarmcache.ErrPoisoned)
	w.until(t, "the first hashes stand", func(w *view) bool { return bytes.Equal(w.spans[0].Hashes, hashes("x", 2)) })

	l.claim(t, a, free(1)) // what was published early counts as well
	noErr(t, a.Progress(l.ctx, 1, hashes("x", 1)))
	wantErr(t, b.Land(l.ctx, 1, hashes("y", 2)), swarmcache.ErrPoisoned)
}

func landWithoutClaim(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, a)
	noErr(t, a.Land(l.ctx, 0, hashes("x", 2)))
	l.claim(t, a, free(1))
	noErr(t, b.Land(l.ctx, 1, hashes("z", 2))) // while another's claim stands
	w.until(t, "both landed", func(w *view) bool { return w.spans[0].Landed && w.spans[1].Landed })
	noErr(t, a.Release(l.ctx, 1))
	noErr(t, a.Land(l.ctx, 2, hashes("x", 2)))
	w.until(t, "a later change is seen", func(w *view) bool { return w.spans[2].Landed })
	if !w.span(1).Landed {
		t.Fatal("releasing a claim that was lost took the hashes away")
	}
}

func progress(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	l.claim(t, a, free(0))
	for n := 1; n <= 3; n++ {
		noErr(t, a.Progress(l.ctx, 0, hashes("x", n)))
		w.until(t, "early hashes", func(w *view) bool {
			r := w.spans[0]
			return !r.Landed && r.Owner == "node-1" && bytes.Equal(r.Hashes, hashes("x", n))
		})
	}
	noErr(t, a.Land(l.ctx, 0, hashes("x", 4)))
	w.until(t, "landed", func(w *view) bool { return w.spans[0].Landed && len(w.spans[0].Hashes) == 80 })

	l.claim(t, a, free(1))
	var held *swarmcache.ClaimedError
	if err := b.Progress(l.ctx, 1, hashes("x", 1)); !errors.As(err, &held) || held.Holder != "node-1" {
		t.Fatalf("progress on another's span: %v", err)
	}
}

func released(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	l.claim(t, a, free(0), free(1), free(2))
	w.until(t, "claims are seen", func(w *view) bool { return len(w.spans) == 3 })
	noErr(t, a.Release(l.ctx, 0, 2))
	noErr(t, b.Release(l.ctx, 1)) // not ours
	w.until(t, "two are free", func(w *view) bool { _, ok := w.spans[1]; return ok && len(w.spans) == 1 })
	if won := l.claim(t, b, free(0), free(1), free(2)); !slices.Equal(won, []bool{true, false, true}) {
		t.Fatal(won)
	}
}

func lateWatcher(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	l.claim(t, a, free(0), free(1), free(2))
	noErr(t, a.Land(l.ctx, 0, hashes("x", 2)))
	noErr(t, a.Release(l.ctx, 1))
	w := l.watch(t, b)
	w.until(t, "caught up", func(w *view) bool { return w.caught })
	w.until(t, "all that stood was told first", func(w *view) bool {
		_, freed := w.spans[1]
		return w.spans[0].Landed && !freed && w.spans[2].Owner == "node-1" &&
			w.fill.Version.ID == v.ID && w.nodes["node-1"].Zone == "z"
	})
}

func participants(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a := l.join(t, l.node(1), v)
	w := l.watch(t, a)
	b := l.join(t, l.node(2), v)
	w.until(t, "it joined, with its addresses", func(w *view) bool {
		return len(w.nodes) == 1 && slices.Equal(w.nodes["node-2"].Peers, labNode(2).Peers)
	})
	l.claim(t, b, free(0))
	w.until(t, "it claimed", func(w *view) bool { return w.spans[0].Owner == "node-2" })
	noErr(t, b.Leave(l.ctx))
	w.until(t, "it left, with its claims", func(w *view) bool { return len(w.nodes) == 0 && len(w.spans) == 0 })
}

// Who comes again may have lost what it landed the first time.
func comesAgain(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, d := l.join(t, l.node(1), v), l.node(2)
	w := l.watch(t, a)
	b := l.join(t, d, v)
	l.claim(t, b, free(0))
	noErr(t, b.Land(l.ctx, 0, hashes("x", 2)))
	w.until(t, "it landed after it joined", func(w *view) bool {
		m, s := w.nodes["node-2"], w.spans[0]
		return s.Landed && s.By == "node-2" && m.Rev != 0 && m.Rev <= s.Rev
	})
	noErr(t, b.Leave(l.ctx))
	l.join(t, d, v)
	w.until(t, "it joined after it landed", func(w *view) bool {
		return w.nodes["node-2"].Rev > w.spans[0].Rev
	})
}

func manyParticipants(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	one := l.join(t, l.node(1), v)
	var wg sync.WaitGroup
	for i := 2; i <= swarmcache.MaxListed; i++ {
		d := l.node(i)
		wg.Go(func() {
			if _, err := d.JoinFill(l.ctx, fillOf(v)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	listed := l.watch(t, one)
	listed.until(t, "all are there", func(w *view) bool { return w.listed && len(w.nodes) == swarmcache.MaxListed-1 })
	late := l.join(t, l.node(100), v)
	w := l.watch(t, late)
	w.until(t, "who comes late is told of all", func(w *view) bool { return len(w.nodes) == swarmcache.MaxListed })
	noErr(t, one.Leave(l.ctx))
	l.claim(t, late, free(0))
	w.until(t, "it takes part", func(w *view) bool { return w.spans[0].Owner == "node-100" })
	if w.isListed() {
		t.Error("who comes to a full list is told that it is on it")
	}
	if !w.lists("node-1") {
		t.Error("who is not listed is told that another one left")
	}
	listed.until(t, "the others see that", func(w *view) bool { return w.spans[0].Owner == "node-100" })
	if listed.lists("node-100") {
		t.Error("who comes to a full list is on it")
	}
}

func updateFill(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	r := fillOf(v)
	r.Single = true
	noErr(t, a.Update(l.ctx, r))
	w.until(t, "single", func(w *view) bool { return w.fill.Single && w.fill.Ended == "" })
	r = fillOf(v)
	r.Ended = swarmcache.EndPoisoned
	noErr(t, a.Update(l.ctx, r))
	r.Ended = swarmcache.EndChanged
	noErr(t, b.Update(l.ctx, r))
	w.until(t, "ended, for the first reason", func(w *view) bool {
		return w.fill.Single && w.fill.Ended == swarmcache.EndPoisoned
	})
}

func lastLeaves(t *testing.T, l lab) {
	for name, finish := range map[string]func(d swarmcache.Directory, b swarmcache.Board, r swarmcache.FillRecord) error{
		"published sealed": func(d swarmcache.Directory, _ swarmcache.Board, r swarmcache.FillRecord) error {
			r.Version.InfoHash = swarmcache.InfoHash{1}
			return d.Publish(l.ctx, r.Version)
		},
		"marked sealed": func(_ swarmcache.Directory, b swarmcache.Board, r swarmcache.FillRecord) error {
			r.Version.InfoHash = swarmcache.InfoHash{1}
			return b.Update(l.ctx, r)
		},
		"ended": func(_ swarmcache.Directory, b swarmcache.Board, r swarmcache.FillRecord) error {
			r.Ended = swarmcache.EndLost
			return b.Update(l.ctx, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := version(policy.Key("http://o/"+name), `"1"`, noon)
			d1, d2 := l.node(1), l.node(2)
			a, b := l.join(t, d1, v), l.join(t, d2, v)
			w := l.watch(t, b)
			l.claim(t, a, free(0))
			noErr(t, a.Land(l.ctx, 0, hashes("x", 1)))
			noErr(t, finish(d1, a, fillOf(v)))
			noErr(t, a.Leave(l.ctx))
			again, err := d2.JoinFill(l.ctx, fillOf(v))
			if err != nil {
				t.Fatalf("deleted under a participant: %v", err)
			}
			noErr(t, again.Leave(l.ctx))
			noErr(t, b.Leave(l.ctx))
			select {
			case err := <-w.ended:
				wantErr(t, err, swarmcache.ErrNotFound)
			case <-l.ctx.Done():
				t.Fatal("the watcher of a deleted board was not told")
			}
			wantErr(t, b.Land(l.ctx, 1, hashes("x", 1)), swarmcache.ErrNotFound)
			_, err = b.Claim(l.ctx, []swarmcache.SpanRecord{free(1)})
			wantErr(t, err, swarmcache.ErrNotFound)
			_, err = d1.JoinFill(l.ctx, fillOf(v))
			wantErr(t, err, swarmcache.ErrNotFound)
			if _, f, err := d1.Lookup(l.ctx, v.Key); f != nil {
				t.Fatalf("the key still leads to the fill (%v)", err)
			}
			noErr(t, b.Leave(l.ctx)) // of what is gone: nothing to do
		})
	}
}

func unfinishedStays(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a := l.join(t, l.node(1), v)
	noErr(t, a.Land(l.ctx, 0, hashes("x", 1)))
	noErr(t, a.Leave(l.ctx))
	b := l.join(t, l.node(2), v)
	w := l.watch(t, b)
	w.until(t, "what landed is still there", func(w *view) bool { return w.caught && w.spans[0].Landed })
}

func lostLease(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	l.claim(t, a, free(0), free(1))
	noErr(t, a.Land(l.ctx, 0, hashes("x", 1)))
	w.until(t, "one landed, one claimed", func(w *view) bool {
		return w.spans[0].Landed && w.spans[1].Owner == "node-1" && len(w.nodes) == 1
	})
	l.Expire("node-1")
	w.until(t, "the claim is free and the node gone", func(w *view) bool {
		_, claimed := w.spans[1]
		return w.spans[0].Landed && !claimed && len(w.nodes) == 0
	})
	if won := l.claim(t, b, free(1)); !won[0] {
		t.Fatal("the span is not free")
	}
}

func lostReclaim(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	noErr(t, a.Land(l.ctx, 0, hashes("x", 1)))
	w.until(t, "landed", func(w *view) bool { return w.spans[0].Landed })
	l.claim(t, a, w.span(0))
	w.until(t, "claimed again", func(w *view) bool { return w.spans[0].Owner == "node-1" })
	l.Expire("node-1")
	w.until(t, "nobody's, and its hashes stand", func(w *view) bool {
		r := w.spans[0]
		return r.Owner == "" && r.Landed && bytes.Equal(r.Hashes, hashes("x", 1))
	})
	if won := l.claim(t, b, w.span(0)); !won[0] {
		t.Fatal("it cannot be claimed")
	}
}

func claimFirst(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	const key = "http://o/a"
	release, _, err := a.ClaimFirst(l.ctx, key)
	noErr(t, err)
	other, _, err := b.ClaimFirst(l.ctx, "http://o/b")
	noErr(t, err)
	defer other()
	waited := make(chan error, 1)
	go func() {
		_, _, err := b.ClaimFirst(l.ctx, key)
		waited <- err
	}()
	select {
	case err := <-waited:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	release()
	release()
	var held *swarmcache.ClaimedError
	if err := <-waited; !errors.As(err, &held) || held.Holder != "node-1" {
		t.Fatalf("%v, want to be told that node-1 held it", err)
	}
	eventually(t, "the next may claim", func() bool {
		release, _, err := b.ClaimFirst(l.ctx, key)
		if err == nil {
			release()
		}
		return err == nil
	})
}

// Who waits for a claim is told as soon as there is a fill to join.
func claimFirstFill(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	v := version("http://o/a", `"1"`, noon)
	release, _, err := a.ClaimFirst(l.ctx, v.Key)
	noErr(t, err)
	other, _, err := a.ClaimFirst(l.ctx, "http://o/b")
	noErr(t, err)
	defer other()
	waited := make(chan error, 1)
	go func() {
		_, _, err := b.ClaimFirst(l.ctx, v.Key)
		waited <- err
	}()
	_, _, err = a.OpenFill(l.ctx, fillOf(v))
	noErr(t, err)
	var held *swarmcache.ClaimedError
	if err := <-waited; !errors.As(err, &held) {
		t.Fatalf("waited: %v", err)
	}
	if _, fill, err := b.Lookup(l.ctx, v.Key); err != nil || fill == nil {
		t.Fatalf("no fill: %v", err)
	}
	release() // of nothing
	brief, cancel := context.WithTimeout(l.ctx, 100*time.Millisecond)
	defer cancel()
	if _, _, err := b.ClaimFirst(brief, "http://o/b"); !errors.As(err, &held) {
		t.Fatalf("the claim on another key is gone: %v", err)
	}
}

func claimFirstKnown(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	stored, filled := version("http://o/stored", `"1"`, noon), version("http://o/filled", `"1"`, noon)
	refused := func(key policy.Key) {
		t.Helper()
		var held *swarmcache.ClaimedError
		if _, _, err := b.ClaimFirst(l.ctx, key); !errors.As(err, &held) || held.Holder != "" || held.There == nil {
			t.Fatalf("%v, want to be told that there is nothing to claim", err)
		}
	}
	granted := func(key policy.Key, fresh bool) {
		t.Helper()
		release, got, err := b.ClaimFirst(l.ctx, key)
		noErr(t, err)
		if got != fresh {
			t.Fatalf("fresh: %v, want %v", got, fresh)
		}
		release()
	}
	noErr(t, a.Publish(l.ctx, stored))
	refused(stored.Key)
	noErr(t, a.Withdraw(l.ctx, stored.Key))
	granted(stored.Key, true)

	r, board, err := a.OpenFill(l.ctx, swarmcache.FillRecord{Version: filled, MaxSpan: 4, Opener: "node-1"})
	noErr(t, err)
	refused(filled.Key)
	r.Ended = swarmcache.EndChanged
	noErr(t, board.Update(l.ctx, r))
	granted(filled.Key, false)
}

func claimFirstLease(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	_, _, err := a.ClaimFirst(l.ctx, "http://o/a")
	noErr(t, err)
	waited := make(chan error, 1)
	go func() {
		_, _, err := b.ClaimFirst(l.ctx, "http://o/a")
		waited <- err
	}()
	l.Expire("node-1")
	var held *swarmcache.ClaimedError
	if err := <-waited; err != nil && !errors.As(err, &held) {
		t.Fatal(err)
	}
}

func claimFirstContext(t *testing.T, l lab) {
	release, _, err := l.node(1).ClaimFirst(l.ctx, "http://o/a")
	noErr(t, err)
	defer release()
	ctx, cancel := context.WithTimeout(l.ctx, 300*time.Millisecond)
	defer cancel()
	var held *swarmcache.ClaimedError
	if _, _, err := l.node(2).ClaimFirst(ctx, "http://o/a"); !errors.As(err, &held) {
		t.Fatal(err)
	}
}
