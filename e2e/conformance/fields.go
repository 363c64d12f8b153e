package conformance

import "time"

// storedFields are those that are stored, updated and left alone: RFC 9111 §3.1, §3.2,
// §4.3.4 and §4.3.5.
func storedFields() (l []Scenario) {
	const stored = "200\nCache-Control: max-age=3600\nAge: 7200\nX-Kept: kept\n"
	validators := []struct{ name, field string }{
		{"entity tag", `ETag: "1"`},
		{"date", "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"},
	}
	for _, f := range []struct{ name, old, new string }{
		{"X-Any", "old", "new"},
		{"Content-Foo", "old", "new"}, // only of some Content- fields is it known that they describe the body
		{"Content-Type", "text/plain", "text/plain;charset=utf-8"},
		{"Content-MD5", "rL0Y20zC+Fzt72VPzMSk2A==", "N7UdGUp1E+RbVvZSTy1R8g=="},
		{"Content-Location", "/foo", "/bar"},
		{"Content-Security-Policy", "default-src 'self'", "default-src 'none'"},
		{"X-Frame-Options", "deny", "sameorigin"},
		{"X-XSS-Protection", "1", "1; mode=block"},
		{"Clear-Site-Data", "cache", "cookies"},
		{"Expires", "Fri, 01 Jan 2038 01:01:01 GMT", "Mon, 11 Jan 2038 11:11:11 GMT"},
	} {
		for _, v := range validators {
			is := f.name + ": " + f.new
			l = append(l, Scenario{Name: "9111 §3.2: " + f.name + " is updated by a 304, by " + v.name, May: true, Steps: []Step{
				{Answer: stored + v.field + "\n" + f.name + ": " + f.old, Want: Origin},
				{Answer: "304\n" + v.field + "\n" + is + "\n" + hour, Want: Validated, Has: []string{is, "X-Kept: kept"}},
				{Want: Stored, Has: []string{is, "X-Kept: kept"}},
			}})
		}
	}
	for _, f := range []string{"Content-Encoding: gzip", "Content-Length: 3", "Content-Range: bytes 0-2/3"} {
		l = append(l, Scenario{Name: "9111 §3.2: not by " + f + " of a 304", Steps: []Step{
			{Answer: stored + "ETag: \"1\"\n\n0123456789", Want: Origin},
			{Answer: "304\nETag: \"1\"\n" + f + "\n" + hour, Want: Any, Status: 200, Body: "0123456789", Has: []string{"Content-Length: 10", "!Content-Encoding", "!Content-Range"}},
			{Want: Any, Status: 200, Body: "0123456789", Answer: "200\n" + hour + "\n\n0123456789", Has: []string{"Content-Length: 10", "!Content-Encoding", "!Content-Range"}},
		}})
	}
	l = append(l, Scenario{Name: "9111 §7.3: a cookie in a 304 is for the client that asked", Steps: []Step{
		{Answer: stored + `ETag: "1"`, Want: Origin},
		{Answer: "304\nETag: \"1\"\nSet-Cookie: id=me\nCache-Control: public, max-age=3600", Want: Any, Status: 200, Has: []string{"Set-Cookie: id=me"}},
		{Want: Any, Answer: "200\n" + hour, Has: []string{"!Set-Cookie"}},
	}, May: true})

	for _, name := range []string{"Proxy-Authentication-Info", "TE"} {
		l = append(l, Scenario{Name: "9111 §3.1: " + name + " is not stored", Steps: []Step{
			{Answer: "200\n" + hour + "\n" + name + ": x-secret", Want: Origin},
			{Want: Any, Answer: "200\n" + hour, Has: []string{name + " !~ x-secret"}},
		}})
	}
	l = append(l,
		Scenario{Name: "9111 §3.1: what Connection lists is not stored, in any case and on several lines", Steps: []Step{
			{Answer: "200\n" + hour + "\nConnection: x-a, X-B\nConnection: X-C\nX-A: 1\nX-B: 2\nX-C: 3\nX-D: 4", Want: Origin, Has: []string{"!X-A", "!X-B", "!X-C", "X-D: 4"}},
			{Want: Stored, Has: []string{"!X-A", "!X-B", "!X-C", "X-D: 4"}},
		}},
		Scenario{Name: "9111 §3.1: what Connection of a 304 lists is not stored", Steps: []Step{
			{Answer: stored + `ETag: "1"`, Want: Origin},
			{Answer: "304\nETag: \"1\"\nConnection: X-A\nX-A: 1\n" + hour, Want: Any, Status: 200, Has: []string{"!X-A"}},
			{Want: Any, Answer: "200\n" + hour, Has: []string{"!X-A"}},
		}},
		Scenario{Name: "9111 §3.1: WWW-Authenticate is stored", Steps: []Step{
			{Answer: "200\n" + hour + "\nWWW-Authenticate: Basic realm=\"x\"", Want: Origin},
			{Want: Stored, Has: []string{`WWW-Authenticate: Basic realm="x"`}},
		}, May: true},
		Scenario{Name: `9111 §5.2.2.4: no-cache="field", several fields`, Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, no-cache=\"X-A, x-b\"\nX-A: 1\nX-B: 2\nX-C: 3", Want: Origin, Has: []string{"X-A: 1", "X-B: 2", "X-C: 3"}},
			{Answer: "200\n" + hour + "\nX-C: 3", Want: Any, Has: []string{"!X-A", "!X-B", "X-C: 3"}},
		}},
		Scenario{Name: `9111 §5.2.2.4: no-cache="field" spares the rest`, May: true, Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, no-cache=\"X-A\"\nX-A: 1\nX-C: 3", Want: Origin},
			{Want: Stored, Has: []string{"!X-A", "X-C: 3"}},
		}},
		Scenario{Name: "9111 §4.3.5: a HEAD that confirms updates what is stored", May: true, Steps: []Step{
			{Answer: stored + "ETag: \"1\"\nX-A: old\n\n0123456789", Want: Origin},
			// A moment later: in the instant in which a cluster publishes the first answer, what
			// another node says of it makes it one to be confirmed.
			{Ask: "HEAD", Answer: "200\n" + hour + "\nETag: \"1\"\nX-A: new\nContent-Length: 10\n\n0123456789", Want: Origin, Wait: 300 * time.Millisecond},
			{Want: Stored, Body: "0123456789", Has: []string{"X-A: new", "X-Kept: kept"}},
		}},
		Scenario{Name: "9111 §4.3.5: a HEAD that tells of another length", Steps: []Step{
			{Answer: stored + "ETag: \"1\"\n\n0123456789", Want: Origin},
			{Ask: "HEAD", Answer: "200\n" + hour + "\nETag: \"1\"\nContent-Length: 11\n\n0123456789a", Want: Any},
			{Answer: "200\n" + hour + "\nETag: \"2\"\n\n0123456789a", Want: Origin},
		}},
	)
	return l
}

