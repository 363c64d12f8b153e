package conformance

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scenarios are all there are.
func Scenarios() []Scenario {
	return slices.Concat(freshness(), storing(), statuses(), vary(), validation(), conditions(), ranges(), methods(), stale(), fieldsAndFraming(), private(),
		spellings(), moreStatuses(), storedFields(), moreConditions(), moreRanges(), messages(), statusFields(), framing(), metadata())
}

// fresh is what a cache stores and uses again.
func fresh(name, fields string) Scenario {
	return Scenario{Name: name, Steps: []Step{
		{Answer: "200\n" + fields, Want: Origin},
		{Want: Stored},
	}}
}

// asked is what must not be used again without asking: it has no validator.
func asked(name, fields string) Scenario {
	return Scenario{Name: name, Steps: []Step{
		{Answer: "200\n" + fields, Want: Origin},
		{Want: Origin},
	}}
}

// may turns a rule into an option.
func (s Scenario) may() Scenario   { s.May = true; return s }
func (s Scenario) small() Scenario { s.Small = true; return s }
func (s Scenario) alone() Scenario { s.Alone = true; return s }

// soon is s where the last request is asked again until other nodes know.
func (s Scenario) soon() Scenario { s.Steps[len(s.Steps)-1].Soon = true; return s }

// by is s with what its first request asks.
func (s Scenario) by(ask string) Scenario { s.Steps[0].Ask = ask; return s }

// then is s with what its last request asks.
func (s Scenario) then(ask string) Scenario { s.Steps[len(s.Steps)-1].Ask = ask; return s }

const hour = "Cache-Control: max-age=3600"

// RFC 9111 §4.2, §5.2, §5.3; RFC 9213.
func freshness() []Scenario {
	l := []Scenario{
		fresh("9111 §4.2.1: max-age", hour).may(),
		asked("9111 §4.2.1: max-age=0", "Cache-Control: max-age=0"),
		asked("9111 §4.2.1: neither lifetime nor validator", "X-Nothing: here"),
		fresh("9111 §4.2.1: s-maxage", "Cache-Control: s-maxage=3600").may(),
		fresh("9111 §4.2.1: s-maxage before max-age", "Cache-Control: max-age=0, s-maxage=3600").may(),
		asked("9111 §4.2.1: s-maxage=0 before max-age", "Cache-Control: max-age=3600, s-maxage=0"),
		asked("9111 §4.2.1: s-maxage=0 before max-age, in the other order", "Cache-Control: s-maxage=0, max-age=3600"),
		fresh("9111 §5.3: Expires", "Expires: {now+3600}").may(),
		asked("9111 §5.3: Expires in the past", "Expires: {now-3600}"),
		asked("9111 §5.3: Expires now", "Expires: {now}"),
		asked("9111 §5.3: Expires: 0", "Expires: 0"),
		asked("9111 §5.3: Expires that is no date", "Expires: soon"),
		asked("9111 §5.3: Expires is relative to Date", "Date: {now+3600}\nExpires: {now+3600}"),
		fresh("9111 §5.3: max-age before Expires in the past", "Expires: {now-3600}\n"+hour).may(),
		fresh("9111 §5.3: max-age before Expires: 0", "Expires: 0\n"+hour).may(),
		asked("9111 §5.3: max-age=0 before Expires", "Expires: {now+3600}\nCache-Control: max-age=0"),
		asked("9111 §5.3: s-maxage=0 before Expires", "Expires: {now+3600}\nCache-Control: s-maxage=0"),
		fresh("9111 §5.3: an RFC 850 date", "Expires: Wednesday, 18-Aug-49 02:01:18 GMT").may(),
		fresh("9111 §5.3: an asctime date", "Expires: Wed Aug 18 02:01:18 2049").may(),
		asked("9111 §5.3: Expires in another zone than GMT", "Expires: Wed, 18 Aug 2049 02:01:18 AEST"),
		asked("9111 §5.3: two Expires that differ", "Expires: {now-3600}\nExpires: {now+3600}"),

		asked("9111 §4.2.3: Age beyond the lifetime", hour+"\nAge: 7200"),
		asked("9111 §4.2.3: Age at the lifetime", hour+"\nAge: 3600"),
		fresh("9111 §4.2.3: Age below the lifetime", hour+"\nAge: 1800").may(),
		asked("9111 §4.2.3: Age beyond Expires", "Expires: {now+3600}\nAge: 7200"),
		asked("9111 §4.2.3: a Date beyond the lifetime", hour+"\nDate: {now-7200}"),
		asked("9111 §5.1: Age too large to count", hour+"\nAge: 99999999999999999999"),
		asked("9111 §5.1: the first of several Age", hour+"\nAge: 7200, 0"),
		fresh("9111 §5.1: a negative Age counts as none", hour+"\nAge: -7200").may(),
		fresh("9111 §5.1: an Age that is no number counts as none", hour+"\nAge: abc").may(),
		fresh("9111 §5.1: a Date in the future", hour+"\nDate: {now+3600}").may(),

		fresh("9111 §5.2: directives in capitals", "Cache-Control: MAX-AGE=3600").may(),
		asked("9111 §5.2: no-store in capitals", "Cache-Control: max-age=3600, No-StOrE"),
		fresh("9111 §5.2: an unknown directive", "Cache-Control: max-age=3600, foobar").may(),
		fresh("9111 §5.2: an unknown directive with an argument", "Cache-Control: foobar=baz, max-age=3600").may(),
		asked("9111 §5.2: one directive a line", "Cache-Control: max-age=3600\nCache-Control: no-store"),
		fresh("9111 §5.2: a directive inside of a quoted string is none", `Cache-Control: extension="no-store, a=b, max-age=0", max-age=3600`).may(),
		fresh("9111 §5.2: empty list members", "Cache-Control: , max-age=3600, ,").may(),
		asked("9111 §5.2: max-age without a number", "Cache-Control: max-age"),
		asked("9111 §5.2: max-age that is negative", "Cache-Control: max-age=-3600"),
		asked("9111 §5.2: max-age with letters", "Cache-Control: max-age=36a00"),
		asked("9111 §5.2: max-age behind other letters", "Cache-Control: x-max-age=3600"),
		fresh("9111 §1.2.2: max-age too large to count", "Cache-Control: max-age=99999999999999999999").may(),
		fresh("9111 §5.2: max-age in quotes", `Cache-Control: max-age="3600"`).may(),
		fresh("9111 §5.2: leading zeros", "Cache-Control: max-age=003600").may(),
		asked("9111 §5.2: two max-age that differ, the smaller last", "Cache-Control: max-age=3600, max-age=0"),
		asked("9111 §5.2: two max-age that differ, the smaller first", "Cache-Control: max-age=0, max-age=3600"),

		fresh("9111 §4.2.2: by Last-Modified, long ago", "Last-Modified: {now-31536000}").may(),
		{Name: "9111 §4.2.2: not by Last-Modified a moment ago", Steps: []Step{
			{Answer: "200\nLast-Modified: {now-2}", Want: Origin},
			{Wait: 1200 * time.Millisecond, Want: Origin},
		}},
		asked("9111 §4.2.2: not beside Expires in the past", "Last-Modified: {now-31536000}\nExpires: {now-10}"),
		{Name: "9111 §4.2: stale after its lifetime", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=1", Want: Origin},
			{Wait: 2100 * time.Millisecond, Want: Origin},
		}},
		{Name: "9111 §5.1: a hit tells its Age", Steps: []Step{
			{Answer: "200\n" + hour, Want: Origin},
			{Want: Stored, Has: []string{"Age"}},
		}},
		{Name: "9111 §4.2.3: the Age of a hit counts on from the origin's", Steps: []Step{
			{Answer: "200\n" + hour + "\nAge: 1800", Want: Origin, Has: []string{"Age >= 1800"}},
			{Want: Stored, Has: []string{"Age >= 1800"}},
		}},
		{Name: "9111 §4.2.3: the Age of a hit counts an old Date", Steps: []Step{
			{Answer: "200\n" + hour + "\nDate: {now-1800}", Want: Origin},
			{Want: Stored, Has: []string{"Age >= 1800"}},
		}},

		fresh("9213: CDN-Cache-Control: max-age", "CDN-Cache-Control: max-age=3600").may(),
		fresh("9213: CDN-Cache-Control before no-store", "CDN-Cache-Control: max-age=3600\nCache-Control: no-store").may(),
		fresh("9213: CDN-Cache-Control before Expires", "CDN-Cache-Control: max-age=3600\nExpires: 0").may(),
		asked("9213: CDN-Cache-Control: no-store before max-age", "CDN-Cache-Control: no-store\n"+hour).may(),
		asked("9213: CDN-Cache-Control: private before max-age", "CDN-Cache-Control: private\n"+hour).may(),
		fresh("9213: one that cannot be read does not count", "CDN-Cache-Control: max-age=&&&\n"+hour).may(),
		{Name: "9213: CDN-Cache-Control is passed on", Steps: []Step{
			{Answer: "200\nCDN-Cache-Control: max-age=3600\n" + hour, Want: Origin, Has: []string{"CDN-Cache-Control: max-age=3600"}},
			{Want: Stored, Has: []string{"CDN-Cache-Control: max-age=3600"}},
		}, May: true},
	}
	wish := func(name, wish string, want Want) Scenario {
		return Scenario{Name: name, Steps: []Step{
			{Answer: "200\n" + hour + "\nAge: 1800", Want: Origin},
			{Ask: "GET\nCache-Control: " + wish, Want: want},
		}}
	}
	return append(l,
		wish("9111 §5.2.1.1: the request's max-age", "max-age=1000", Origin).may(),
		wish("9111 §5.2.1.1: the request's max-age=0", "max-age=0", Origin).may(),
		wish("9111 §5.2.1.1: the request's max-age, met", "max-age=1900", Stored).may(),
		wish("9111 §5.2.1.3: min-fresh", "min-fresh=2000", Origin).may(),
		wish("9111 §5.2.1.3: min-fresh, met", "min-fresh=1000", Stored).may(),
		wish("9111 §5.2.1.4: the request's no-cache", "no-cache", Origin).may(),
		wish("9111 §5.2.1.5: the request's no-store does not forbid a hit", "no-store", Stored).may(),
		wish("9111 §5.2.1.7: only-if-cached, and it is", "only-if-cached", Stored).may().soon(),
		Scenario{Name: "9111 §5.2.1.7: only-if-cached, and it is not", Steps: []Step{
			{Ask: "GET\nCache-Control: only-if-cached", Want: Refused},
		}, May: true},
		Scenario{Name: "9111 §5.2.1.2: max-stale", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=1000\nAge: 1500\nETag: \"1\"", Want: Origin},
			{Ask: "GET\nCache-Control: max-stale=1000", Want: Stored},
			{Ask: "GET\nCache-Control: max-stale=100", Want: Origin},
		}, May: true},
		Scenario{Name: "9111 §5.4: Pragma: no-cache of the request", Steps: []Step{
			{Answer: "200\n" + hour, Want: Origin},
			{Ask: "GET\nPragma: no-cache", Want: Origin},
		}, May: true},
		fresh("9111 §5.4: Pragma in a response means nothing", hour+"\nPragma: no-cache").may(),
	)
}

