package conformance

import "fmt"

// framing is messages of which two readers may see two different things: RFC 9112 §2.2,
// §3.2, §5, §6, §7, §11.2. What is not refused is passed on in one way of reading.
func framing() (l []Scenario) {
	rejected := func(name, ask string) {
		l = append(l, Scenario{Name: name, Steps: []Step{{Ask: ask, Answer: "200\n" + hour, Want: Rejected}}})
	}
	const content = "\n\n5\r\nabcde\r\n0\r\n\r\n"
	rejected("9112 §3.2: two Host", "GET\nHost: a.example\nHost: b.example")
	rejected("9112 §3.2: a Host that is none", "GET\nHost: a b")
	rejected("9112 §5.1: a space before the colon of a request", "GET\nX-A : 1")
	rejected("9112 §5.1: a space before the colon of Content-Length", "POST\n@raw\nContent-Length : 5\n\nabcde")
	rejected("9112 §5.1: a space before the colon of Transfer-Encoding", "POST\n@raw\nTransfer-Encoding : chunked"+content)
	rejected("9112 §5: a field without a name", "GET\n: 1")
	rejected("9112 §5: a line without a colon", "GET\nX-A")
	rejected("9110 §5.1: a name that is no token", "GET\nX(A): 1")
	rejected("9110 §5.5: a NUL in a field", "GET\nX-A: 1\x002")
	rejected("9112 §6.1: another coding than chunked", "POST\n@raw\nTransfer-Encoding: gzip"+content)
	rejected("9112 §6.1: chunked, and then another coding", "POST\n@raw\nTransfer-Encoding: chunked, gzip"+content)
	rejected("9112 §6.1: a coding that looks like chunked", "POST\n@raw\nTransfer-Encoding: xchunked"+content)
	rejected("9112 §6.1: chunked twice", "POST\n@raw\nTransfer-Encoding: chunked, chunked"+content)
	rejected("9112 §6.1: chunked on two lines", "POST\n@raw\nTransfer-Encoding: chunked\nTransfer-Encoding: identity"+content)
	rejected("9112 §6.3: two lengths of a request that differ", "POST\n@raw\nContent-Length: 5\nContent-Length: 6\n\nabcdef")
	for _, length := range []string{"+5", "-5", "0x5", "5, 6", "5 5", "", "5a", "99999999999999999999"} {
		rejected("9112 §6.3: a request of Content-Length: "+length, "POST\n@raw\nContent-Length: "+length+"\n\nabcde")
	}
	for _, chunks := range []struct{ name, content string }{
		{"a sign", "+5\r\nabcde\r\n0\r\n\r\n"},
		{"0x", "0x5\r\nabcde\r\n0\r\n\r\n"},
		{"more digits than count", "10000000000000005\r\nabcde\r\n0\r\n\r\n"},
		{"no number", "x\r\nabcde\r\n0\r\n\r\n"},
		{"too little", "4\r\nabcde\r\n0\r\n\r\n"},
	} {
		// It may have been asked before that was seen. Then it must see that it broke off.
		l = append(l, Scenario{Name: "9112 §7.1: the size of a chunk with " + chunks.name, Steps: []Step{
			{Ask: "POST\n@raw\nTransfer-Encoding: chunked\n\n" + chunks.content, Answer: "200\n" + hour, Want: Broken},
		}})
	}
	return append(l,
		Scenario{Name: "9112 §6.3: chunks count before a length, and only they go on", May: true, Steps: []Step{
			{Ask: "POST\n@raw\nContent-Length: 3\nTransfer-Encoding: chunked" + content, Answer: "200", Want: Origin, Saw: []string{"!Content-Length"}},
		}},
		Scenario{Name: "9112 §6.3: one length, twice", May: true, Steps: []Step{
			{Ask: "POST\n@raw\nContent-Length: 5\nContent-Length: 5\n\nabcde", Answer: "200", Want: Origin, Saw: []string{"Content-Length: 5"}},
		}},
		Scenario{Name: "9112 §3.2.2: the host of the URL, and not that of the field", Steps: []Step{
			{Ask: "GET\nHost: elsewhere.example", Answer: "200\n" + hour, Want: Origin, Saw: []string{"Host !~ elsewhere"}},
			{Want: Stored},
		}},
		Scenario{Name: "9112 §5.2: a line of a request that goes on with a space", May: true, Steps: []Step{
			{Ask: "GET\nX-A: 1\n 2", Answer: "200", Want: Any, Has: []string{"!X-A"}},
		}},
		Scenario{Name: "9112 §5.2: a line of an answer that goes on with a space", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600,\n no-store", Want: Any},
			{Want: Origin},
		}},
	)
}

