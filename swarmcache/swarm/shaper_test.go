package swarm

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anacrolix/torrent/metainfo"
	"golang.org/x/time/rate"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// crowd is an object with peers that each ask for one chunk after the other.
type crowd struct {
	peers    int
	chunk    int
	priority policy.Priority
	from, to time.Duration // when its peers ask
	share    float64       // of the bytes that pass while it asks; what it should get
}

const minute = time.Minute

var crowds = map[string][]crowd{
	"alone": {{1, 128 << 10, "low", 0, minute, 1}},
	"peers do not count": {
		{50, 128 << 10, "normal", 0, minute, 0.5}, {1, 128 << 10, "normal", 0, minute, 0.5}},
	"chunks do not count": {
		{8, 1 << 20, "normal", 0, minute, 0.5}, {8, 128 << 10, "normal", 0, minute, 0.5}},
	"three priorities": {
		{4, 1 << 20, "high", 0, minute, 16. / 21}, {4, 128 << 10, "normal", 0, minute, 4. / 21}, {40, 256 << 10, "low", 0, minute, 1. / 21}},
	"what one leaves the other takes": {
		{1, 128 << 10, "high", 0, minute / 2, 16. / 17}, {1, 128 << 10, "low", 0, minute, (1./17 + 1) / 2}},
	"who was away gets no more than who stayed": {
		{8, 1 << 20, "normal", 0, minute, 0.75}, {1, 128 << 10, "normal", minute / 2, minute, 0.5}},
}

// Downloads: what passes is written.
func TestDownloadsAreDividedByWeight(t *testing.T) {
	for name, c := range crowds {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				divide(t, newShaper(8<<20, false), c, func(*rate.Limiter, int) bool { return true })
			})
		})
	}
}

// Uploads: what passes is sent by the engine, when its limiter has the bytes.
func TestUploadsAreDividedByWeight(t *testing.T) {
	for name, c := range crowds {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { divide(t, newShaper(8<<20, true), c, send) })
		})
	}
}

// Two of five chunks that peers asked for they do not want any more when their
// turn comes: the link is used all the same.
func TestCancelledUploadsCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		divide(t, newShaper(8<<20, true), crowds["peers do not count"][:1], func(l *rate.Limiter, bytes int) bool {
			return n.Add(1)%5 < 3 && send(l, bytes)
		})
	})
}

// send is how the engine sends a chunk.
func send(l *rate.Limiter, bytes int) bool {
	time.Sleep(100 * time.Microsecond) // reading it
	for {
		r := l.ReserveN(time.Now(), bytes)
		if r.Delay() == 0 {
			return true
		}
		r.Cancel()
		time.Sleep(r.Delay())
	}
}

// divide lets crowds pass s for a minute and checks what each of them got.
func divide(t *testing.T, s *shaper, crowds []crowd, sent func(*rate.Limiter, int) bool) {
	gone := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := make([]int, len(crowds))
	for i, c := range crowds {
		as := sharer{swarmcache.ObjectID(fmt.Sprint(i)), func() policy.Priority { return c.priority }, gone}
		for range c.peers {
			wg.Go(func() {
				time.Sleep(c.from)
				end := time.Now().Add(c.to - c.from)
				for s.pass(as, c.chunk, alike) && time.Now().Before(end) {
					if sent(s.limiter, c.chunk) {
						mu.Lock()
						got[i] += c.chunk
						mu.Unlock()
					}
				}
			})
		}
	}
	time.Sleep(minute)
	close(gone)
	wg.Wait()
	limit := float64(s.rate())
	all := 0
	for i, c := range crowds {
		all += got[i]
		want := c.share * limit * (c.to - c.from).Seconds()
		if x := float64(got[i]) / want; len(crowds) > 1 && math.Abs(x-1) > 0.06 {
			t.Errorf("crowd %d got %.3f of what it should", i, x)
		}
	}
	if x := float64(all) / (limit * minute.Seconds()); x < 0.97 || x > 1.01 {
		t.Errorf("%.3f of the rate was used", x)
	}
}

// Within an object those go first that have come on least.
func TestSlowestGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShaper(1<<20, false)
		as := sharer{"a", func() policy.Priority { return "normal" }, nil}
		s.pass(as, 4<<20, alike) // what was saved up
		var got [4]atomic.Int32
		end := time.Now().Add(minute)
		for i := range got {
			got[i].Store(int32(4 * i)) // what they had before
			for range 3 {
				go func() {
					for time.Now().Before(end) {
						s.pass(as, 1<<20, func() float64 { return float64(got[i].Load()) })
						got[i].Add(1)
					}
				}()
			}
		}
		for i := range got {
			for got[i].Load() < 12 {
				time.Sleep(100 * time.Millisecond)
			}
			if least := got[0].Load(); got[i].Load() > 12+3 || least < 12-3 {
				t.Errorf("when %d have 12, the one with the least has %d of %d", i, least, got[i].Load())
			}
		}
		time.Sleep(minute)
	})
}