// RFC 9111 §3.
func storing() []Scenario {
	l := []Scenario{
		asked("9111 §5.2.2.5: no-store", "Cache-Control: no-store"),
		asked("9111 §5.2.2.5: no-store beside max-age", "Cache-Control: max-age=3600, no-store"),
		asked("9111 §5.2.2.7: private", "Cache-Control: private, max-age=3600"),
		asked("9111 §5.2.2.7: private beside public", "Cache-Control: private, public, max-age=3600"),
		asked("9111 §5.2.2.4: no-cache without a validator", "Cache-Control: no-cache, max-age=3600"),
		asked("9111 §5.2.2.4: no-cache beside Expires", "Cache-Control: no-cache\nExpires: {now+3600}"),
		fresh("9111 §5.2.2.3: must-understand lifts no-store", "Cache-Control: max-age=3600, must-understand, no-store").may(),
		asked("9111 §4.1: Vary: *", hour+"\nVary: *"),
		asked("9111 §4.1: Vary: * among others", hour+"\nVary: Accept-Encoding, *"),
		asked("9111 §7.3: Set-Cookie", hour+"\nSet-Cookie: a=b").may(),
		{Name: "9111 §5.2.1.5: the request's no-store", Steps: []Step{
			{Ask: "GET\nCache-Control: no-store", Answer: "200\n" + hour, Want: Origin},
			{Want: Origin},
		}},
		fresh("9111 §2: the query is part of the key", hour).by("GET ?a=b").then("GET ?a=b").may(),
		asked("9111 §2: another query is another key", hour).by("GET ?a=b").then("GET ?a=c"),
		asked("9111 §2: another path is another key", hour).by("GET /a").then("GET /b"),
		asked("9111 §2: the case of the path counts", hour).by("GET /a").then("GET /A"),
		fresh("3986 §6.2.2: the case of percent-encoding does not", hour).by("GET /%7e%c3").then("GET /%7e%C3").may(),
		{Name: "9111 §3: nothing is stored of an answer that breaks off", Steps: []Step{
			{Answer: "200\n" + hour + "\n@cut 5", Want: Origin, Cut: true},
			{Want: Origin},
		}},
		{Name: "9111 §3: nothing is stored of chunks that break off", Steps: []Step{
			{Answer: "200\n" + hour + "\n@chunked\n@cut 5", Want: Origin, Cut: true},
			{Want: Origin},
		}},
		{Name: "9111 §3: of a body that comes in chunks", Steps: []Step{
			{Answer: "200\n" + hour + "\n@chunked", Want: Origin},
			{Wait: 300 * time.Millisecond, Want: Stored},
		}, May: true, Alone: true},
		fresh("9111 §3: an empty body", hour+"\n\n").may().small(),
		{Name: "9111 §3.3: a part that nobody asked for is not the whole", Steps: []Step{
			{Answer: "206\n" + hour + "\nContent-Range: bytes 0-3/10\n\nabcd", Want: Any},
			{Answer: "200\n" + hour + "\n\nabcdefghij", Want: Origin},
		}},
		{Name: "many clients of what is not there: one request to the origin", Steps: []Step{
			{Answer: "200\n" + hour + "\n@wait 300ms", Want: Origin, Many: 6},
			{Want: Stored},
		}, May: true},
		{Name: "what was private does not make the next ones wait", Steps: []Step{
			{Answer: "200\nCache-Control: private", Want: Origin},
			{Answer: "200\nCache-Control: private", Want: Origin},
		}},
	}
	return l
}

