package proxy

import (
	"testing"
	"time"
)

const (
	second = time.Second
	minute = time.Minute
)

// RFC 9111 §3: what is stored, and for whom.
func TestStoring(t *testing.T) {
	again := func(name string, fields string, first ...change) play {
		return play{name: name, first: first, acts: []act{
			{ask: "GET /x" + fields, want: "200 one MISS", saw: "GET"},
			{ask: "GET /x" + fields, want: "200 one HIT", says: "hit"},
		}}
	}
	never := func(name, fields, detail, saw string, first ...change) play {
		return play{name: name, first: first, acts: []act{
			{ask: "GET /x" + fields, want: "200 one MISS", says: "fwd=uri-miss; fwd-status=200; detail=" + detail, saw: saw},
			{want: "200 one MISS", saw: "GET"},
		}}
	}
	perform(t, []play{
		again("§3: an answer with a freshness lifetime", ""),
		again("§3: to every client", "\nCookie: a=b", says("Cache-Control", "public, max-age=60")).but(0, "GET Cookie"),
		again("§3.5: with Authorization, by s-maxage", "\nAuthorization: Basic eDp5", says("Cache-Control", "s-maxage=60")).but(0, "GET Authorization"),
		again("§3.5: with Authorization, by must-revalidate", "\nAuthorization: Basic eDp5", says("Cache-Control", "max-age=60, must-revalidate")).but(0, "GET Authorization"),
		again("§3.5: with Authorization, by public", "\nAuthorization: Basic eDp5", says("Cache-Control", "max-age=60, public")).but(0, "GET Authorization"),
		again("§5.2.2.3: must-understand lifts no-store", "", says("Cache-Control", "max-age=60, must-understand, no-store")),
		again("§4.2.2: without a lifetime, by Last-Modified", "", silent("Cache-Control"), says("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")),
		again("§5.3: by Expires", "", silent("Cache-Control"), says("Expires", "Mon, 01 Jun 2026 12:01:00 GMT")),
		again("RFC 9213: CDN-Cache-Control before Cache-Control", "", says("Cache-Control", "no-store"), says("CDN-Cache-Control", "max-age=60")),
		again("§5.4: Pragma in a response means nothing", "", says("Pragma", "no-cache")),

		never("§5.2.2.5: no-store", "", "no-store", "GET", says("Cache-Control", "no-store, max-age=60")).twice(),
		never("§5.2.2.7: private", "", "private", "GET", says("Cache-Control", "private, max-age=60")).twice(),
		never("RFC 9213: CDN-Cache-Control: no-store", "", "no-store", "GET", says("CDN-Cache-Control", "no-store")).twice(),
		never("§5.2.1.5: no-store of the request", "\nCache-Control: no-store", "request-no-store", "GET"),
		never("§3.5: with Authorization", "\nAuthorization: Basic eDp5", "authorization", "GET Authorization"),
		never("with a cookie", "\nCookie: a=b", "cookie", "GET Cookie"),
		never("§7.3: Set-Cookie", "", "set-cookie", "GET", says("Set-Cookie", "a=b")).twice(),
		never("§4.1: Vary: *", "", "vary", "GET", says("Vary", "*")).twice(),
		never("§4.1: Vary on a credential", "", "vary-credentials", "GET", says("Vary", "Cookie")).twice(),

		{name: "§7.3: the cookie is for the client that asked", first: []change{says("Cache-Control", "public, max-age=60"), says("Set-Cookie", "a=b")}, acts: []act{
			{want: "200 one MISS", says: "Set-Cookie: a=b", saw: "GET"},
			{want: "200 one HIT", says: "Set-Cookie: "},
		}},
		{name: `§5.2.2.7: private="f" is for the client that asked`, first: []change{says("Cache-Control", `max-age=60, private="X-User"`), says("X-User", "me")}, acts: []act{
			{want: "200 one MISS", says: "X-User: me", saw: "GET"},
			{want: "200 one HIT", says: "X-User: "},
		}},
		{name: `§5.2.2.4: no-cache="f" is not given unasked`, first: []change{says("Cache-Control", `max-age=60, no-cache="X-User"`), says("X-User", "me")}, acts: []act{
			{want: "200 one MISS", says: "X-User: me", saw: "GET"},
			{want: "200 one HIT", says: "X-User: "},
			{after: 70 * second, want: "200 one REVALIDATED", says: "X-User: me", saw: "GET If-None-Match"},
			{want: "200 one HIT", says: "X-User: "},
		}},
		{name: "RFC 9110 §7.6.1: Connection cannot take no-store away", first: []change{says("Cache-Control", "no-store"), says("Connection", "Cache-Control")}, acts: []act{
			{want: "200 one MISS", says: "detail=no-store", saw: "GET"},
		}},
		{name: "RFC 9110 §7.6.1: what a client's Connection lists selects nothing", first: []change{says("Vary", "Accept-Language"), becomes("in $language", `W/"1"`)}, acts: []act{
			{ask: "GET /x\nAccept-Language: de\nConnection: Accept-Language", want: "200 in MISS", saw: "GET"},
			{ask: "GET /x\nAccept-Language: de", want: "200 in de MISS", says: "fwd=vary-miss; stored", saw: "GET"},
			{ask: "GET /x\nAccept-Language: DE;q=1.0", want: "200 in de HIT"},
			{ask: "GET /x\nAccept-Language: fr", want: "200 in fr MISS", says: "fwd=vary-miss; stored", saw: "GET"},
		}},
		{name: "§4.1: variants side by side", first: []change{says("Vary", "Accept-Language"), becomes("in $language", `W/"1"`)}, acts: []act{
			{ask: "GET /x\nAccept-Language: de", want: "200 in de MISS", saw: "GET"},
			{ask: "GET /x\nAccept-Language: fr", want: "200 in fr MISS", says: "fwd=vary-miss; stored", saw: "GET"},
			{ask: "GET /x\nAccept-Language: de", want: "200 in de HIT"},
			{ask: "GET /x\nAccept-Language: fr", want: "200 in fr HIT"},
			{ask: "HEAD /x\nAccept-Language: fr", want: "200 HIT", says: "Content-Length: 5"},
			{after: minute, ask: "GET /x\nAccept-Language: fr", want: "200 in fr REVALIDATED", saw: "GET If-None-Match"},
			{ask: "GET /x\nAccept-Language: de", want: "200 in de REVALIDATED", saw: "GET If-None-Match"},
		}},
		{name: "§3.3: a part opens the whole", swarm: true, acts: []act{
			{ask: "GET /x\nRange: bytes=1-", want: "206 ne MISS", says: "fwd-status=206; stored", saw: "GET Range"},
		}},
		{name: "§3.3: a part without a strong validator does not", first: []change{says("Etag", `W/"1"`)}, acts: []act{
			{ask: "GET /x\nRange: bytes=1-", want: "206 ne MISS", says: "detail=partial", saw: "GET Range"},
			{want: "200 one MISS", saw: "GET"},
		}},
	})
}

