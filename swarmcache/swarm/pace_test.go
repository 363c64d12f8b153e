package swarm

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	var p pace
	if p.wait() != wakeAfter {
		t.Errorf("at first %v", p.wait())
	}
	p.saw(1, 4*time.Second)
	if p.wait() != maxWake {
		t.Errorf("where a chunk takes 4 s, %v", p.wait())
	}
	p.saw(20, time.Second)
	if p.wait() != 200*time.Millisecond {
		t.Errorf("where a chunk takes 50 ms, %v", p.wait())
	}
	for range 100 {
		p.saw(0, time.Second)
		if p.wait() > maxWake || p.wait() <= 0 {
			t.Fatalf("in silence %v", p.wait())
		}
	}
	if p.wait() != maxWake {
		t.Errorf("after a long silence %v", p.wait())
	}
	p.saw(1000, time.Second)
	if p.wait() != wakeAfter {
		t.Errorf("where much comes, %v", p.wait())
	}
}
