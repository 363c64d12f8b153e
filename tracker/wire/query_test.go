package wire

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What clients really send.
const (
	aria2Query = `info_hash=%B3%87%B5%8Cb%89%9E%9D7%22%E5%0Es%0E%9F%60K%FD%A0%27&peer_id=A2-1-36-0-%21%B5%0C%AE1u%1F%BB%F2%0B&uploaded=0&downloaded=0&left=3145728&compact=1&key=%0C%AE1u%1F%BB%F2%0B&numwant=50&no_peer_id=1&port=46882&event=started&supportcrypto=1`
	qbitQuery  = `info_hash=%C4%D2%3AHello%20World%2Bplus%00&peer_id=-qB4500-abcdefghijkl&port=8999&uploaded=0&downloaded=0&left=0&corrupt=0&key=1A2B3C4D&event=completed&numwant=200&compact=1&no_peer_id=1&supportcrypto=1&redundant=0`
	anacrolix  = `node=n1&key=proof&compact=1&downloaded=0&event=stopped&info_hash=aaaaaaaaaaaaaaaaaaaa&key=0&left=9223372036854775807&peer_id=-GT0003-123456789012&port=42069&supportcrypto=1&uploaded=0`
)

func TestParseRequest(t *testing.T) {
	const ids = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb"
	hash, peer := InfoHash([]byte("aaaaaaaaaaaaaaaaaaaa")), PeerID([]byte("bbbbbbbbbbbbbbbbbbbb"))
	base := func(f func(*Request)) Request {
		r := Request{InfoHash: hash, PeerID: peer, Left: LeftUnknown}
		f(&r)
		return r
	}
	for _, tt := range []struct {
		name  string
		query string
		want  Request
		err   string
	}{
		{"aria2", aria2Query, Request{
			InfoHash: InfoHash([]byte("\xb3\x87\xb5\x8cb\x89\x9e\x9d7\x22\xe5\x0es\x0e\x9f`K\xfd\xa0'")),
			PeerID:   PeerID([]byte("A2-1-36-0-!\xb5\x0c\xae1u\x1f\xbb\xf2\x0b")),
			Port:     46882, Left: 3 << 20, Event: Started, NumWant: 50, NoPeerID: true, Key: "\x0c\xae1u\x1f\xbb\xf2\x0b",
		}, ""},
		{"qBittorrent", qbitQuery, Request{
			InfoHash: InfoHash([]byte("\xc4\xd2:Hello World+plus\x00")),
			PeerID:   PeerID([]byte("-qB4500-abcdefghijkl")),
			Port:     8999, Event: Completed, NumWant: 200, NoPeerID: true, Key: "1A2B3C4D",
		}, ""},
		{"the announce URL's own parameters come first and count", anacrolix, Request{
			InfoHash: hash, PeerID: PeerID([]byte("-GT0003-123456789012")),
			Port: 42069, Left: LeftUnknown, Event: Stopped, Node: "n1", Key: "proof",
		}, ""},
		{"BEP 23: compact is the default", ids, base(func(r *Request) {}), ""},
		{"BEP 23: compact=0", ids + "&compact=0", base(func(r *Request) { r.Dictionary = true }), ""},
		{"BEP 21: an event of others is an update", ids + "&event=paused", base(func(r *Request) {}), ""},
		{"numwant=0 wants none", ids + "&numwant=0", base(func(r *Request) { r.NumWant = -1 }), ""},
		{"numwant=-1 wants the default", ids + "&numwant=-1", base(func(r *Request) {}), ""},
		{"a huge numwant", ids + "&numwant=99999999999999999999", base(func(r *Request) { r.NumWant = math.MaxInt32 }), ""},
		{"left=-1 is unknown", ids + "&left=-1", base(func(r *Request) {}), ""},
		{"64 unsigned bits", ids + "&left=18446744073709551615&uploaded=18446744073709551615",
			base(func(r *Request) { r.Uploaded = math.MaxInt64 }), ""},
		{"more than 64 bits", ids + "&downloaded=99999999999999999999999",
			base(func(r *Request) { r.Downloaded = math.MaxInt64 }), ""},
		{"plus is a space, escaped plus is a plus", ids + "&node=a+b%2Bc", base(func(r *Request) { r.Node = "a b+c" }), ""},
		{"BEP 7: addresses in the query are ignored", ids + "&ip=10.0.0.9&ipv6=[::1]:1", base(func(r *Request) {}), ""},
		{"empty parts", "&&=&" + ids + "&&port", Request{}, "port: not a number"},

		{"empty", "", Request{}, "info_hash: missing"},
		{"no peer_id", "info_hash=aaaaaaaaaaaaaaaaaaaa", Request{}, "peer_id: missing"},
		{"19 bytes", "info_hash=aaaaaaaaaaaaaaaaaaa", Request{}, "info_hash: 19 bytes, want 20"},
		{"21 bytes", "info_hash=aaaaaaaaaaaaaaaaaaaaa", Request{}, "info_hash: 21 bytes, want 20"},
		{"hex instead of bytes", "info_hash=" + strings.Repeat("ab", 20), Request{}, "info_hash: 40 bytes, want 20"},
		{"cut escape", "info_hash=aaaaaaaaaaaaaaaaaaa%4", Request{}, "info_hash: bad %-escape"},
		{"bad escape", "info_hash=aaaaaaaaaaaaaaaaaaa%4g", Request{}, "info_hash: bad %-escape"},
		{"port beyond 16 bits", ids + "&port=65536", Request{}, "port: not a number"},
		{"negative port", ids + "&port=-1", Request{}, "port: not a number"},
		{"left is no number", ids + "&left=1e9", Request{}, "left: not a number"},
		{"node too long", ids + "&node=" + strings.Repeat("n", 129), Request{}, "node: longer than 128 bytes"},
		{"escaped node too long", ids + "&node=" + strings.Repeat("%41", 129), Request{}, "node: longer than 128 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseRequest(tt.query)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestAppendQueryGolden(t *testing.T) {
	r := Request{
		InfoHash: InfoHash([]byte("\x00 %&=+~-._azAZ09\xff\xfe\x7f/")),
		PeerID:   PeerID([]byte("-SH0001-123456789012")),
		Port:     42069, Uploaded: 1, Downloaded: 2, Left: 3,
		Event: Started, NumWant: -1, Dictionary: true, NoPeerID: true,
		Node: "rack 1/n", Key: "k&y", TrackerID: "t",
	}
	const want = "info_hash=%00%20%25%26%3D%2B~-._azAZ09%FF%FE%7F%2F&peer_id=-SH0001-123456789012&port=42069" +
		"&uploaded=1&downloaded=2&left=3&event=started&numwant=0&compact=0&no_peer_id=1" +
		"&node=rack%201%2Fn&key=k%26y&trackerid=t"
	if got := string(r.AppendQuery(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWhatIsPrintedParsesBack(t *testing.T) {
	text := rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOfN(rapid.Byte(), 0, maxText).Draw(t, "text"))
	})
	id := rapid.Custom(func(t *rapid.T) (id [20]byte) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "id"))
		return id
	})
	rapid.Check(t, func(t *rapid.T) {
		want := Request{
			InfoHash: id.Draw(t, "infohash"), PeerID: id.Draw(t, "peer"),
			Port:       rapid.Uint16().Draw(t, "port"),
			Uploaded:   rapid.Int64Min(0).Draw(t, "uploaded"),
			Downloaded: rapid.Int64Min(0).Draw(t, "downloaded"),
			Left:       rapid.Int64Min(0).Draw(t, "left"),
			Event:      Event(rapid.IntRange(0, int(Stopped)).Draw(t, "event")),
			NumWant:    rapid.IntRange(-1, math.MaxInt32).Draw(t, "numwant"),
			Dictionary: rapid.Bool().Draw(t, "dictionary"), NoPeerID: rapid.Bool().Draw(t, "no peer id"),
			Node: text.Draw(t, "node"), Key: text.Draw(t, "key"), TrackerID: text.Draw(t, "tracker id"),
		}
		got, err := ParseRequest(string(want.AppendQuery(nil)))
		if err != nil || got != want {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
		}
	})
}