// but is p with another sight at the origin in an act.
func (p play) but(i int, saw string) play {
	p.acts[i].saw = saw
	return p
}

// twice is p with the first request again at its end: the first act's answer is
// not stored for anybody.
func (p play) twice() play {
	p.acts[1] = p.acts[0]
	return p
}

// RFC 9111 §4.2 and §5.2: fresh or stale, and who wants what.
func TestFreshness(t *testing.T) {
	cached := act{want: "200 one MISS", saw: "GET"}
	perform(t, []play{
		{name: "§4.2: stale at the end of its lifetime", acts: []act{
			cached,
			{after: 59 * second, want: "200 one HIT", says: "ttl=1; Age: 59"},
			{after: second, want: "200 one REVALIDATED", says: "fwd=stale; fwd-status=304", saw: "GET If-None-Match"},
			{after: 59 * second, want: "200 one HIT", says: "ttl=1; Age: 59"},
		}},
		{name: "§4.2.3: Age counts", first: []change{says("Age", "30")}, acts: []act{
			{want: "200 one MISS", says: "Age: 30", saw: "GET"},
			{after: 29 * second, want: "200 one HIT", says: "Age: 59; ttl=1"},
			{after: second, at: []change{silent("Age")}, want: "200 one REVALIDATED", says: "Age: ", saw: "GET If-None-Match"},
			{after: 2 * second, want: "200 one HIT", says: "Age: 2"},
		}},
		{name: "§4.2.3: an old Date counts", first: []change{says("Date", "Mon, 01 Jun 2026 11:59:30 GMT")}, acts: []act{
			cached,
			{after: 29 * second, want: "200 one HIT", says: "Age: 59"},
			{after: second, want: "200 one REVALIDATED", saw: "GET If-None-Match"},
		}},
		{name: "§4.2.1: s-maxage before max-age before Expires", first: []change{says("Cache-Control", "max-age=1, s-maxage=60"), says("Expires", "0")}, acts: []act{
			cached,
			{after: 59 * second, want: "200 one HIT"},
		}},
		{name: "§5.2.2.4: no-cache is asked about each time", first: []change{says("Cache-Control", "no-cache, max-age=60")}, acts: []act{
			cached,
			{want: "200 one REVALIDATED", says: "fwd=stale", saw: "GET If-None-Match"},
			{at: []change{becomes("two", `"2"`)}, want: "200 two EXPIRED", says: "fwd=stale; fwd-status=200; stored", saw: "GET If-None-Match"},
		}},
		{name: "§5.2.1.1: max-age", acts: []act{
			cached,
			{after: 10 * second, ask: "GET /x\nCache-Control: max-age=10", want: "200 one HIT"},
			{after: second, ask: "GET /x\nCache-Control: max-age=10", want: "200 one REVALIDATED", says: "fwd=request", saw: "GET If-None-Match"},
		}},
		{name: "§5.2.1.3: min-fresh", acts: []act{
			cached,
			{after: 50 * second, ask: "GET /x\nCache-Control: min-fresh=10", want: "200 one HIT"},
			{after: second, ask: "GET /x\nCache-Control: min-fresh=10", want: "200 one REVALIDATED", says: "fwd=request", saw: "GET If-None-Match"},
		}},
		{name: "§5.2.1.2: max-stale", acts: []act{
			cached,
			{after: 70 * second, ask: "GET /x\nCache-Control: max-stale=10", want: "200 one STALE", says: "hit; ttl=-10"},
			{after: second, ask: "GET /x\nCache-Control: max-stale=10", want: "200 one REVALIDATED", saw: "GET If-None-Match"},
		}},
		{name: "§5.2.2.2: must-revalidate before max-stale", first: []change{says("Cache-Control", "max-age=60, must-revalidate")}, acts: []act{
			cached,
			{after: 70 * second, ask: "GET /x\nCache-Control: max-stale", want: "200 one REVALIDATED", saw: "GET If-None-Match"},
		}},
		{name: "§5.2.2.8: proxy-revalidate before max-stale", first: []change{says("Cache-Control", "max-age=60, proxy-revalidate")}, acts: []act{
			cached,
			{after: 70 * second, ask: "GET /x\nCache-Control: max-stale", want: "200 one REVALIDATED", saw: "GET If-None-Match"},
		}},
		{name: "§5.2.1.4: no-cache", acts: []act{
			cached,
			{ask: "GET /x\nCache-Control: no-cache", want: "200 one REVALIDATED", says: "fwd=request", saw: "GET If-None-Match"},
			{ask: "GET /x\nPragma: no-cache", want: "200 one REVALIDATED", says: "fwd=request", saw: "GET If-None-Match"},
		}},
		{name: "§5.2.1.7: only-if-cached", acts: []act{
			{ask: "GET /x\nCache-Control: only-if-cached", want: "504"},
			cached,
			{ask: "GET /x\nCache-Control: only-if-cached", want: "200 one HIT"},
			{after: minute, ask: "GET /x\nCache-Control: only-if-cached", want: "504"},
		}},
		{name: "RFC 8246: immutable over http is a forger's word", first: []change{says("Cache-Control", "max-age=60, immutable")}, acts: []act{
			cached,
			{ask: "GET /x\nCache-Control: max-age=0", want: "200 one REVALIDATED", saw: "GET If-None-Match"},
		}},
	})
}

