package swarm

import (
	"bytes"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"shatabdi/swarmcache"
)

// A new leader hears of all swarms soon, and not of all at once: of many within
// five seconds, of few within a moment.
func TestNewLeaderIsNotOverrun(t *testing.T) {
	now := time.Now()
	begin := func(swarms int) (due []time.Duration) {
		a := &announcer{due: map[metainfo.Hash]*announcement{}}
		for i := range swarms {
			x := &announcement{t: &joined{}, told: true, next: now.Add(time.Hour)}
			x.t.seedless.Store(true)
			a.due[metainfo.Hash{byte(i), byte(i >> 8)}] = x
		}
		a.beginAnewLocked("http://new.test/announce", now)
		for _, x := range a.due {
			if x.told || x.t.seedless.Load() {
				t.Fatal("what the former one knew counts")
			}
			due = append(due, x.next.Sub(now))
		}
		return due
	}
	var each [5]int
	for _, d := range begin(2000) {
		each[min(d, 5*time.Second-1)/time.Second]++
	}
	if slices.Min(each[:]) < 200 {
		t.Errorf("of 2,000 announces %d in each second", each)
	}
	if last := slices.Max(begin(10)); last > 200*time.Millisecond {
		t.Errorf("ten wait for %v", last)
	}
}

// A torrent and a magnet name the trackers in the order in which they are to be
// asked, and each stands in a tier of its own (BEP 12): the next is for when those
// before it fail.
func TestTrackersAreTiers(t *testing.T) {
	trackers := []string{"http://leader.test/announce", "http://other.test/announce", "http://third.test/announce"}
	hashes := bytes.Repeat([]byte{3}, 20)
	v := swarmcache.Version{URL: "http://origin.test/f", Length: 1000, InfoHash: swarmcache.InfoHash{1}}
	m, err := metainfo.Load(bytes.NewReader((*Swarm)(nil).MetaInfo(v, hashes, trackers)))
	if err != nil {
		t.Fatal(err)
	}
	if m.Announce != trackers[0] || !slices.EqualFunc(m.AnnounceList, trackers, func(tier []string, url string) bool {
		return slices.Equal(tier, []string{url})
	}) {
		t.Errorf("%q, %q", m.Announce, m.AnnounceList)
	}
	u, err := url.Parse((*Swarm)(nil).Magnet(v, trackers, []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:42069")}))
	if err != nil {
		t.Fatal(err)
	}
	if q := u.Query(); !slices.Equal(q["tr"], trackers) || q.Get("x.pe") != "10.0.0.1:42069" {
		t.Errorf("%s", u)
	}
}