// RFC 9110 §15, RFC 9111 §3 and §4.2.2: what is stored of which status.
func statuses() (l []Scenario) {
	cacheable := func(status int) string { return fmt.Sprintf("%d\n%s", status, hour) }
	for _, status := range []int{203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 451, 500, 501, 503, 299, 499, 599} {
		more := ""
		if status/100 == 3 {
			more = "\nLocation: /elsewhere"
		}
		l = append(l, Scenario{Name: fmt.Sprintf("9111 §3: %d with max-age", status), May: true, Small: true, Steps: []Step{
			{Answer: cacheable(status) + more, Want: Origin},
			{Want: Stored, Status: status},
		}})
	}
	for _, status := range []int{302, 303, 307, 403, 500, 502, 503, 504, 299, 499} {
		l = append(l, Scenario{Name: fmt.Sprintf("9110 §15.1: %d without a word about caching", status), Small: true, Steps: []Step{
			{Answer: fmt.Sprintf("%d\nLast-Modified: {now-31536000}\nLocation: /elsewhere", status), Want: Origin},
			{Want: Origin},
		}})
	}
	for _, status := range []int{404, 410, 301} {
		l = append(l, Scenario{Name: fmt.Sprintf("9111 §4.2.2: %d by Last-Modified", status), May: true, Small: true, Steps: []Step{
			{Answer: fmt.Sprintf("%d\nLast-Modified: {now-31536000}\nLocation: /elsewhere", status), Want: Origin},
			{Want: Stored, Status: status},
		}})
	}
	for _, status := range []int{404, 500, 301} {
		l = append(l, Scenario{Name: fmt.Sprintf("9111 §5.2.2.5: %d with no-store", status), Steps: []Step{
			{Answer: fmt.Sprintf("%d\nCache-Control: no-store\nLocation: /elsewhere", status), Want: Origin},
			{Want: Origin},
		}})
	}
	for _, status := range []int{429, 431, 511, 428} {
		l = append(l, Scenario{Name: fmt.Sprintf("6585: %d is never stored", status), Steps: []Step{
			{Answer: cacheable(status), Want: Origin},
			{Want: Origin},
		}})
	}
	return append(l, Scenario{Name: "9111 §5.2.2.3: must-understand with an unknown status", Steps: []Step{
		{Answer: "299\nCache-Control: max-age=3600, must-understand", Want: Origin},
		{Want: Origin},
	}, May: true})
}

// RFC 9111 §4.1.
func vary() []Scenario {
	// of the fields of two requests, and whether the second is answered by the first's.
	of := func(name, vary, first, second string, same bool) Scenario {
		want := Origin
		if same {
			want = Stored
		}
		return Scenario{Name: name, May: same, Steps: []Step{
			{Ask: "GET" + first, Answer: "200\n" + hour + "\nVary: " + vary, Want: Origin},
			{Ask: "GET" + second, Want: want},
		}}
	}
	variants := func(name, field string, values ...string) Scenario {
		s := Scenario{Name: name, May: true}
		for range 2 {
			for i, v := range values {
				st := Step{Ask: "GET\n" + field + ": " + v, Answer: fmt.Sprintf("200\n%s\nVary: %s\nETag: \"%d\"\n\n%s for all", hour, field, i, v), Want: Origin}
				if len(s.Steps) >= len(values) {
					st.Answer, st.Want, st.Body = "", Stored, v+" for all"
				}
				s.Steps = append(s.Steps, st)
			}
		}
		return s
	}
	return []Scenario{
		of("9111 §4.1: the same value", "X-A", "\nX-A: 1", "\nX-A: 1", true),
		of("9111 §4.1: another value", "X-A", "\nX-A: 1", "\nX-A: 2", false),
		of("9111 §4.1: the second lacks it", "X-A", "\nX-A: 1", "", false),
		of("9111 §4.1: the first lacks it", "X-A", "", "\nX-A: 1", false),
		of("9111 §4.1: both lack it", "X-A", "", "", true),
		of("9111 §4.1: the case of names does not count", "x-a", "\nX-A: 1", "\nX-A: 1", true),
		of("9111 §4.1: the case of values counts", "X-A", "\nX-A: a", "\nX-A: A", false),
		of("9111 §4.1: one of two differs", "X-A, X-B", "\nX-A: 1\nX-B: 1", "\nX-A: 1\nX-B: 2", false),
		of("9111 §4.1: two agree", "X-A, X-B", "\nX-A: 1\nX-B: 1", "\nX-B: 1\nX-A: 1", true),
		of("9111 §4.1: one a line", "X-A\nVary: X-B", "\nX-A: 1\nX-B: 1", "\nX-A: 1\nX-B: 2", false),
		of("9111 §4.1: other fields do not count", "X-A", "\nX-A: 1\nX-B: 1", "\nX-A: 1\nX-B: 2", true),
		of("9111 §4.1: several lines are one list", "X-A", "\nX-A: 1, 2", "\nX-A: 1\nX-A: 2", true),
		of("9111 §4.1: the order of a list of values counts", "X-A", "\nX-A: 1, 2", "\nX-A: 2, 1", false),
		of("9111 §4.1: the spaces of Accept-Language do not", "Accept-Language", "\nAccept-Language: en, de", "\nAccept-Language: en,de", true),
		of("9111 §4.1: nor its case", "Accept-Language", "\nAccept-Language: en-US", "\nAccept-Language: EN-us", true),
		of("9111 §4.1: another language", "Accept-Language", "\nAccept-Language: en", "\nAccept-Language: de", false),
		of("9111 §4.1: another coding", "Accept-Encoding", "\nAccept-Encoding: gzip", "\nAccept-Encoding: br", false),
		variants("9111 §4.1: two languages side by side", "Accept-Language", "en", "de"),
		variants("9111 §4.1: two codings side by side", "Accept-Encoding", "gzip", "identity"),
		variants("9111 §4.1: five variants side by side", "X-A", "1", "2", "3", "4", "5"),
		{Name: "9111 §4.4: a change ends all variants", Steps: []Step{
			{Ask: "GET\nX-A: 1", Answer: "200\n" + hour + "\nVary: X-A", Want: Origin},
			{Ask: "GET\nX-A: 2", Answer: "200\n" + hour + "\nVary: X-A", Want: Origin},
			{Ask: "POST", Answer: "204", Want: Origin},
			{Soon: true, Ask: "GET\nX-A: 1", Answer: "200\n" + hour + "\nVary: X-A", Want: Origin},
			{Soon: true, Ask: "GET\nX-A: 2", Answer: "200\n" + hour + "\nVary: X-A", Want: Origin},
		}},
		{Name: "9111 §4.1: variants of one entity tag are told apart", Steps: []Step{
			{Ask: "GET\nX-A: 1", Answer: "200\n" + hour + "\nVary: X-A\nETag: W/\"1\"\n\nfor one", Want: Origin},
			{Ask: "GET\nX-A: 2", Answer: "200\n" + hour + "\nVary: X-A\nETag: W/\"1\"\n\nfor two", Want: Origin},
			{Ask: "GET\nX-A: 1", Want: Any, Status: 200, Answer: "200\n" + hour + "\nVary: X-A\nETag: W/\"1\"\n\nfor one", Body: "for one"},
		}},
		{Name: "9111 §4.1: variants are revalidated apart", May: true, Steps: []Step{
			{Ask: "GET\nX-A: 1", Answer: "200\nCache-Control: no-cache\nVary: X-A\nETag: \"1\"\n\nfor one", Want: Origin},
			{Ask: "GET\nX-A: 2", Answer: "200\nCache-Control: no-cache\nVary: X-A\nETag: \"2\"\n\nfor two", Want: Origin},
			{Ask: "GET\nX-A: 1", Answer: "304\nETag: \"1\"", Want: Validated, Body: "for one", Saw: []string{`If-None-Match ~ "1"`}},
			{Ask: "GET\nX-A: 2", Answer: "304\nETag: \"2\"", Want: Validated, Body: "for two", Saw: []string{`If-None-Match ~ "2"`}},
		}},
	}
}