// RFC 5861 and RFC 9111 §4.2.4: stale, with permission.
func TestStale(t *testing.T) {
	cached := act{want: "200 one MISS", saw: "GET"}
	perform(t, []play{
		{name: "stale-while-revalidate", first: []change{says("Cache-Control", "max-age=60, stale-while-revalidate=30")}, acts: []act{
			cached,
			{after: 80 * second, want: "200 one UPDATING", says: "hit; ttl=-20; detail=stale-while-revalidate", saw: "GET If-None-Match"},
			{want: "200 one HIT", says: "ttl=60"},
		}},
		{name: "stale-while-revalidate of what changed", first: []change{says("Cache-Control", "max-age=60, stale-while-revalidate=30")}, alone: true, acts: []act{
			cached,
			{after: 80 * second, at: []change{becomes("two", `"2"`)}, want: "200 one UPDATING", saw: "GET If-None-Match"},
			{want: "200 two HIT", says: "Etag: \"2\""},
			{after: 90 * second, want: "200 two REVALIDATED", saw: "GET If-None-Match"},
		}},
		{name: "stale-while-revalidate without the client's credentials", first: []change{says("Cache-Control", "public, max-age=60, stale-while-revalidate=30")}, acts: []act{
			cached,
			{after: 80 * second, ask: "GET /x\nCookie: a=b\nAuthorization: Basic eDp5", want: "200 one UPDATING", saw: "GET If-None-Match"},
		}},
		{name: "stale-if-error: an error's status", first: []change{says("Cache-Control", "max-age=60, stale-if-error=60")}, alone: true, acts: []act{
			cached,
			{after: 80 * second, at: []change{fails(503)}, want: "200 one STALE", says: "fwd=stale; fwd-status=503; detail=stale-if-error; Age: 80", saw: "GET If-None-Match"},
			{after: 50 * second, want: "503 error EXPIRED", saw: "GET If-None-Match"},
		}},
		{name: "stale-if-error: no answer", first: []change{says("Cache-Control", "max-age=60, stale-if-error=60")}, alone: true, acts: []act{
			cached,
			{after: 80 * second, at: []change{away}, want: "200 one STALE", says: "hit; ttl=-20; detail=stale-if-error"},
			{ask: "GET /x\nCache-Control: no-cache", want: "502"},
			{ask: "HEAD /x", want: "200 STALE"},
			{after: 50 * second, want: "502"},
		}},
		{name: "stale-if-error of the request", alone: true, acts: []act{
			cached,
			{after: 80 * second, at: []change{away}, ask: "GET /x\nCache-Control: stale-if-error=30", want: "200 one STALE"},
			{want: "502"},
		}},
		{name: "§4.2.4: not where must-revalidate stands", first: []change{says("Cache-Control", "max-age=60, stale-if-error=60, must-revalidate")}, alone: true, acts: []act{
			cached,
			{after: 80 * second, at: []change{away}, want: "502"},
		}},
		{name: "§4.2.4: nor without a word", alone: true, acts: []act{
			cached,
			{after: 80 * second, at: []change{fails(500)}, want: "500 error EXPIRED", saw: "GET If-None-Match"},
		}},
	})
}

