package policy_test

import (
	"container/list"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"shatabdi/policy"
)

const objects = 500 // that are asked for again and again

type request struct {
	key  int
	size int64
}

// evicter is a store that decides what goes. It is asked for one object after the
// other and tells whether it had it.
type evicter interface{ get(i int, r request) bool }

type byEviction struct {
	*policy.Eviction[int]
	have       map[int]int64
	free, size int64
}

func newByEviction(size int64) *byEviction {
	return &byEviction{policy.NewEviction[int](size), map[int]int64{}, size, size}
}

func (s *byEviction) get(_ int, r request) bool {
	if _, ok := s.have[r.key]; ok {
		s.Use(r.key)
		return true
	}
	for s.free < r.size {
		k, ok := s.Next(func(int) bool { return true })
		if !ok {
			return false
		}
		s.free += s.have[k]
		delete(s.have, k)
	}
	s.have[r.key] = r.size
	s.free -= r.size
	s.Add(r.key, r.size)
	return false
}

type lru struct {
	order *list.List
	at    map[int]*list.Element
	free  int64
}

func (s *lru) get(_ int, r request) bool {
	if e := s.at[r.key]; e != nil {
		s.order.MoveToBack(e)
		return true
	}
	for s.free < r.size {
		old := s.order.Remove(s.order.Front()).(request)
		delete(s.at, old.key)
		s.free += old.size
	}
	s.at[r.key] = s.order.PushBack(r)
	s.free -= r.size
	return false
}

// belady knows the future: what is used again last goes first, the newcomer
// included. With objects of one size nothing does better.
type belady struct {
	next []int // use of the same key after request i
	have map[int]request
	due  map[int]int
	free int64
}

func newBelady(trace []request, size int64) *belady {
	b := &belady{next: make([]int, len(trace)), have: map[int]request{}, due: map[int]int{}, free: size}
	seen := map[int]int{}
	for i, r := range slices.Backward(trace) {
		b.next[i] = math.MaxInt
		if n, ok := seen[r.key]; ok {
			b.next[i] = n
		}
		seen[r.key] = i
	}
	return b
}

func (b *belady) get(i int, r request) bool {
	_, hit := b.have[r.key]
	if !hit {
		b.have[r.key] = r
		b.free -= r.size
	}
	b.due[r.key] = b.next[i]
	for b.free < 0 {
		last, when := r.key, -1
		for k := range b.have {
			if d := b.due[k]; d > when || d == when && k > last {
				last, when = k, d
			}
		}
		b.free += b.have[last].size
		delete(b.have, last)
	}
	return hit
}

func ratios(s evicter, trace []request) (hits, bytes float64) {
	var n, all int64
	for i, r := range trace {
		all += r.size
		if s.get(i, r) {
			hits++
			n += r.size
		}
	}
	return hits / float64(len(trace)), float64(n) / float64(all)
}

// traces are made of chance and the same every time.
func traces() map[string][]request {
	const requests = 8000
	sizes := func(mixed bool) func(int) int64 {
		return func(k int) int64 {
			if !mixed {
				return 64
			}
			return int64(math.Exp(rand.New(rand.NewPCG(uint64(k), 1)).Float64() * 7)) // 1 to 1,100
		}
	}
	zipf := func(s float64, mixed, scans bool) (l []request) {
		rnd, size := rand.New(rand.NewPCG(1, 2)), sizes(mixed)
		weights, sum := make([]float64, objects), 0.0
		for i := range weights {
			sum += math.Pow(float64(i+1), -s)
			weights[i] = sum
		}
		fresh := objects
		for len(l) < requests {
			k, _ := slices.BinarySearch(weights, rnd.Float64()*sum)
			l = append(l, request{k, size(k)})
			if scans && len(l)%1000 == 0 { // somebody copies a whole archive, once
				for range 200 {
					fresh++
					l = append(l, request{fresh, size(fresh)})
				}
			}
		}
		return l
	}
	return map[string][]request{
		"zipf 0.8":        zipf(0.8, false, false),
		"zipf 1.0":        zipf(1.0, false, false),
		"zipf 0.8, scans": zipf(0.8, false, true),
		"zipf 1.0, scans": zipf(1.0, false, true),
		"sizes":           zipf(0.9, true, false),
		"sizes, scans":    zipf(0.9, true, true),
	}
}

// It hits not less than LRU anywhere, by objects and by bytes, and more where
// scans pass through.
func TestEvictionAgainstLRUAndTheFuture(t *testing.T) {
	all := traces()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		trace := all[name]
		var stored int64
		seen := map[int]bool{}
		for _, r := range trace {
			if !seen[r.key] && r.key < objects {
				stored += r.size
			}
			seen[r.key] = true
		}
		for _, share := range []int64{20, 10, 4} { // the store holds one in so many bytes
			size := stored / share
			hits, bytes := ratios(newByEviction(size), trace)
			lruHits, lruBytes := ratios(&lru{list.New(), map[int]*list.Element{}, size}, trace)
			best, bestBytes := ratios(newBelady(trace, size), trace)
			t.Logf("%-16s 1/%-2d hits %.3f (LRU %.3f, future %.3f)  bytes %.3f (LRU %.3f, future %.3f)", name, share, hits, lruHits, best, bytes, lruBytes, bestBytes)
			if hits < lruHits || bytes < lruBytes {
				t.Errorf("%s, 1/%d: less than LRU", name, share)
			}
			if scans := name[len(name)-5:] == "scans"; scans && hits < lruHits*1.03 {
				t.Errorf("%s, 1/%d: a scan takes the popular along", name, share)
			}
			if name == "zipf 1.0" && hits > best {
				t.Errorf("better than the future allows: %.3f > %.3f", hits, best)
			}
		}
	}
}

// What may not go stays, in whichever queue, and what is chosen is out.
func TestEvictionSparesWhatMayNotGo(t *testing.T) {
	e := policy.NewEviction[string](100)
	e.Restore("old", 30)
	for i := range 7 {
		e.Add(fmt.Sprint(i), 10)
	}
	kept := map[string]bool{"old": true, "0": true, "5": true}
	may := func(k string) bool { return !kept[k] }
	for _, want := range []string{"1", "2", "3", "4", "6"} {
		if k, ok := e.Next(may); !ok || k != want {
			t.Fatalf("%q, %v; want %q", k, ok, want)
		}
	}
	if k, ok := e.Next(may); ok {
		t.Errorf("%q goes, and may not", k)
	}
	e.Remove("0")
	e.Use("5")
	kept = nil
	for _, want := range []string{"old", "5"} {
		if k, ok := e.Next(may); !ok || k != want {
			t.Errorf("%q, %v; want %q", k, ok, want)
		}
	}
	if _, ok := e.Next(may); ok {
		t.Error("something is left")
	}
}

// Who was sent away and comes again at once is not new.
func TestEvictionKnowsAgain(t *testing.T) {
	e := policy.NewEviction[string](100)
	any := func(string) bool { return true }
	e.Add("a", 20)
	e.Next(any)
	e.Add("a", 20)
	e.Add("b", 20)
	if k, _ := e.Next(any); k != "b" {
		t.Errorf("%q goes before what is new", k)
	}
}

func BenchmarkEviction(b *testing.B) {
	trace := traces()["zipf 0.8, scans"]
	s := newByEviction(100 * 64)
	for i := 0; b.Loop(); i++ {
		s.get(i, trace[i%len(trace)])
	}
}