// RFC 9111 §4.3.
func validation() []Scenario {
	const stored = "200\nCache-Control: max-age=3600\nAge: 7200\n"
	return []Scenario{
		{Name: "9111 §4.3.1: by entity tag", May: true, Steps: []Step{
			{Answer: stored + `ETag: "1"`, Want: Origin},
			{Answer: "304\nETag: \"1\"", Want: Validated, Saw: []string{`If-None-Match: "1"`}},
		}},
		{Name: "9111 §4.3.1: by a weak entity tag", May: true, Steps: []Step{
			{Answer: stored + `ETag: W/"1"`, Want: Origin},
			{Answer: "304\nETag: W/\"1\"", Want: Validated, Saw: []string{`If-None-Match: W/"1"`}},
		}},
		{Name: "9111 §4.3.1: by date", May: true, Steps: []Step{
			{Answer: stored + "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT", Want: Origin},
			{Answer: "304", Want: Validated, Saw: []string{"If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT"}},
		}},
		{Name: "9111 §4.3.1: a 200 takes the place", Steps: []Step{
			{Answer: stored + `ETag: "1"`, Want: Origin},
			{Answer: "200\n" + hour + "\nETag: \"2\"", Want: Origin},
			{Want: Stored, Has: []string{`ETag: "2"`}},
		}},
		{Name: "9111 §4.3.3: freshened by a 304", May: true, Steps: []Step{
			{Answer: stored + `ETag: "1"`, Want: Origin},
			{Answer: "304\nETag: \"1\"\n" + hour, Want: Validated},
			{Want: Stored},
		}},
		{Name: "9111 §4.3.4: a 304 updates the header", Steps: []Step{
			{Answer: stored + "ETag: \"1\"\nX-A: old", Want: Origin},
			{Answer: "304\nETag: \"1\"\nX-A: new\nX-B: there\n" + hour, Want: Validated, Has: []string{"X-A: new", "X-B: there"}},
			{Want: Stored, Has: []string{"X-A: new", "X-B: there"}},
		}},
		{Name: "9111 §3.2: a 304 does not update what describes the body", Steps: []Step{
			{Answer: stored + "ETag: \"1\"\nContent-Type: text/plain", Want: Origin},
			{Answer: "304\nETag: \"1\"\nContent-Encoding: gzip\n" + hour, Want: Validated, Has: []string{"!Content-Encoding"}},
			{Want: Stored, Has: []string{"!Content-Encoding"}},
		}},
		{Name: "9111 §4.3.4: a 304 about something else", Steps: []Step{
			{Answer: stored + `ETag: "1"`, Want: Origin},
			{Answer: "304\nETag: \"2\"\n" + hour, Want: Any},
			{Answer: "200\n" + hour + "\nETag: \"2\"\n\nthe new one", Want: Origin, Body: "the new one"},
		}},
		{Name: "9111 §5.2.2.4: no-cache is asked about each time", May: true, Steps: []Step{
			{Answer: "200\nCache-Control: no-cache\nETag: \"1\"", Want: Origin},
			{Answer: "304\nETag: \"1\"", Want: Validated},
			{Answer: "304\nETag: \"1\"", Want: Validated},
		}},
		{Name: "9111 §5.2.2.4: no-cache of a 304", Steps: []Step{
			{Answer: stored + `ETag: "1"`, Want: Origin},
			{Answer: "304\nETag: \"1\"\nCache-Control: no-cache", Want: Any, Status: 200},
			{Answer: "304\nETag: \"1\"", Want: Validated},
		}},
		{Name: "9111 §4.3.4: no-store of a 304", Steps: []Step{
			{Answer: stored + `ETag: "1"`, Want: Origin},
			{Answer: "304\nETag: \"1\"\nCache-Control: no-store, max-age=3600", Want: Any, Status: 200},
			{Want: Origin},
		}},
		{Name: "9111 §4.3.2: the client's own condition on what is not stored", Steps: []Step{
			{Ask: "GET\nIf-None-Match: \"1\"", Answer: "304\nETag: \"1\"\n" + hour, Want: Origin, Status: 304},
			{Answer: "200\n" + hour + "\nETag: \"1\"", Want: Origin},
		}},
		{Name: "9111 §4.3.3: an error on revalidation is passed on", Steps: []Step{
			{Answer: stored + `ETag: "1"` + "\nCache-Control: must-revalidate", Want: Origin},
			{Answer: "503\n\nnot now", Want: Origin, Status: 503},
		}},
		{Name: "many clients of what is stale: one question", May: true, Steps: []Step{
			{Answer: stored + `ETag: "1"`, Want: Origin},
			{Answer: "304\nETag: \"1\"\n" + hour + "\n@wait 300ms", Want: Validated, Many: 6},
		}},
	}
}