// RFC 9111 §4.3: validation, by GET and by HEAD.
func TestValidation(t *testing.T) {
	cached := act{want: "200 one MISS", saw: "GET"}
	perform(t, []play{
		{name: "§4.3.1: by date where there is no tag", first: []change{silent("Etag"), says("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")}, acts: []act{
			cached,
			{after: minute, at: []change{fails(304)}, want: "200 one REVALIDATED", saw: "GET If-Modified-Since"},
		}},
		{name: "§4.3.1: the whole where there is neither", first: []change{silent("Etag")}, acts: []act{
			cached,
			{after: minute, at: []change{func(s *stage) { s.body = "two" }}, want: "200 two EXPIRED", says: "fwd=stale; stored", saw: "GET"},
			{want: "200 two HIT"},
		}},
		{name: "§4.3.4: a 304 updates the header, but not what describes the body", first: []change{says("X-A", "1"), says("Content-Language", "de")}, acts: []act{
			cached,
			{after: minute, at: []change{says("X-A", "2"), says("X-B", "3"), says("Content-Encoding", "gzip"), says("Cache-Control", "max-age=120")},
				want: "200 one REVALIDATED", says: "X-A: 2; X-B: 3; Content-Encoding: ; Content-Language: de", saw: "GET If-None-Match"},
			{after: 119 * second, want: "200 one HIT", says: "X-A: 2; X-B: 3; Content-Encoding: ; ttl=1"},
		}},
		{name: "§4.3.4: a 304 about something else", acts: []act{
			cached,
			{after: minute, at: []change{becomes("two", `"2"`), fails(304)}, want: "304 EXPIRED", saw: "GET If-None-Match, GET"},
		}, alone: true},
		{name: "§4.3.4: a 304 that takes the permission back", acts: []act{
			cached,
			{after: minute, at: []change{says("Cache-Control", "no-store")}, want: "200 one REVALIDATED", saw: "GET If-None-Match"},
			{want: "200 one MISS", says: "detail=no-store", saw: "GET"},
		}},
		{name: "§4.3.4: a 304 with a cookie takes nothing back", acts: []act{
			cached,
			{after: minute, at: []change{says("Set-Cookie", "a=b")}, want: "200 one REVALIDATED", says: "Set-Cookie: a=b", saw: "GET If-None-Match"},
			{at: []change{silent("Set-Cookie")}, want: "200 one REVALIDATED", says: "Set-Cookie: ", saw: "GET If-None-Match"},
			{want: "200 one HIT"},
		}, alone: true},
		{name: "§4.3.3: a 200 takes the place", acts: []act{
			cached,
			{after: minute, at: []change{becomes("three", `"2"`)}, want: "200 three EXPIRED", says: "stored", saw: "GET If-None-Match"},
			{want: "200 three HIT"},
		}},
		{name: "§4.3.3: a 200 with the validator that is stored renews what is", first: []change{fails(200)}, acts: []act{
			{want: "200 error MISS", saw: "GET"},
			{after: minute, want: "200 error EXPIRED", says: "fwd=stale; stored", saw: "GET If-None-Match"},
			{want: "200 error HIT", says: "ttl=60"},
			{at: []change{says("Cache-Control", "no-cache")}, ask: "GET /x\nCache-Control: no-cache", want: "200 error EXPIRED", saw: "GET If-None-Match"},
			{want: "200 error EXPIRED", says: "fwd=stale", saw: "GET If-None-Match"},
		}, alone: true},
		{name: "§4.3.3: an answer that is gone ends it", acts: []act{
			cached,
			{after: minute, at: []change{fails(404), says("Cache-Control", "no-store")}, want: "404 error EXPIRED", saw: "GET If-None-Match"},
			{at: []change{fails(0)}, want: "200 one MISS", saw: "GET"},
		}},
		{name: "§4.3.5: a HEAD that confirms", acts: []act{
			cached,
			{after: 70 * second, ask: "HEAD /x", want: "200 EXPIRED", says: "fwd=stale; fwd-status=200", saw: "HEAD"},
			{after: 30 * second, want: "200 one HIT", says: "ttl=30"},
		}, alone: true},
		{name: "§4.3.5: a HEAD that outdates", acts: []act{
			cached,
			{ask: "HEAD /x\nCache-Control: no-cache", at: []change{becomes("three", `"2"`)}, want: "200 EXPIRED", says: "fwd=request", saw: "HEAD"},
			{want: "200 three EXPIRED", says: "fwd=stale", saw: "GET If-None-Match"},
		}, alone: true},
		{name: "§4: a HEAD is answered by a GET", acts: []act{
			cached,
			{ask: "HEAD /x", want: "200 HIT", says: "Content-Length: 3"},
			{ask: "HEAD /x\nRange: bytes=0-0", want: "200 HIT", says: "Content-Length: 3"},
		}},
	})
}