func TestScrapeQuery(t *testing.T) {
	a, b := InfoHash([]byte("aaaaaaaaaaaaaaaaaaaa")), InfoHash([]byte("\x00bbbbbbbbbbbbbbbbbb&"))
	query := string(AppendScrapeQuery(nil, a, b))
	got, err := AppendScrape(nil, "x=1&"+query+"&y", 2)
	if err != nil || len(got) != 2 || got[0] != a || got[1] != b {
		t.Errorf("got %x, %v", got, err)
	}
	if _, err := AppendScrape(nil, query, 1); err == nil {
		t.Error("a scrape beyond the limit was let pass")
	}
	if _, err := AppendScrape(nil, "info_hash=short", 1); err == nil {
		t.Error("a short infohash was let pass")
	}
}

func TestParseRequestAllocatesNothing(t *testing.T) {
	n := testing.AllocsPerRun(100, func() {
		if _, err := ParseRequest(qbitQuery); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, q := range []string{"", aria2Query, qbitQuery, anacrolix, "info_hash=%", "a=1&&=%zz", "info_hash=+&info_hash=%2"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r, err := ParseRequest(query)
		if err != nil {
			return
		}
		again, err := ParseRequest(string(r.AppendQuery(nil)))
		if err != nil || again != r {
			t.Errorf("%q\nparsed  %+v\nprinted %s\nparsed  %+v, %v", query, r, r.AppendQuery(nil), again, err)
		}
	})
}

func FuzzAppendScrape(f *testing.F) {
	f.Add("info_hash=aaaaaaaaaaaaaaaaaaaa&info_hash=%00bbbbbbbbbbbbbbbbbbb")
	f.Fuzz(func(t *testing.T, query string) {
		hashes, err := AppendScrape(nil, query, 100)
		if err != nil {
			return
		}
		again, err := AppendScrape(nil, string(AppendScrapeQuery(nil, hashes...)), 100)
		if err != nil || len(again) != len(hashes) {
			t.Errorf("%q: %x, then %x, %v", query, hashes, again, err)
		}
	})
}