// RFC 9110 §13: what is stored answers a client's conditions.
func conditions() []Scenario {
	const date = "Mon, 01 Jan 2024 00:00:00 GMT"
	of := func(name, fields string, status int) Scenario {
		st := Step{Ask: "GET\n" + fields, Want: Stored, Status: status}
		if status == 304 {
			st.Has = []string{`ETag: "1"`, "Cache-Control", "Date", "!Content-Length"}
		}
		return Scenario{Name: name, May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\nETag: \"1\"\nLast-Modified: " + date + "\nContent-Type: text/plain", Want: Origin}, st,
		}}
	}
	return []Scenario{
		of("9110 §13.1.2: If-None-Match", `If-None-Match: "1"`, 304),
		of("9110 §13.1.2: If-None-Match, weak", `If-None-Match: W/"1"`, 304),
		of("9110 §13.1.2: If-None-Match, a list", `If-None-Match: "0", "1"`, 304),
		of("9110 §13.1.2: If-None-Match: *", `If-None-Match: *`, 304),
		of("9110 §13.1.2: If-None-Match, another", `If-None-Match: "0"`, 0),
		of("9110 §13.1.3: If-Modified-Since", "If-Modified-Since: "+date, 304),
		of("9110 §13.1.3: If-Modified-Since, later", "If-Modified-Since: Tue, 02 Jan 2024 00:00:00 GMT", 304),
		of("9110 §13.1.3: If-Modified-Since, earlier", "If-Modified-Since: Sun, 31 Dec 2023 00:00:00 GMT", 0),
		of("9110 §13.1.3: If-Modified-Since that is no date", "If-Modified-Since: yesterday", 0),
		of("9110 §13.2.2: If-None-Match first", "If-None-Match: \"0\"\nIf-Modified-Since: "+date, 0),
		of("9110 §13.1.1: If-Match", `If-Match: "1"`, 0),
		{Name: "9110 §13.1.1: If-Match that does not hold here is the origin's to judge", Steps: []Step{
			{Answer: "200\n" + hour + "\nETag: \"1\"", Want: Origin},
			{Ask: "GET\nIf-Match: \"2\"", Answer: "412\n\nno", Want: Any, Status: 412},
		}},
		{Name: "9110 §15.4.5: a condition with a stale object", May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\nAge: 7200\nETag: \"1\"", Want: Origin},
			{Ask: "GET\nIf-None-Match: \"1\"", Answer: "304\nETag: \"1\"\n" + hour, Want: Any, Status: 304},
			{Want: Stored},
		}},
		{Name: "9111 §4.3.2: a condition that fails brings the new object", Steps: []Step{
			{Answer: "200\n" + hour + "\nAge: 7200\nETag: \"1\"", Want: Origin},
			{Ask: "GET\nIf-None-Match: \"1\"", Answer: "200\nETag: \"2\"\n" + hour, Want: Origin},
			{Want: Stored},
		}},
	}
}

// RFC 9110 §14, RFC 9111 §3.3 and §3.4.
func ranges() []Scenario {
	const whole = "200\n" + hour + "\nETag: \"1\"\nAccept-Ranges: bytes\n\n0123456789"
	of := func(name, fields string, status int, body string, has ...string) Scenario {
		return Scenario{Name: name, May: true, Steps: []Step{
			{Answer: whole, Want: Origin},
			{Ask: "GET\n" + fields, Want: Stored, Status: status, Body: body, Has: has},
		}}
	}
	return []Scenario{
		of("9110 §14.2: first bytes", "Range: bytes=0-1", 206, "01", "Content-Range: bytes 0-1/10"),
		of("9110 §14.2: from a byte on", "Range: bytes=7-", 206, "789", "Content-Range: bytes 7-9/10"),
		of("9110 §14.2: a suffix", "Range: bytes=-3", 206, "789", "Content-Range: bytes 7-9/10"),
		of("9110 §14.2: a suffix longer than all", "Range: bytes=-30", 206, "0123456789", "Content-Range: bytes 0-9/10"),
		of("9110 §14.2: beyond the end", "Range: bytes=8-30", 206, "89", "Content-Range: bytes 8-9/10"),
		of("9110 §15.5.17: unsatisfiable", "Range: bytes=10-", 416, "", "Content-Range: bytes */10"),
		of("9110 §14.2: another unit", "Range: lines=0-1", 200, "0123456789"),
		of("9110 §14.2: a malformed range", "Range: bytes=2-1", 200, "0123456789"),
		of("9110 §13.1.5: If-Range", "Range: bytes=0-1\nIf-Range: \"1\"\nX-Client: 1", 206, "01"),
		of("9110 §13.1.5: If-Range, another", "Range: bytes=0-1\nIf-Range: \"0\"\nX-Client: 1", 200, "0123456789"),
		of("9110 §13.1.5: If-Range, weak", "Range: bytes=0-1\nIf-Range: W/\"1\"\nX-Client: 1", 200, "0123456789"),
		of("9110 §14.6: several ranges", "Range: bytes=0-1,8-9", 206, "", "Content-Type ~ multipart/byteranges"),
		of("9110 §13.2.2: a condition before the range", "Range: bytes=0-1\nIf-None-Match: \"1\"", 304, ""),
		{Name: "9111 §3.3: a part does not answer for the whole", Steps: []Step{
			{Ask: "GET\nRange: bytes=0-3", Answer: "206\n" + hour + "\nETag: W/\"1\"\nContent-Range: bytes 0-3/10\n\n0123", Want: Any},
			{Answer: "200\n" + hour + "\nETag: W/\"1\"\n\n0123456789", Want: Any, Status: 200, Body: "0123456789"},
		}},
		{Name: "9111 §3.4: parts of two versions are never put together", Steps: []Step{
			{Ask: "GET\nRange: bytes=0-4", Answer: "206\n" + hour + "\nETag: \"1\"\nContent-Range: bytes 0-4/10\n\n01234", Want: Any},
			{Ask: "GET\nRange: bytes=5-9", Answer: "206\n" + hour + "\nETag: \"2\"\nContent-Range: bytes 5-9/10\n\nfghij", Want: Any},
			{Answer: "200\n" + hour + "\nETag: \"2\"\n\nabcdefghij", Want: Any, Status: 200, Body: "abcdefghij"},
		}},
		{Name: "9110 §15.3.7: a Range that the origin ignores", Steps: []Step{
			{Ask: "GET\nRange: bytes=0-1", Answer: "200\n" + hour + "\nETag: \"1\"\n\n0123456789", Want: Any},
			{Answer: whole, Want: Any, Status: 200, Body: "0123456789"},
		}},
		{Name: "9110 §15.5.17: a 416 of the origin's is not stored", Steps: []Step{
			{Ask: "GET\nRange: bytes=20-", Answer: "416\n" + hour + "\nContent-Range: bytes */10\n\n", Want: Any},
			{Answer: whole, Want: Any, Status: 200, Body: "0123456789"},
		}},
	}
}

