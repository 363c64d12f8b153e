package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

// answer serves f and returns an announce URL.
func answer(t *testing.T, f http.HandlerFunc) (*http.Client, string) {
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.Client(), s.URL + "/announce?secret=1"
}

func TestAnnounce(t *testing.T) {
	req := Request{InfoHash: InfoHash{1}, PeerID: PeerID{2}, Port: 3, Node: "n"}
	want := sample()
	var seen string
	client, url := answer(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.URL.RawQuery
		if r.URL.Path == "/announce" { // as a node that does not lead
			http.Redirect(w, r, "/leader?"+r.URL.RawQuery, http.StatusTemporaryRedirect)
			return
		}
		w.Write(want.AppendDictionary(nil, true))
	})
	got, err := Announce(t.Context(), client, url, req)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	if parsed, err := ParseRequest(seen); err != nil || parsed != req || !strings.HasPrefix(seen, "secret=1&") {
		t.Errorf("the tracker saw %q: %+v, %v", seen, parsed, err)
	}
}

func TestScrape(t *testing.T) {
	want := []Swarm{{InfoHash{1}, 1, 2, 3}}
	client, url := answer(t, func(w http.ResponseWriter, r *http.Request) {
		hashes, err := AppendScrape(nil, r.URL.RawQuery, 10)
		if r.URL.Path != "/scrape" || err != nil || len(hashes) != 2 {
			t.Errorf("%s: %x, %v", r.URL, hashes, err)
		}
		w.Write(AppendSwarms(nil, want))
	})
	got, err := Scrape(t.Context(), client, url, InfoHash{1}, InfoHash{9})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestScrapeURL(t *testing.T) { // BEP 48 "Scrape URL"
	for _, tt := range [][2]string{
		{"http://example.com/announce", "http://example.com/scrape"},
		{"http://example.com/x/announce", "http://example.com/x/scrape"},
		{"http://example.com/announce.php", "http://example.com/scrape.php"},
		{"http://example.com/announce?x=2%0644", "http://example.com/scrape?x=2%0644"},
		{"http://example.com/a", ""},
		{"http://example.com/announce?x=2/4", "http://example.com/scrape?x=2/4"},
		{"http://example.com/x/announce/y", ""},
		{"http://[", ""},
	} {
		if got, err := ScrapeURL(tt[0]); got != tt[1] || (err == nil) != (tt[1] != "") {
			t.Errorf("%s: %q, %v; want %q", tt[0], got, err, tt[1])
		}
	}
}

func TestClientIsNotHarmedByTheTracker(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    http.HandlerFunc
		err  string
	}{
		{"refusal with 200", func(w http.ResponseWriter, r *http.Request) {
			w.Write((&Failure{Reason: "no"}).Append(nil))
		}, "announce: tracker: no"},
		{"refusal with a status", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			w.Write((&Failure{Reason: "no"}).Append(nil))
		}, "announce: tracker: no"},
		{"another server", func(w http.ResponseWriter, r *http.Request) {
			http.NotFound(w, r)
		}, "announce: HTTP status 404"},
		{"no bencode", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "<html>")
		}, "announce: malformed bencode"},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, "announce: the answer is longer than 524288 bytes"},
		{"hangs up", func(w http.ResponseWriter, r *http.Request) {
			panic(http.ErrAbortHandler)
		}, "announce: EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, url := answer(t, tt.f)
			_, err := Announce(t.Context(), client, url, Request{Key: "proof"})
			if err == nil || err.Error() != tt.err {
				t.Errorf("error %v, want %s", err, tt.err)
			}
		})
	}
}

func TestErrorsHideTheProof(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Announce(ctx, http.DefaultClient, "http://127.0.0.1:1/announce", Request{Key: "proof"})
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "proof") {
		t.Error(err)
	}
	if _, err := Announce(ctx, http.DefaultClient, "http://[?key=proof", Request{}); err == nil || strings.Contains(err.Error(), "proof") {
		t.Error(err)
	}
}