// RFC 9111 §4.3.2, RFC 9110 §13 and §14: conditions and ranges of the client,
// answered by what is stored.
func TestConditions(t *testing.T) {
	const jan = "Thu, 01 Jan 2026 00:00:00 GMT"
	hit := func(fields, want, says string) act { return act{ask: "GET /x\n" + fields, want: want, says: says} }
	perform(t, []play{
		{name: "of a stored response", first: []change{says("Last-Modified", jan), says("Etag", `"1"`), func(s *stage) { s.body = "0123456789" }}, acts: []act{
			{want: "200 0123456789 MISS", saw: "GET"},
			hit(`If-None-Match: "1"`, "304 HIT", `hit; Etag: "1"; Cache-Control: max-age=60; Content-Type: ; Content-Length: `),
			hit(`If-None-Match: W/"1"`, "304 HIT", ""),
			hit(`If-None-Match: "0", "1"`, "304 HIT", ""),
			hit(`If-None-Match: *`, "304 HIT", ""),
			hit(`If-None-Match: "0"`, "200 0123456789 HIT", ""),
			hit("If-Modified-Since: "+jan, "304 HIT", ""),
			hit("If-Modified-Since: Wed, 31 Dec 2025 00:00:00 GMT", "200 0123456789 HIT", ""),
			hit("If-Modified-Since: yesterday", "200 0123456789 HIT", ""),
			// §13.2.2: If-None-Match first.
			hit("If-None-Match: \"0\"\nIf-Modified-Since: "+jan, "200 0123456789 HIT", ""),
			hit("If-None-Match: \"1\"\nRange: bytes=0-1", "304 HIT", ""),
			hit(`If-Match: "1"`, "200 0123456789 HIT", ""),
			hit("Range: bytes=0-1", "206 01 HIT", "Content-Range: bytes 0-1/10; Content-Length: 2"),
			hit("Range: bytes=-2", "206 89 HIT", "Content-Range: bytes 8-9/10"),
			hit("Range: bytes=8-20", "206 89 HIT", "Content-Range: bytes 8-9/10"),
			hit("Range: bytes=0-6,4-9", "200 0123456789 HIT", ""),
			hit("Range: bytes=0-1\nIf-Range: \"1\"", "206 01 HIT", ""),
			hit("Range: bytes=0-1\nIf-Range: \"0\"", "200 0123456789 HIT", ""),
			hit("Range: bytes=0-1\nIf-Range: W/\"1\"", "200 0123456789 HIT", ""),
			hit("Range: bytes=0-1\nIf-Range: "+jan, "206 01 HIT", ""),
			hit("Range: lines=0-1", "200 0123456789 HIT", ""),
			hit("Range: bytes=1-0", "200 0123456789 HIT", ""),
			{ask: "HEAD /x\nIf-None-Match: \"1\"", want: "304 HIT"},
			// §4.3.2: these speak of the origin's state.
			{ask: "GET /x\nIf-Match: \"0\"", want: "412 BYPASS", says: "fwd=request", saw: "GET If-Match"},
		}},
		{name: "also after a revalidation", acts: []act{
			{want: "200 one MISS", saw: "GET"},
			{after: minute, ask: "GET /x\nIf-None-Match: \"1\"", want: "304 REVALIDATED", saw: "GET If-None-Match"},
			{after: minute, ask: "GET /x\nIf-None-Match: \"0\"\nRange: bytes=1-", want: "206 ne REVALIDATED", saw: "GET If-None-Match"},
			{after: minute, ask: "GET /x\nIf-Match: \"0\"", want: "412 BYPASS", saw: "GET If-Match"},
		}},
		{name: "what no longer holds is the origin's to say", acts: []act{
			{want: "200 one MISS", saw: "GET"},
			{after: minute, at: []change{becomes("two", `"2"`)}, ask: "GET /x\nIf-Match: \"1\"\nRange: bytes=1-", want: "412 EXPIRED", saw: "GET If-None-Match, GET If-Match Range"},
			{want: "200 two EXPIRED", saw: "GET If-None-Match"},
		}},
		{name: "a client's own 304 is no news about what is stored", acts: []act{
			{ask: "GET /x\nIf-None-Match: \"1\"", want: "304 MISS", says: "fwd=uri-miss; fwd-status=304", saw: "GET If-None-Match"},
			{want: "200 one MISS", saw: "GET"},
		}},
	})
}

