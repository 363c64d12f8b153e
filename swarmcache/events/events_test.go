package events

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// Whoever listens, however fast, gets events in order, each once, and is told how
// many it has lost: what it got and what it lost is all there was.
func TestNothingIsLostUntold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 8).Draw(t, "size")
		h := New(size)
		before := rapid.IntRange(0, 12).Draw(t, "before")
		for i := range before {
			h.Tell(Event{Kind: Fill, Object: fmt.Sprint(i)})
		}
		next, l := before, h.Listen(false)
		if rapid.Bool().Draw(t, "all") {
			next, l = max(0, before-size), h.Listen(true)
		}
		told, last := before, ""
		read := func() {
			events, lost, _, open := l.Next()
			next += int(lost)
			if len(events) > size || !open {
				t.Fatalf("%d events of %d kept, open %t", len(events), size, open)
			}
			for _, e := range events {
				if e.Object != fmt.Sprint(next) || e.Time.IsZero() {
					t.Fatalf("event %s, want %d", e.Object, next)
				}
				next++
				last = e.ID
			}
			if next != told {
				t.Fatalf("got %d, told %d", next, told)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"tell": func(*rapid.T) {
				h.Tell(Event{Kind: Fill, Object: fmt.Sprint(told)})
				told++
			},
			"read": func(*rapid.T) { read() },
			"reconnect": func(t *rapid.T) {
				if last == "" {
					t.Skip("nothing was read")
				}
				var known bool
				if l, known = h.ListenAfter(last); !known {
					t.Fatalf("%s is not known", last)
				}
				fmt.Sscan(last[strings.Index(last, "-")+1:], &next)
			},
		})
		read()
	})
}

func TestOtherRun(t *testing.T) {
	h := New(4)
	h.Tell(Event{Kind: Leader})
	for _, id := range []string{"", "x", "x-1", h.run + "-", h.run + "-7", h.run + "-x"} {
		l, known := h.ListenAfter(id)
		if events, lost, _, _ := l.Next(); known || len(events) != 1 || lost != 0 {
			t.Errorf("%q: known %t, %d events, %d lost", id, known, len(events), lost)
		}
	}
}

// Listeners are woken, and let go at the end; nobody who tells waits for them.
func TestWakeAndClose(t *testing.T) {
	h := New(16)
	var wg sync.WaitGroup
	for range 4 {
		l := h.Listen(true)
		wg.Go(func() {
			got := 0
			for {
				events, lost, news, open := l.Next()
				got += len(events) + int(lost)
				if !open {
					break
				}
				<-news
			}
			if got != 100 {
				t.Errorf("got %d", got)
			}
		})
	}
	for range 100 {
		h.Tell(Event{Kind: Fill})
	}
	h.Close()
	h.Close()
	h.Tell(Event{Kind: Fill}) // too late
	wg.Wait()
	var none *Hub
	none.Tell(Event{Kind: Fill})
}