// RFC 9110 §9, RFC 9111 §4.4.
func methods() []Scenario {
	invalidates := func(method, answer string) Scenario {
		return Scenario{Name: "9111 §4.4: " + method + " invalidates", Steps: []Step{
			{Answer: "200\n" + hour, Want: Origin},
			{Ask: method + "\n\ncontent", Answer: answer, Want: Origin, Wait: time.Second},
			{Soon: true, Answer: "200\n" + hour + "\n\nchanged", Want: Origin},
			{Soon: true, Answer: "200\n" + hour + "\n\nchanged", Want: Stored},
		}}
	}
	keeps := func(name, ask, answer string) Scenario {
		return Scenario{Name: name, May: true, Steps: []Step{
			{Answer: "200\n" + hour, Want: Origin},
			{Ask: ask, Answer: answer, Want: Any},
			{Want: Stored},
		}}
	}
	return []Scenario{
		invalidates("POST", "200"), invalidates("PUT", "204"), invalidates("DELETE", "204"), invalidates("PATCH", "200"), invalidates("FOO", "200"),
		{Alone: true, Name: "9111 §4.4: Location of the same origin", Steps: []Step{
			{Answer: "200\n" + hour, Ask: "GET /a", Want: Origin},
			{Ask: "POST /b\n\ncontent", Answer: "201\nLocation: a", Want: Origin},
			{Soon: true, Answer: "200\n" + hour, Ask: "GET /a", Want: Origin},
		}, May: true},
		{Alone: true, Name: "9111 §4.4: Content-Location of the same origin", Steps: []Step{
			{Answer: "200\n" + hour, Ask: "GET /a", Want: Origin},
			{Ask: "POST /b\n\ncontent", Answer: "201\nContent-Location: a", Want: Origin},
			{Soon: true, Answer: "200\n" + hour, Ask: "GET /a", Want: Origin},
		}, May: true},
		keeps("9111 §4.4: an error does not invalidate", "POST\n\ncontent", "500"),
		keeps("9111 §4.4: a safe method does not invalidate", "OPTIONS", "200"),
		keeps("9111 §4.4: elsewhere is not invalidated", "POST /other\n\ncontent", "200"),
		keeps("9111 §4.4: Location at another origin", "POST /other\n\ncontent", "201\nLocation: http://elsewhere.test/"),
		{Name: "9111 §3: POST is not answered from what is stored", Steps: []Step{
			{Answer: "200\n" + hour, Want: Origin},
			{Ask: "POST\n\ncontent", Answer: "200\n" + hour, Want: Origin},
		}},
		{Name: "9111 §4: HEAD is answered by a stored GET", May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\nETag: \"1\"", Want: Origin},
			{Soon: true, Ask: "HEAD", Want: Stored, Has: []string{`ETag: "1"`, "Content-Length"}},
		}},
		{Name: "9110 §9.3.2: a HEAD does not answer a GET", Steps: []Step{
			{Ask: "HEAD", Answer: "200\n" + hour, Want: Origin},
			{Answer: "200\n" + hour, Want: Origin},
		}},
		{Name: "9111 §4.3.5: a HEAD that tells of another version", Steps: []Step{
			{Answer: "200\n" + hour + "\nAge: 7200\nETag: \"1\"", Want: Origin},
			{Ask: "HEAD", Answer: "200\n" + hour + "\nETag: \"2\"", Want: Any},
			{Answer: "200\n" + hour + "\nETag: \"2\"", Want: Origin},
		}},
		{Name: "9110 §9.3.1: a GET with content", Steps: []Step{
			{Ask: "GET\n\ncontent", Answer: "200\n" + hour, Want: Origin},
			{Ask: "GET\n\nother content", Answer: "200\n" + hour, Want: Origin},
		}, May: true},
	}
}

// RFC 5861, RFC 9111 §4.2.4.
func stale() []Scenario {
	of := func(name, directives, answer string, want Want, status int) Scenario {
		return Scenario{Name: name, May: want == Stored, Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, " + directives + "\nAge: 3610\nETag: \"1\"", Want: Origin},
			{Answer: answer, Want: want, Status: status},
		}}
	}
	return []Scenario{
		{Name: "5861 §3: stale-while-revalidate", May: true, Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, stale-while-revalidate=600\nAge: 3610\nETag: \"1\"\n\nold", Want: Origin},
			{Answer: "200\n" + hour + "\nETag: \"2\"\n\nnew", Want: Any, Status: 200, Body: "old", Behind: true},
			{Wait: 200 * time.Millisecond, Soon: true, Want: Stored, Body: "new"},
		}},
		of("5861 §3: not beyond its time", "stale-while-revalidate=5", "304\nETag: \"1\"", Validated, 0),
		{Name: "5861 §4: stale-if-error, a 503", May: true, Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, stale-if-error=600\nAge: 3610\nETag: \"1\"\n\nold", Want: Origin},
			{Answer: "503\n\nnot now", Want: Any, Status: 200, Body: "old"},
		}},
		{Name: "5861 §4: stale-if-error, no answer", May: true, Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, stale-if-error=600\nAge: 3610\nETag: \"1\"\n\nold", Want: Origin},
			{Answer: "200\n@drop", Want: Any, Status: 200, Body: "old"},
		}},
		{Name: "5861 §4: not beyond its time", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, stale-if-error=5\nAge: 3610\nETag: \"1\"\n\nold", Want: Origin},
			{Answer: "503\n\nnot now", Want: Any, Status: 503},
		}, May: true},
		{Name: "9111 §4.2.4: must-revalidate forbids stale", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, must-revalidate, stale-if-error=600\nAge: 3610\nETag: \"1\"\n\nold", Want: Origin},
			{Answer: "503\n\nnot now", Want: Any, Status: 503},
		}},
		{Name: "9111 §4.2.4: proxy-revalidate forbids stale", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, proxy-revalidate, stale-if-error=600\nAge: 3610\nETag: \"1\"\n\nold", Want: Origin},
			{Answer: "503\n\nnot now", Want: Any, Status: 503},
		}},
		{Name: "9111 §4.2.4: s-maxage forbids stale", Steps: []Step{
			{Answer: "200\nCache-Control: s-maxage=3600, stale-if-error=600\nAge: 3610\nETag: \"1\"\n\nold", Want: Origin},
			{Answer: "503\n\nnot now", Want: Any, Status: 503},
		}},
		{Name: "9111 §4.2.4: max-stale does not lift must-revalidate", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, must-revalidate\nAge: 3610\nETag: \"1\"", Want: Origin},
			{Ask: "GET\nCache-Control: max-stale=1000", Answer: "304\nETag: \"1\"", Want: Validated},
		}},
	}
}