// metadata is answers that a careless reader takes for others: RFC 9112 §4, §5.1, RFC
// 9110 §8.6, §15.
func metadata() (l []Scenario) {
	for _, field := range []string{"Cache-Control : no-store", "Vary : *", "Set-Cookie : id=me", "Age : 7200"} {
		l = append(l, asked("9112 §5.1: a space before the colon of an answer: "+field, hour+"\n"+field).may())
	}
	for _, status := range []int{401, 407, 408, 412, 416, 417, 421, 425, 426} {
		l = append(l, Scenario{Name: "what an answer says to one request only is not stored", Steps: []Step{
			{Ask: "GET\nRange: bytes=90-\nIf-Match: \"0\"", Answer: fmt.Sprintf("%d\n%s\nContent-Range: bytes */10", status, hour), Want: Any},
			{Answer: "200\n" + hour, Want: Origin},
		}})
		l[len(l)-1].Name = fmt.Sprintf("9110 §15.5: %d with max-age is about that request alone", status)
	}
	const stale = "200\n" + hour + "\nAge: 7200\nETag: \"1\""
	again := func(name, says string, want Want) Scenario {
		return Scenario{Name: name, Steps: []Step{
			{Answer: stale, Want: Origin},
			{Answer: "304\nETag: \"1\"\n" + says, Want: Any, Status: 200},
			{Want: want, Answer: "200\n" + hour},
		}}
	}
	return append(l,
		again("9111 §4.3.4: private of a 304", "Cache-Control: private, max-age=3600", Origin),
		again("9111 §4.3.4: Vary: * of a 304", hour+"\nVary: *", Origin),
		again("9111 §4.3.4: must-revalidate and no time of a 304", "Cache-Control: max-age=0, must-revalidate", Origin),
		again("9111 §4.3.4: an Age of a 304 beyond its lifetime", hour+"\nAge: 7200", Origin),
		again("9111 §4.3.4: a 304 without a word takes away the Age of before", "", Stored).may(),
		Scenario{Name: "9110 §15.4.5: a 304 that nobody asked for is not stored", Steps: []Step{
			{Ask: "GET\nIf-None-Match: \"1\"", Answer: "304\nETag: \"1\"\n" + hour, Want: Origin},
			{Answer: "200\n" + hour, Want: Origin},
		}},
		Scenario{Name: "9110 §15.2.2: 101 that nobody asked for", Steps: []Step{
			{Answer: "101\nUpgrade: x\nConnection: upgrade\n@no Content-Length", Want: Any, Status: 502},
			{Answer: "200\n" + hour, Want: Origin},
		}},
		Scenario{Name: "9112 §5.1: a space before the colon of an answer's Transfer-Encoding", May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\n@no Content-Length\nTransfer-Encoding : chunked\n\n3\r\nabc\r\n0\r\n\r\n", Want: Any, Status: 502},
			{Answer: "200\n" + hour, Want: Origin},
		}},
		Scenario{Name: "9110 §14.4: Content-Range of a 200 means nothing", Steps: []Step{
			{Answer: "200\n" + hour + "\nETag: \"1\"\nContent-Range: bytes 0-3/10\n\nabcd", Want: Origin},
			{Want: Any, Answer: "200\n" + hour + "\n\nabcd", Status: 200, Body: "abcd"},
		}},
		Scenario{Name: "9111 §3.3: of a part of an unknown whole nothing is made", Steps: []Step{
			{Ask: "GET\nRange: bytes=0-3\nX-Client: 1", Answer: "206\n" + hour + "\nETag: \"1\"\nContent-Range: bytes 0-3/*\n\nabcd", Want: Any, Status: 206},
			{Answer: "200\n" + hour + "\nETag: \"1\"\n\nabcdefghij", Want: Origin},
		}},
		Scenario{Name: "9110 §14.6: several parts are not stored as the whole", Steps: []Step{
			{Ask: "GET\nRange: bytes=0-1,4-5", Answer: "206\n" + hour + "\nETag: \"1\"\nContent-Type: multipart/byteranges; boundary=X\n\n--X\r\nContent-Range: bytes 0-1/10\r\n\r\nab\r\n--X\r\nContent-Range: bytes 4-5/10\r\n\r\nef\r\n--X--\r\n", Want: Any, Status: 206},
			{Answer: "200\n" + hour + "\nETag: \"1\"\n\nabcdefghij", Want: Origin},
		}},
		Scenario{Name: "9110 §8.8.3: an entity tag without quotes is none", Steps: []Step{
			{Answer: "200\n" + hour + "\nETag: abc", Want: Origin},
			{Ask: "GET\nIf-None-Match: \"abc\"", Want: Any, Status: 200, Answer: "200\n" + hour + "\nETag: abc"},
		}},
		Scenario{Name: "9110 §13.1.5: If-Range by a date of what changed a moment ago", Steps: []Step{
			{Answer: "200\n" + hour + "\nLast-Modified: {now}\n\n0123456789", Want: Origin},
			{Ask: "GET\nRange: bytes=0-1\nIf-Range: {now}\nX-Client: 1", Answer: "200\n" + hour + "\n\n0123456789", Want: Any, Status: 200, Body: "0123456789"},
		}},
		Scenario{Name: "5861 §3: not where s-maxage asks for validation", Steps: []Step{
			{Answer: "200\nCache-Control: s-maxage=3600, stale-while-revalidate=600\nAge: 3610\nETag: \"1\"", Want: Origin},
			{Answer: "304\nETag: \"1\"\nCache-Control: max-age=3600", Want: Validated},
		}},
		Scenario{Name: "5861 §4: a 404 is no error", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, stale-if-error=600\nAge: 3610\nETag: \"1\"", Want: Origin},
			{Answer: "404\n\ngone", Want: Origin, Status: 404},
			{Answer: "404\n\ngone", Want: Origin, Status: 404},
		}},
		Scenario{Name: "9111 §4.4: a change that Content-Location names with its origin", May: true, Alone: true, Steps: []Step{
			{Ask: "GET /a", Answer: "200\n" + hour, Want: Origin},
			{Ask: "POST /b\n\ncontent", Answer: "201\nContent-Location: {url}/a", Want: Origin},
			{Ask: "GET /a", Soon: true, Answer: "200\n" + hour, Want: Origin},
		}},
		Scenario{Name: "9111 §4.4: of another scheme at the same host is another origin", May: true, Steps: []Step{
			{Ask: "GET /a", Answer: "200\n" + hour, Want: Origin},
			{Ask: "POST /b\n\ncontent", Answer: "201\nLocation: https://{host}/{id}/a", Want: Origin},
			{Ask: "GET /a", Want: Stored},
		}},
		Scenario{Name: "9110 §9.3.2: of a HEAD nothing is made for a GET", Steps: []Step{
			{Ask: "HEAD", Answer: "200\n" + hour + "\nContent-Length: 10\n\n0123456789", Want: Origin},
			{Answer: "200\n" + hour + "\n\n0123456789", Want: Origin, Body: "0123456789"},
		}},
		Scenario{Name: "9111 §5.2.1.7: only-if-cached, and it is stale", May: true, Steps: []Step{
			{Answer: stale, Want: Origin},
			{Ask: "GET\nCache-Control: only-if-cached", Want: Refused},
		}},
		Scenario{Name: "8246 §2: a reload is asked about over plain HTTP", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=3600, immutable\nETag: \"1\"", Want: Origin},
			{Ask: "GET\nCache-Control: max-age=0", Answer: "304\nETag: \"1\"", Want: Validated},
		}, May: true},
		Scenario{Name: "9111 §4.2.3: the time that an answer took counts as age", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=1\n@wait 1100ms", Want: Origin},
			{Want: Origin},
		}},
		Scenario{Name: "9111 §5.2.1.2: max-stale of any time", May: true, Steps: []Step{
			{Answer: stale, Want: Origin},
			{Ask: "GET\nCache-Control: max-stale", Want: Stored},
		}},
		Scenario{Name: "9111 §4.4: a redirect after a POST invalidates", May: true, Alone: true, Steps: []Step{
			{Answer: "200\n" + hour, Want: Origin},
			{Ask: "POST\n\ncontent", Answer: "303\nLocation: /elsewhere", Want: Origin},
			{Soon: true, Answer: "200\n" + hour, Want: Origin},
		}},
		Scenario{Name: "9111 §4.4: a method that nobody knows invalidates", May: true, Alone: true, Steps: []Step{
			{Answer: "200\n" + hour, Want: Origin},
			{Ask: "CHANGE\n\ncontent", Answer: "200", Want: Origin},
			{Soon: true, Answer: "200\n" + hour, Want: Origin},
		}},
		Scenario{Name: "9111 §4.1: a field that is there, but empty, is not one that is not", Steps: []Step{
			{Ask: "GET\nX-A:", Answer: "200\n" + hour + "\nVary: X-A\n\nempty", Want: Origin},
			{Ask: "GET\nX-A: 1", Answer: "200\n" + hour + "\nVary: X-A\n\nfull", Want: Origin},
		}},
		Scenario{Name: "9111 §4.1: what is stored without Vary gives way to what has one", Steps: []Step{
			{Ask: "GET\nX-A: 1", Answer: "200\nCache-Control: no-cache\nETag: \"1\"\n\none", Want: Origin},
			{Ask: "GET\nX-A: 2", Answer: "200\n" + hour + "\nVary: X-A\nETag: \"2\"\n\ntwo", Want: Origin},
			{Ask: "GET\nX-A: 1", Answer: "200\n" + hour + "\nVary: X-A\nETag: \"1\"\n\none", Want: Any, Status: 200, Body: "one"},
			{Ask: "GET\nX-A: 2", Answer: "200\n" + hour + "\nVary: X-A\nETag: \"2\"\n\ntwo", Want: Any, Status: 200, Body: "two"},
		}},
		Scenario{Name: "9111 §4.1: a variant that grows another field", Steps: []Step{
			{Ask: "GET\nX-A: 1\nX-B: 1", Answer: "200\n" + hour + "\nVary: X-A\n\n1", Want: Origin},
			{Ask: "GET\nX-A: 2\nX-B: 1", Answer: "200\n" + hour + "\nVary: X-A, X-B\n\n21", Want: Origin},
			{Ask: "GET\nX-A: 2\nX-B: 2", Answer: "200\n" + hour + "\nVary: X-A, X-B\n\n22", Want: Origin, Body: "22"},
		}},
		Scenario{Name: "9111 §3.5: what the public may have is asked for again with credentials, and said private", Steps: []Step{
			{Answer: "200\nCache-Control: no-cache\nETag: \"1\"\n\nfor all", Want: Origin},
			{Ask: "GET\nAuthorization: Bearer me", Answer: "200\nCache-Control: private\nETag: \"2\"\n\nfor me", Want: Any, Status: 200, Body: "for me"},
			{Answer: "200\nCache-Control: no-cache\nETag: \"3\"\n\nfor others", Want: Any, Status: 200, Body: "for others"},
		}},
		Scenario{Name: "9111 §4.3.3: an error on a question of one client with a cookie is not everybody's", Steps: []Step{
			{Answer: "200\nCache-Control: no-cache\nETag: \"1\"\n\nfor all", Want: Origin},
			{Ask: "GET\nCookie: id=me", Answer: "403\n" + hour + "\n\nnot you", Want: Origin},
			{Answer: "304\nETag: \"1\"", Want: Any, Status: 200, Body: "for all"},
		}, Small: true},
		Scenario{Name: "9110 §10.1.1: an expectation that nobody knows", Steps: []Step{
			{Ask: "PUT\nExpect: the-unexpected\n\ncontent", Answer: "200", Want: Any},
			{Answer: "200\n" + hour, Want: Origin},
		}},
		Scenario{Name: "9113 §3.1: a GET does not turn a connection into HTTP/2", Steps: []Step{
			{Ask: "GET\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__", Answer: "200\n" + hour, Want: Origin, Saw: []string{"!HTTP2-Settings", "!Upgrade"}},
		}},
		Scenario{Name: "9113 §3.1: nor does a POST, whether Connection says so or not", Steps: []Step{
			{Ask: "POST\nConnection: Upgrade\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__\n\ncontent", Answer: "200", Want: Origin, Saw: []string{"!HTTP2-Settings", "!Upgrade"}},
		}},
	)
}