// RFC 9111 §4.4: what unsafe methods change.
func TestInvalidation(t *testing.T) {
	cached := act{want: "200 one MISS", saw: "GET"}
	invalidates := func(name, ask string, first ...change) play {
		method := ask[:len(ask)-len(ask[indexSpace(ask):])]
		return play{name: name, alone: true, acts: []act{
			cached,
			{at: first, ask: ask, want: "204 BYPASS", saw: method},
			{want: "200 one MISS", says: "fwd=uri-miss", saw: "GET"},
		}}
	}
	keeps := func(name, ask, want string, first ...change) play {
		method := ask[:len(ask)-len(ask[indexSpace(ask):])]
		return play{name: name, alone: true, acts: []act{
			cached,
			{at: first, ask: ask, want: want, saw: method},
			{want: "200 one HIT"},
		}}
	}
	perform(t, []play{
		invalidates("PUT", "PUT /x"),
		invalidates("POST", "POST /x"),
		invalidates("DELETE", "DELETE /x"),
		invalidates("a method that nobody knows", "FOO /x"),
		invalidates("Location", "POST /y", says("Location", "/x")),
		invalidates("Content-Location", "POST /y", says("Content-Location", "x")),
		keeps("not by an error", "PUT /x", "500 error BYPASS", fails(500)),
		keeps("not by a safe method", "OPTIONS /x", "204 BYPASS"),
		keeps("nor elsewhere", "PUT /y", "204 BYPASS"),
		keeps("nor at another origin", "POST /y", "204 BYPASS", says("Location", "http://elsewhere.test/x")),
	})
}

func indexSpace(s string) int {
	for i := range len(s) {
		if s[i] == ' ' {
			return i
		}
	}
	return len(s)
}