// moreConditions: RFC 9110 §13, RFC 9111 §4.3.1 and §4.3.2.
func moreConditions() []Scenario {
	const date = "Mon, 01 Jan 2024 00:00:00 GMT"
	of := func(name, answer, ask string, status int) Scenario {
		return Scenario{Name: name, May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\n" + answer, Want: Origin},
			{Ask: "GET\n" + ask, Want: Stored, Status: status},
		}}
	}
	const tag = `ETag: "1"`
	return []Scenario{
		of("9110 §13.1.2: the first of a list", tag, `If-None-Match: "1", "2", "3"`, 304),
		of("9110 §13.1.2: the last of a list", tag, `If-None-Match: "2", "3", "1"`, 304),
		of("9110 §13.1.2: one a line", tag, "If-None-Match: \"2\"\nIf-None-Match: \"1\"", 304),
		of("9110 §13.1.2: a weak entity tag", `ETag: W/"1"`, `If-None-Match: W/"1"`, 304),
		of("9110 §8.8.3: an entity tag with bytes beyond ASCII", "ETag: \"\xc3\xa4\"", "If-None-Match: \"\xc3\xa4\"", 304),
		of("9110 §8.8.3: an entity tag with a comma", `ETag: "1,2"`, `If-None-Match: "1,2"`, 304),
		of("9110 §13.2.2: If-None-Match that holds, before If-Modified-Since that does not", tag+"\nLast-Modified: "+date,
			"If-None-Match: \"1\"\nIf-Modified-Since: Sun, 31 Dec 2023 00:00:00 GMT", 304),
		of("9110 §13.1.3: an RFC 850 date", "Last-Modified: "+date, "If-Modified-Since: Monday, 01-Jan-24 00:00:00 GMT", 304),
		of("9111 §4.3.2: If-Modified-Since by Date, where there is no Last-Modified", "Date: {now-60}", "If-Modified-Since: {now-30}", 304),
		of("9110 §13.1.4: If-Unmodified-Since that holds", "Last-Modified: "+date, "If-Unmodified-Since: "+date, 200),
		{Name: "9111 §5.2.1.4: no-cache of the request is asked by entity tag", May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\n" + tag, Want: Origin},
			{Ask: "GET\nCache-Control: no-cache", Answer: "304\n" + tag, Want: Validated, Saw: []string{`If-None-Match: "1"`}},
		}},
		{Name: "9111 §5.2.1.4: no-cache of the request is asked by date", May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\nLast-Modified: " + date, Want: Origin},
			{Ask: "GET\nCache-Control: no-cache", Answer: "304", Want: Validated, Saw: []string{"If-Modified-Since: " + date}},
		}},
		{Name: "9110 §13.1.3: a condition by date with a stale object", May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\nAge: 7200\nLast-Modified: " + date, Want: Origin},
			{Ask: "GET\nIf-Modified-Since: " + date, Answer: "304\n" + hour, Want: Any, Status: 304},
			{Want: Stored},
		}},
		{Name: "9111 §4.3.1: what selected it is asked with", Steps: []Step{
			{Ask: "GET\nX-A: 1", Answer: "200\n" + hour + "\nAge: 7200\nVary: X-A\n" + tag, Want: Origin},
			{Ask: "GET\nX-A: 1", Answer: "304\n" + tag, Want: Validated, Saw: []string{"X-A: 1"}},
		}, May: true},
		{Name: "9111 §4.3.2: the client's condition goes on where nothing is stored", Steps: []Step{
			{Ask: "GET\nIf-None-Match: \"0\"", Answer: "200\nCache-Control: no-store", Want: Origin, Saw: []string{`If-None-Match: "0"`}},
		}, May: true},
		{Name: "9111 §5.2.2.5: no-store takes the place of what was stored", Steps: []Step{
			{Answer: "200\n" + hour + "\nAge: 7200\n" + tag, Want: Origin},
			{Answer: "200\nCache-Control: no-store\nETag: \"2\"", Want: Origin},
			{Want: Origin, Status: 200, Answer: "200\nCache-Control: no-store\nETag: \"3\""},
		}},
		{Name: "9111 §4.2.4: no-cache forbids stale", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, no-cache, stale-if-error=600\nAge: 3610\n" + tag, Want: Origin},
			{Answer: "200\n@drop", Want: Any, Status: 502},
		}},
		{Name: "9111 §4.2.4: must-revalidate forbids stale, where nobody answers", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, must-revalidate, stale-if-error=600\nAge: 3610\n" + tag, Want: Origin},
			{Answer: "200\n@drop", Want: Any, Status: 502},
		}},
		{Name: "5861 §4: stale-if-error of the request", May: true, Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600\nAge: 3610\n" + tag + "\n\nold", Want: Origin},
			{Ask: "GET\nCache-Control: stale-if-error=600", Answer: "503\n\nnot now", Want: Any, Status: 200, Body: "old"},
		}},
	}
}