// A new rate holds at once for what waits already.
func TestRateChangesUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShaper(1<<10, false)
		as := sharer{"a", func() policy.Priority { return "normal" }, nil}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { s.pass(as, 1<<20, alike) })
		}
		for _, step := range []struct {
			rate int64
			want time.Duration
		}{{1 << 20, time.Second}, {16 << 20, time.Second / 16}} {
			s.setRate(step.rate)
			began := time.Now()
			s.pass(sharer{"b", func() policy.Priority { return "high" }, nil}, 1<<20, alike)
			if d := time.Since(began); d > 2*step.want+depth {
				t.Errorf("at %d bytes/s a chunk waited %v", step.rate, d)
			}
		}
		began := time.Now()
		s.setRate(0)
		wg.Wait()
		if time.Since(began) > 0 {
			t.Errorf("%v until all had passed when the limit went", time.Since(began))
		}
	})
}

// Who is gone does not wait, and is not waited for.
func TestGoneObjectDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShaper(1<<10, false)
		b := sharer{"b", func() policy.Priority { return "normal" }, nil}
		gone := make(chan struct{})
		began := time.Now()
		s.pass(b, 4<<20, alike) // what was saved up
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if s.pass(sharer{"a", func() policy.Priority { return "high" }, gone}, 1<<20, alike) {
					t.Error("it passed")
				}
			})
		}
		synctest.Wait()
		close(gone)
		wg.Wait()
		if s.pass(b, 1<<10, alike); time.Since(began) > 2*time.Second {
			t.Errorf("another object waited %v", time.Since(began))
		}
	})
}

// The priority of a file decides about what peers ask of it, also when it is
// changed.
func TestPriorityOfAFile(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		st := &store{bound: map[metainfo.Hash]binding{}, judge: newJudge(), needs: newNeeds(), up: newShaper(8<<20, true), down: newShaper(0, false)}
		var got [2]atomic.Int64
		var files []*swarmcache.File
		var wg sync.WaitGroup
		for i := range got {
			f, p := openPiece(t, st, filepath.Join(dir, fmt.Sprint(i)))
			files = append(files, f)
			end := time.Now().Add(2 * minute)
			for range 4 {
				wg.Go(func() {
					b := make([]byte, 128<<10)
					for time.Now().Before(end) {
						if n, err := p.ReadAt(b, 0); n != len(b) || err != nil {
							t.Error(n, err)
						}
						send(st.up.limiter, len(b))
						got[i].Add(int64(len(b)))
					}
				})
			}
		}
		for _, step := range []struct {
			p    policy.Priority
			want float64
		}{{policy.PriorityHigh, 4}, {policy.PriorityLow, 0.25}} {
			files[0].SetPriority(step.p)
			a, b := got[0].Load(), got[1].Load()
			time.Sleep(minute - time.Second)
			x := float64(got[0].Load()-a) / float64(got[1].Load()-b)
			if math.Abs(x/step.want-1) > 0.1 {
				t.Errorf("%s got %.2f x as much as normal, want %.2f", step.p, x, step.want)
			}
		}
		wg.Wait()
	})
}

// openPiece returns a whole object, and one of its pieces as the engine has it.
func openPiece(t *testing.T, st *store, path string) (*swarmcache.File, *piece) {
	v := swarmcache.Version{Key: policy.Key(path), Length: 1 << 20, PieceLen: 128 << 10}
	v.Identify()
	if err := os.WriteFile(path, make([]byte, v.Length), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := swarmcache.OpenFile(path, v, &swarmcache.Record{Version: v, Complete: true, Hashes: make([]byte, 8*20)})
	if err != nil {
		t.Fatal(err)
	}
	b, ih := sealedInfo(v, f.Hashes())
	info, err := (&metainfo.MetaInfo{InfoBytes: b}).UnmarshalInfo()
	if err != nil {
		t.Fatal(err)
	}
	st.bind(ih, binding{file: f})
	tt, err := st.OpenTorrent(t.Context(), &info, ih)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tt.Close(); f.Release() })
	return f, tt.Piece(info.Piece(3)).(*piece)
}