// RFC 9110 §7.6 and §6, RFC 9112, RFC 9211: what becomes of fields, and framing.
func fieldsAndFraming() []Scenario {
	strip := func(name string) Scenario {
		return Scenario{Name: "9110 §7.6.1: " + name + " of a response is not passed on", Steps: []Step{
			{Answer: "200\n" + hour + "\n" + name + ": x-secret", Want: Origin, Has: []string{name + " !~ x-secret"}},
			{Want: Any, Has: []string{name + " !~ x-secret"}},
		}}
	}
	stripRequest := func(name string) Scenario {
		return Scenario{Name: "9110 §7.6.1: " + name + " of a request is not passed on", Steps: []Step{
			{Ask: "GET\n" + name + ": x-secret", Answer: "200\nCache-Control: no-store", Want: Origin, Saw: []string{name + " !~ x-secret"}},
		}}
	}
	l := []Scenario{
		strip("Keep-Alive"), strip("Proxy-Connection"), strip("Proxy-Authenticate").alone(),
		stripRequest("Keep-Alive"), stripRequest("Proxy-Connection"), stripRequest("TE"), stripRequest("Proxy-Authorization"),
		{Name: "9110 §7.6.1: what Connection lists is not passed on", Steps: []Step{
			{Answer: "200\n" + hour + "\nConnection: X-A\nX-A: 1\nX-B: 2", Want: Origin, Has: []string{"!X-A", "X-B: 2"}},
			{Want: Stored, Has: []string{"!X-A", "X-B: 2"}},
		}},
		{Name: "9110 §7.6.1: what a request's Connection lists is not passed on", Steps: []Step{
			{Ask: "GET\nConnection: X-A\nX-A: 1\nX-B: 2", Answer: "200\nCache-Control: no-store", Want: Origin, Saw: []string{"!X-A", "X-B: 2"}},
		}},
		{Name: "9110 §7.6.3: Via", Steps: []Step{
			{Answer: "200\n" + hour, Want: Origin, Has: []string{"Via"}, Saw: []string{"Via"}},
			{Want: Stored, Has: []string{"Via"}},
		}},
		{Name: "9111 §3.1: fields are stored, unknown ones too", Steps: []Step{
			{Answer: "200\n" + hour + "\nX-A: 1\nX-A: 2\nContent-Type: text/x\nContent-Language: de\nLink: </a>; rel=b", Want: Origin},
			{Want: Stored, Has: []string{"X-A: 1, 2", "Content-Type: text/x", "Content-Language: de", "Link: </a>; rel=b"}},
		}},
		{Name: "9111 §3.1: the Date of a hit is that of what is stored", Steps: []Step{
			{Answer: "200\n" + hour + "\nDate: Mon, 01 Jan 2035 00:00:00 GMT", Want: Origin, Has: []string{"Date: Mon, 01 Jan 2035 00:00:00 GMT"}},
			{Want: Stored, Has: []string{"Date: Mon, 01 Jan 2035 00:00:00 GMT"}},
		}},
		{Name: "9110 §6.6.1: a Date where the origin gave none", Steps: []Step{
			{Answer: "200\n" + hour + "\n@no Date", Want: Origin},
			{Want: Stored, Has: []string{"Date"}},
		}},
		{Name: "9110 §15.2: 103 (Early Hints) is passed on", May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\n@early 103 Link: </a>; rel=preload", Want: Origin, Has: []string{"Early-Link: </a>; rel=preload"}},
			{Want: Stored, Has: []string{"!Early-Link"}},
		}},
		{Name: "9110 §15.2: an interim answer is not the final one", Steps: []Step{
			{Answer: "200\n" + hour + "\n@early 102 X-A: 1", Want: Origin},
			{Want: Stored, Has: []string{"!X-A"}},
		}},
		{Name: "9110 §6.5: trailers are passed on", May: true, Steps: []Step{
			{Answer: "200\nCache-Control: no-store\nTrailer: X-Sum\n@trailer X-Sum: 42", Want: Origin, Has: []string{"Trailer-X-Sum: 42"}},
		}},
		{Name: "9110 §6.5.1: trailers do not become fields of what is stored", Steps: []Step{
			{Answer: "200\n" + hour + "\nTrailer: X-Sum\n@trailer X-Sum: 42", Want: Origin},
			{Wait: 300 * time.Millisecond, Want: Any, Has: []string{"!X-Sum"}},
		}},
		{Name: "9112 §6.3: a body that ends with the connection", Steps: []Step{
			{Answer: "200\nCache-Control: no-store\n@unlimited", Want: Origin},
		}},
		{Name: "9112 §6.3: two lengths that differ", Steps: []Step{
			{Answer: "200\n" + hour + "\nContent-Length: 4\nContent-Length: 5\n\nabcde", Want: Any, Status: 502},
			{Answer: "200\n" + hour, Want: Origin},
		}},
		{Name: "9112 §6.3: a length that is none", Steps: []Step{
			{Answer: "200\n" + hour + "\nContent-Length: x\n\nabcde", Want: Any, Status: 502},
			{Answer: "200\n" + hour, Want: Origin},
		}},
		{Name: "9112 §6.1: a length beside chunks", Steps: []Step{
			{Answer: "200\nCache-Control: no-store\nContent-Length: 3\n@chunked\n\nabcde", Want: Any},
			{Answer: "200\n" + hour, Want: Origin},
		}},
		fresh("9110 §5.4: a header of 20 KiB", hour+"\nX-Large: "+strings.Repeat("x", 20<<10)).may(),
		{Name: "9110 §5.5: bytes beyond ASCII in a field", Steps: []Step{
			{Answer: "200\n" + hour + "\nX-A: \xc3\xa4", Want: Origin, Has: []string{"X-A: \xc3\xa4"}},
			{Want: Stored, Has: []string{"X-A: \xc3\xa4"}},
		}},
		{Name: "9110 §5.1: names in any case", Steps: []Step{
			{Answer: "200\ncAcHe-cOnTrOl: max-age=3600\netag: \"1\"", Want: Origin},
			{Want: Stored, Has: []string{`ETag: "1"`}},
		}, May: true},
		{Name: "9211: Cache-Status tells a miss from a hit", May: true, Steps: []Step{
			{Answer: "200\n" + hour, Want: Origin, Has: []string{"Cache-Status ~ fwd="}},
			{Soon: true, Want: Stored, Has: []string{"Cache-Status ~ ;hit"}},
		}},
		{Name: "9211: Cache-Status is appended to the origin's", May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\nCache-Status: inner;hit", Want: Origin, Has: []string{"Cache-Status ~ inner;hit,"}},
			{Want: Stored, Has: []string{"Cache-Status ~ inner;hit,"}},
		}},
		{Name: "9209: an origin that does not answer is a 502", Steps: []Step{
			{Answer: "200\n@drop", Want: Any, Status: 502},
			{Answer: "200\n" + hour, Want: Origin},
		}},
		{Name: "9112 §2.3: a client of HTTP/1.0", Steps: []Step{
			{Ask: "GET HTTP/1.0", Answer: "200\n" + hour, Want: Origin},
			{Ask: "GET HTTP/1.0", Want: Stored},
		}, May: true},
		{Name: "9110 §8.6: the length of a hit", Steps: []Step{
			{Answer: "200\n" + hour + "\n\n0123456789", Want: Origin},
			{Want: Stored, Has: []string{"Content-Length: 10"}},
		}},
		{Name: "9110 §8.4: a coded body stays as it is", Steps: []Step{
			{Answer: "200\n" + hour + "\nContent-Encoding: gzip\nETag: \"1\"\n\nnot really gzip", Want: Origin, Has: []string{"Content-Encoding: gzip"}},
			{Want: Stored, Body: "not really gzip", Has: []string{"Content-Encoding: gzip", "Content-Length: 15"}},
		}},
		{Name: "9110 §7.7: no-transform, and nothing is transformed", Steps: []Step{
			{Ask: "GET\nAccept-Encoding: gzip", Answer: "200\nCache-Control: max-age=3600, no-transform\nContent-Type: text/plain\n\n" + strings.Repeat("plain text ", 200), Want: Origin, Has: []string{"!Content-Encoding"}},
			{Ask: "GET\nAccept-Encoding: gzip", Want: Stored, Has: []string{"!Content-Encoding"}},
		}},
	}
	return l
}

