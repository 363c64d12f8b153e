//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// kills is how often the node is killed; SHATABDI_KILLS says more (make kill).
func kills(t *testing.T) int {
	s := os.Getenv("SHATABDI_KILLS")
	if s == "" {
		return 30
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("SHATABDI_KILLS: %v", err)
	}
	return n
}

// origin (3 MiB/s a response) --- switch --- 4 nodes. The first one has 4 clients
// and is killed -9 again and again, at random instants: while it fills, serves,
// removes objects, or starts; the others ask for the same objects. After each
// kill its store is as its catalogue says, byte for byte; no object that was
// complete is lost; and no client takes a part for the whole.
func TestKilledAtAnyInstant(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).Origin()
	etcd := l.Machine("etcd", 0).Etcd()
	nodes := lab.Cluster(l.Machines(4, "node", 0), etcd.URL, "--log-level", "warn")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p := &crashPlay{
		Lab: l, rnd: rand.New(rand.NewPCG(seed, 0)), origin: origin.URL, victim: nodes[0], peers: nodes[1:],
		reading: make([]*lab.Client, 3), removed: map[string]bool{},
	}
	n, began := kills(t), time.Now()
	for i := range n {
		p.cycle()
		if t.Failed() {
			return
		}
		if (i+1)%25 == 0 { // a long run may be stopped
			t.Logf("%d kills in %v: %d clients got the whole, %d a part", i+1, time.Since(began).Round(time.Second), p.whole, p.parts)
		}
	}
	for _, c := range p.reading {
		if c != nil {
			p.got(c)
		}
	}
	p.readAll()
	t.Logf("%d kills in %v: %d clients got the whole, %d a part; %d objects are complete, %d stray files were left",
		n, time.Since(began).Round(time.Second), p.whole, p.parts, len(p.complete()), p.strays)
}

type crashPlay struct {
	*lab.Lab
	rnd     *rand.Rand
	origin  string
	victim  *lab.Node
	peers   []*lab.Node
	reading []*lab.Client // of the peers; they go on from cycle to cycle
	newest  uint64        // object so far
	removed map[string]bool

	whole, parts, strays int
}

// crashKept is about how many objects the victim has.
const crashKept = 16

// cycle is one life of the victim.
func (p *crashPlay) cycle() {
	p.Helper()
	p.newest++
	var mine []*lab.Client
	for range 4 {
		mine = append(mine, p.victim.Curl(p.url(p.some())))
	}
	for i, n := range p.peers {
		if c := p.reading[i]; c == nil || c.Ended() {
			if c != nil {
				p.got(c)
			}
			p.reading[i] = n.Curl(p.url(p.some())).Start()
		}
	}
	for _, c := range mine {
		c.Start()
	}
	p.pause(600 * time.Millisecond)
	had := p.complete()
	if len(had) > crashKept {
		p.remove(had)
	}
	p.pause(50 * time.Millisecond)
	p.victim.Kill()
	for _, c := range mine {
		if c.Wait(); c.Err != nil {
			p.parts++
			continue
		}
		p.got(c)
	}
	p.check()
	if p.rnd.IntN(4) == 0 { // it may also be killed while it starts
		p.victim.RestartUnready()
		p.pause(300 * time.Millisecond)
		p.victim.Kill()
		p.check()
	}
	p.victim.Restart()
	has := p.complete()
	for id, url := range had {
		if has[id] == "" && !p.removed[id] {
			p.Errorf("%s, %s, was complete and is lost", id, url)
		}
	}
}

// pause is how long something goes on before it is interrupted.
func (p *crashPlay) pause(most time.Duration) { time.Sleep(time.Duration(p.rnd.Int64N(int64(most)))) }

// some is the newest object, or one of those before it.
func (p *crashPlay) some() content.Object {
	back := uint64(0)
	if p.rnd.IntN(2) == 0 {
		back = p.rnd.Uint64N(min(p.newest, crashKept))
	}
	return content.Object{Seed: p.newest - back, Size: 6 * mib}
}

func (p *crashPlay) url(o content.Object) string {
	return fmt.Sprintf("%s/size=%d/rate=3MiB/seed=%d/f.bin", p.origin, o.Size, o.Seed)
}

// object is what a URL stands for.
func (p *crashPlay) object(url string) content.Object {
	p.Helper()
	_, rest, _ := strings.Cut(url, "seed=")
	number, _, _ := strings.Cut(rest, "/")
	seed, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		p.Fatalf("%s: %v", url, err)
	}
	return content.Object{Seed: seed, Size: 6 * mib}
}

func (p *crashPlay) got(c *lab.Client) {
	p.Helper()
	p.whole++
	p.Check(p.object(c.URL), c.Wait())
}

// complete lists the victim's complete objects, from id to URL.
func (p *crashPlay) complete() map[string]string {
	p.Helper()
	var list struct {
		Objects []struct {
			ID, URL  string
			Complete bool
		}
	}
	p.decode(p.victim.Machine.Run(p.Binary(), "ls", "-o", "json"), &list)
	all := map[string]string{}
	for _, o := range list.Objects {
		if o.Complete {
			all[o.ID] = o.URL
		}
	}
	return all
}

// remove begins to remove a few objects.
func (p *crashPlay) remove(had map[string]string) {
	p.Helper()
	args := []string{"curl", "-s", "-X", "DELETE"}
	for id := range had {
		if len(args) > 8 {
			break
		}
		p.removed[id] = true
		args = append(args, "http://127.0.0.1:3180/api/v1/objects/"+id)
	}
	p.victim.Machine.Start("remove", args...)
}

// check compares the dead victim's files with its catalogue.
func (p *crashPlay) check() {
	p.Helper()
	var found struct {
		Findings []struct{ What, Object, File, Detail string }
	}
	out, err := p.victim.Machine.Try(p.Binary(), "check", "--data-dir", p.victim.DataDir, "--deep", "-o", "json")
	text, _, _ := strings.Cut(out, "\nshatabdi: error: findings")
	if err != nil && text == out {
		p.Fatalf("check: %v\n%s", err, out)
	}
	p.decode(text, &found)
	for _, f := range found.Findings {
		if f.What != "stray file" {
			p.Errorf("after a kill: %+v", f)
			continue
		}
		p.strays++
	}
}

func (p *crashPlay) decode(text string, into any) {
	p.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		p.Fatalf("%v in\n%s", err, text)
	}
}

// readAll reads everything that is complete once more.
func (p *crashPlay) readAll() {
	p.Helper()
	for _, url := range p.complete() {
		p.got(p.victim.Curl(url).Start())
	}
}