// moreRanges: RFC 9110 §14, §15.3.7, RFC 9111 §3.3 and §3.4.
func moreRanges() []Scenario {
	const whole = "200\n" + hour + "\nETag: \"1\"\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\n\n0123456789"
	of := func(name, ask string, status int, body string, has ...string) Scenario {
		return Scenario{Name: name, May: true, Steps: []Step{
			{Answer: whole, Want: Origin},
			{Ask: ask, Want: Stored, Status: status, Body: body, Has: has},
		}}
	}
	const served = "200\n" + hour + "\nETag: \"1\"\n@ranges\n\n0123456789"
	const weak = "200\n" + hour + "\nETag: W/\"1\"\n@ranges\n\n"
	return []Scenario{
		of("9110 §14.2: an empty suffix", "GET\nRange: bytes=-0", 416, "", "Content-Range: bytes */10"),
		of("9110 §14.2: one of two ranges is beyond the end", "GET\nRange: bytes=0-1,20-", 206, "01", "Content-Range: bytes 0-1/10"),
		of("9110 §14.2: two ranges that overlap", "GET\nRange: bytes=0-3,2-5", 206, "", "Content-Type ~ multipart/byteranges"),
		of("9110 §14.2: ranges that are more than the whole", "GET\nRange: bytes=0-,0-,0-,0-", 200, "0123456789"),
		of("9110 §14.2: a HEAD has no ranges", "HEAD\nRange: bytes=0-1", 200, "", "Content-Length: 10"),
		of("9110 §13.1.5: If-Range by date", "GET\nRange: bytes=0-1\nIf-Range: Mon, 01 Jan 2024 00:00:00 GMT\nX-Client: 1", 206, "01"),
		of("9110 §13.1.5: If-Range by another date", "GET\nRange: bytes=0-1\nIf-Range: Tue, 02 Jan 2024 00:00:00 GMT\nX-Client: 1", 200, "0123456789"),
		{Name: "9110 §14.2: a range of what is stale", May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\nAge: 7200\nETag: \"1\"\n\n0123456789", Want: Origin},
			{Ask: "GET\nRange: bytes=7-", Answer: "304\nETag: \"1\"", Want: Validated, Status: 206, Body: "789", Has: []string{"Content-Range: bytes 7-9/10"}},
		}},
		{Name: "9111 §3.4: parts of one strong validator make the whole", May: true, Steps: []Step{
			{Ask: "GET\nRange: bytes=0-4", Answer: served, Want: Any, Status: 206, Body: "01234"},
			{Ask: "GET\nRange: bytes=5-9", Answer: served, Want: Any, Status: 206, Body: "56789"},
			{Answer: served, Want: Stored, Body: "0123456789"},
		}},
		{Name: "9111 §3.4: parts of a weak one do not", Steps: []Step{
			{Ask: "GET\nRange: bytes=0-4", Answer: weak + "0123456789", Want: Any, Status: 206, Body: "01234"},
			{Ask: "GET\nRange: bytes=5-9", Answer: weak + "abcdefghij", Want: Any, Status: 206},
			{Answer: weak + "abcdefghij", Want: Any, Status: 200, Body: "abcdefghij"},
		}},
		{Name: "9110 §15.3.7: a part of something else than was asked for", Steps: []Step{
			{Ask: "GET\nRange: bytes=0-3", Answer: "206\n" + hour + "\nETag: \"1\"\nContent-Range: bytes 5-8/10\n\n5678", Want: Any},
			{Answer: whole, Want: Any, Status: 200, Body: "0123456789"},
			{Answer: whole, Ask: "GET\nRange: bytes=0-3", Want: Any, Status: 206, Body: "0123"},
		}, May: true},
		{Name: "9110 §14.4: a Content-Range that contradicts itself", Steps: []Step{
			{Ask: "GET\nRange: bytes=0-3", Answer: "206\n" + hour + "\nETag: \"1\"\nContent-Range: bytes 3-0/10\n\n0123", Want: Any},
			{Answer: whole, Want: Any, Status: 200, Body: "0123456789"},
		}},
	}
}