// RFC 9111 §3.5, §7: what is for one client only.
func private() []Scenario {
	secret := func(name, mine, directives string) Scenario {
		return Scenario{Name: name, Steps: []Step{
			{Ask: "GET" + mine, Answer: "200\n" + directives + "\n\nfor me alone", Want: Origin},
			{Answer: "200\n" + directives + "\n\nfor nobody", Want: Origin, Body: "for nobody"},
			{Ask: "GET" + strings.ReplaceAll(mine, "me", "you"), Answer: "200\n" + directives + "\n\nfor you alone", Want: Origin, Body: "for you alone"},
		}}
	}
	const mine = "\nAuthorization: Bearer me"
	return []Scenario{
		secret("9111 §3.5: with Authorization", mine, hour).first(2),
		secret("9111 §3.5: with Authorization, private", mine, "Cache-Control: private, max-age=3600"),
		secret("9111 §3.5: with Authorization, by Last-Modified", mine, "Last-Modified: {now-31536000}").first(2),
		secret("9111 §3.5: with Authorization, by an entity tag", mine, "ETag: \"1\"").first(2),
		fresh("9111 §3.5: with Authorization, by public", "Cache-Control: public, max-age=3600").by("GET" + mine).may(),
		fresh("9111 §3.5: with Authorization, by s-maxage", "Cache-Control: s-maxage=3600").by("GET" + mine).may(),
		fresh("9111 §3.5: with Authorization, by must-revalidate", "Cache-Control: max-age=3600, must-revalidate").by("GET" + mine).may(),
		secret("9111 §4.1: Vary: Authorization", mine, hour+"\nVary: Authorization"),
		secret("9111 §4.1: Vary: Cookie", "\nCookie: id=me", hour+"\nVary: Cookie"),
		secret("9111 §5.2.2.7: private with a cookie", "\nCookie: id=me", "Cache-Control: private, max-age=3600"),
		secret("9111 §5.2.2.5: no-store with a cookie", "\nCookie: id=me", "Cache-Control: no-store"),
		{Name: "what was asked with a cookie is not for all", May: true, Steps: []Step{
			{Ask: "GET\nCookie: id=me", Answer: "200\n" + hour + "\n\nfor me alone", Want: Origin},
			{Answer: "200\n" + hour + "\n\nfor all", Want: Origin, Body: "for all"},
		}},
		{Name: "what was asked by a signed URL is not for those without", Steps: []Step{
			{Ask: "GET ?X-Amz-Signature=me", Answer: "200\n" + hour + "\n\nfor me alone", Want: Origin},
			{Ask: "GET", Answer: "403", Want: Origin},
			{Ask: "GET ?X-Amz-Signature=you", Answer: "403", Want: Origin},
		}},
		{Name: "what was asked by a signed URL is asked again", May: true, Steps: []Step{
			{Ask: "GET ?X-Amz-Signature=me", Answer: "200\n" + hour + "\n\nfor me alone", Want: Origin},
			{Ask: "GET ?X-Amz-Signature=me", Answer: "403", Want: Origin},
		}},
		{Name: "9111 §7.3: a cookie is for the client that asked", Steps: []Step{
			{Answer: "200\nCache-Control: public, max-age=3600\nSet-Cookie: id=me", Want: Origin, Has: []string{"Set-Cookie: id=me"}},
			{Answer: "200\nCache-Control: public, max-age=3600", Want: Any, Has: []string{"!Set-Cookie"}},
		}, May: true},
		{Name: `9111 §5.2.2.7: private="field"`, Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, private=\"X-User\"\nX-User: me", Want: Origin, Has: []string{"X-User: me"}},
			{Answer: "200\n" + hour, Want: Any, Has: []string{"!X-User"}},
		}},
		{Name: `9111 §5.2.2.4: no-cache="field"`, Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, no-cache=\"X-User\"\nX-User: me", Want: Origin, Has: []string{"X-User: me"}},
			{Answer: "200\n" + hour, Want: Any, Has: []string{"!X-User"}},
		}},
		{Name: "requests for what is private do not wait for each other", May: true, Steps: []Step{
			{Ask: "GET" + mine, Answer: "200\nCache-Control: private\n\nfor me alone", Want: Origin},
		}},
	}
}

// first is s without what comes after its first n requests.
func (s Scenario) first(n int) Scenario { s.Steps = s.Steps[:n]; return s }
