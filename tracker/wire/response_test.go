package wire

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func compact(peers []Peer) *Compact {
	var c Compact
	for _, p := range peers {
		ip := p.Addr.Addr().As16()
		c.Add(&ip, p.Addr.Port())
	}
	return &c
}

func peer(id byte, addr string) Peer {
	p := Peer{Addr: netip.MustParseAddrPort(addr)}
	if id != 0 {
		p.ID = PeerID([]byte(strings.Repeat(string(id), 20)))
	}
	return p
}

func sample() Response {
	return Response{
		Interval: 2 * time.Minute, MinInterval: 10 * time.Second,
		Complete: 1, Incomplete: 2, Downloaded: 3,
		Peers: []Peer{
			peer('a', "10.0.0.1:42069"), peer('a', "[fd00::1]:42069"), peer('b', "192.0.2.200:80"),
		},
		TrackerID: "T", Warning: "slow down",
	}
}

const sampleHead = "d8:completei1e10:downloadedi3e10:incompletei2e8:intervali120e12:min intervali10e"

func TestAppendCompactGolden(t *testing.T) {
	r := sample()
	const want = sampleHead +
		"5:peers12:\x0a\x00\x00\x01\xa4\x55\xc0\x00\x02\xc8\x00\x50" +
		"6:peers618:\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xa4\x55" +
		"10:tracker id1:T15:warning message9:slow downe"
	if got := string(r.AppendCompact(nil, compact(r.Peers))); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, want := string((&Response{}).AppendCompact(nil, &Compact{})),
		"d8:completei0e10:downloadedi0e10:incompletei0e8:intervali0e5:peers0:e"; got != want {
		t.Errorf("empty: got  %q\nwant %q", got, want)
	}
}

func TestAppendDictionaryGolden(t *testing.T) {
	r := sample()
	const tail = "e10:tracker id1:T15:warning message9:slow downe"
	const ids = sampleHead + "5:peersl" +
		"d2:ip8:10.0.0.17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti42069ee" +
		"d2:ip7:fd00::17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti42069ee" +
		"d2:ip11:192.0.2.2007:peer id20:bbbbbbbbbbbbbbbbbbbb4:porti80ee" + tail
	if got := string(r.AppendDictionary(nil, true)); got != ids {
		t.Errorf("got  %q\nwant %q", got, ids)
	}
	const none = sampleHead + "5:peersl" +
		"d2:ip8:10.0.0.14:porti42069ee" +
		"d2:ip7:fd00::14:porti42069ee" +
		"d2:ip11:192.0.2.2004:porti80ee" + tail
	if got := string(r.AppendDictionary(nil, false)); got != none {
		t.Errorf("without ids: got  %q\nwant %q", got, none)
	}
}

func TestFailureGolden(t *testing.T) {
	for _, tt := range []struct {
		f    Failure
		want string
	}{
		{Failure{Reason: "no"}, "d14:failure reason2:noe"},
		{Failure{Reason: "later", RetryIn: time.Second}, "d14:failure reason5:later8:retry ini1ee"},
		{Failure{Reason: "later", RetryIn: 61 * time.Second}, "d14:failure reason5:later8:retry ini2ee"},
		{Failure{Reason: "no", RetryIn: -1}, "d14:failure reason2:no8:retry in5:nevere"},
	} {
		if got := string(tt.f.Append(nil)); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
		for _, parse := range []func([]byte) error{
			func(b []byte) error { _, err := ParseResponse(b); return err },
			func(b []byte) error { _, err := ParseSwarms(b); return err },
		} {
			var got *Failure
			if err := parse([]byte(tt.want)); !errors.As(err, &got) || got.Reason != tt.f.Reason {
				t.Errorf("%q: %v", tt.want, err)
			} else if rest := got.RetryIn - tt.f.RetryIn; rest < 0 || rest >= time.Minute {
				t.Errorf("%q: retry in %v", tt.want, got.RetryIn)
			}
		}
	}
}

func TestParseResponse(t *testing.T) {
	r := sample()
	got, err := ParseResponse(r.AppendDictionary(nil, true))
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("dictionary: %v\ngot  %+v\nwant %+v", err, got, r)
	}
	got, err = ParseResponse(r.AppendCompact(nil, compact(r.Peers)))
	r.Peers = []Peer{peer(0, "10.0.0.1:42069"), peer(0, "192.0.2.200:80"), peer(0, "[fd00::1]:42069")}
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("compact: %v\ngot  %+v\nwant %+v", err, got, r)
	}
	// Other trackers: host names, keys out of order, keys nobody knows, text after the end.
	got, err = ParseResponse([]byte("d5:peersld2:ip9:localhost4:porti1eed2:ip9:127.0.0.14:porti2eee8:intervali60e1:xld1:yi-1eeeetrailing"))
	want := Response{Interval: time.Minute, Peers: []Peer{peer(0, "127.0.0.1:2")}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("sloppy: %v\ngot  %+v\nwant %+v", err, got, want)
	}
}

func TestParseResponseRefusesNonsense(t *testing.T) {
	for _, s := range []string{
		"", "d", "i1e", "le", "4:spam", "<html>", "d8:interval", "d8:intervali1", "d8:intervali01ee", "d8:intervali-0ee",
		"d8:intervali99999999999999999999ee", "d8:interval2:60e", "d5:peers5:12345e", "d6:peers66:123456e",
		"d5:peers-1:e", "d5:peers06:123456e", "d5:peers99999999999:e", "d5:peersldeee"[:11], "di1ei2ee",
		"d1:x" + strings.Repeat("l", 100) + strings.Repeat("e", 100) + "e",
	} {
		if r, err := ParseResponse([]byte(s)); err == nil {
			t.Errorf("%q parsed as %+v", s, r)
		}
	}
}

func TestSwarmsGolden(t *testing.T) {
	a := Swarm{InfoHash([]byte("aaaaaaaaaaaaaaaaaaaa")), 1, 2, 3}
	b := Swarm{InfoHash([]byte("bbbbbbbbbbbbbbbbbbbb")), 4, 5, 6}
	const want = "d5:filesd" +
		"20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:downloadedi3e10:incompletei2ee" +
		"20:bbbbbbbbbbbbbbbbbbbbd8:completei4e10:downloadedi6e10:incompletei5ee" + "ee"
	got := AppendSwarms(nil, []Swarm{b, a, b})
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	swarms, err := ParseSwarms(got)
	if err != nil || !reflect.DeepEqual(swarms, []Swarm{a, b}) {
		t.Errorf("%+v, %v", swarms, err)
	}
	if got := string(AppendSwarms(nil, nil)); got != "d5:filesdee" {
		t.Errorf("empty: %q", got)
	}
}

func FuzzParseResponse(f *testing.F) {
	r := sample()
	f.Add(r.AppendCompact(nil, compact(r.Peers)))
	f.Add(r.AppendDictionary(nil, true))
	f.Add(r.AppendDictionary(nil, false))
	f.Add((&Failure{"no", time.Minute}).Append(nil))
	f.Add([]byte("d5:peersld2:ip12:fe80::1%eth04:porti1eee8:intervali-1ee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseResponse(b)
		if err != nil {
			return
		}
		again, err := ParseResponse(r.AppendDictionary(nil, true))
		if err != nil || !equal(again, r) {
			t.Errorf("%q: %+v, then %+v, %v", b, r, again, err)
		}
		short, err := ParseResponse(r.AppendCompact(nil, compact(r.Peers)))
		if err != nil || len(short.Peers) != len(r.Peers) {
			t.Errorf("%q: %+v, then %+v, %v", b, r, short, err)
		}
	})
}

func FuzzParseSwarms(f *testing.F) {
	f.Add(AppendSwarms(nil, []Swarm{{Complete: 1}, {InfoHash: InfoHash{1}, Downloaded: 2}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		swarms, err := ParseSwarms(b)
		if err != nil {
			return
		}
		printed := AppendSwarms(nil, swarms)
		again, err := ParseSwarms(printed)
		if err != nil || string(AppendSwarms(nil, again)) != string(printed) {
			t.Errorf("%q: %+v, then %+v, %v", b, swarms, again, err)
		}
	})
}

// equal treats no peers and an empty list of peers alike.
func equal(a, b Response) bool {
	if len(a.Peers) == 0 && len(b.Peers) == 0 {
		a.Peers, b.Peers = nil, nil
	}
	return reflect.DeepEqual(a, b)
}
