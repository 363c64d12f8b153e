package conformance

// messages are about what travels beside the response: interim answers, content that is
// waited for, trailers (RFC 9110 §10.1.1, §15.2, §6.5), and methods that change.
func messages() []Scenario {
	const early = "\n@early 103 Link: </a>; rel=preload\n@early 103 X-A: 1"
	l := []Scenario{
		{Name: "9110 §15.2: two interim answers", May: true, Steps: []Step{
			{Answer: "200\n" + hour + early, Want: Origin, Has: []string{"Early-Link: </a>; rel=preload", "Early-X-A: 1", "!X-A"}},
			{Want: Stored, Has: []string{"!Early-Link", "!X-A"}},
		}},
		{Name: "9110 §15.2: 102 is passed on", May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\n@early 102 X-A: 1", Want: Origin, Has: []string{"Early-X-A: 1"}},
		}},
		{Name: "9110 §15.2: interim answers to a POST", May: true, Steps: []Step{
			{Ask: "POST\n\ncontent", Answer: "200" + early, Want: Origin, Has: []string{"Early-Link: </a>; rel=preload"}},
		}},
		{Name: "9110 §15.2: an interim answer to a validation", May: true, Steps: []Step{
			{Answer: "200\n" + hour + "\nAge: 7200\nETag: \"1\"", Want: Origin},
			{Answer: "304\nETag: \"1\"\n" + hour + "\n@early 103 Link: </a>; rel=preload", Want: Validated, Has: []string{"!Link"}},
			{Want: Stored, Has: []string{"!Link"}},
		}},
		{Name: "9110 §10.1.1: content that the origin wants to be asked for", Steps: []Step{
			{Ask: "PUT\nExpect: 100-continue\n\ncontent", Answer: "200\n@early 100 X-A: 1", Want: Origin, Has: []string{"!X-A"}},
		}},
		{Name: "9110 §6.5: trailers of a request are passed on", May: true, Steps: []Step{
			{Ask: "POST\nTransfer-Encoding: chunked\nTrailer: X-Sum\n@trailer X-Sum: 42\n\ncontent", Answer: "200", Want: Origin, Saw: []string{"Trailer-X-Sum: 42"}},
		}},
		{Name: "9110 §6.5.1: a trailer changes nothing about caching", Steps: []Step{
			{Answer: "200\nCache-Control: no-store\nTrailer: Cache-Control\n@trailer Cache-Control: max-age=3600", Want: Origin},
			{Want: Origin},
		}},
		{Name: "9110 §4.2.3: the case of the host does not count", May: true, Steps: []Step{
			{Ask: "GET http://LocalHost:{port}/{id}", Answer: "200\n" + hour, Want: Origin},
			{Ask: "GET http://localhost:{port}/{id}", Want: Stored},
		}},
		{Name: "3986 §6.2.2.2: an unreserved character in percent-encoding", May: true, Steps: []Step{
			{Ask: "GET /%61%2Db", Answer: "200\n" + hour, Want: Origin},
			{Ask: "GET /a-b", Want: Stored},
		}},
		asked("3986 §2.2: a reserved one is another", hour).by("GET /a%2Fb").then("GET /a/b"),
		asked("9111 §2: the order of the query counts", hour).by("GET ?a=1&b=2").then("GET ?b=2&a=1"),
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH"} {
		l = append(l, Scenario{Name: "9111 §4.4: a " + method + " that fails does not invalidate", May: true, Steps: []Step{
			{Answer: "200\n" + hour, Want: Origin},
			{Ask: method + "\n\ncontent", Answer: "500", Want: Origin},
			{Want: Stored},
		}})
	}
	for _, method := range []string{"PUT", "DELETE", "M-SEARCH"} {
		for _, field := range []string{"Location", "Content-Location"} {
			l = append(l, Scenario{Name: "9111 §4.4: " + field + " of a " + method, May: true, Alone: true, Steps: []Step{
				{Answer: "200\n" + hour, Ask: "GET /a", Want: Origin},
				{Ask: method + " /b\n\ncontent", Answer: "200\n" + field + ": a", Want: Origin},
				{Soon: true, Answer: "200\n" + hour, Ask: "GET /a", Want: Origin},
			}})
		}
	}
	return l
}

// statusFields are what a cache says of itself: RFC 9211 §2, RFC 9209 §2. None must.
func statusFields() []Scenario {
	const stale = "200\nCache-Control: max-age=3600, stale-if-error=600\nAge: 3610\nETag: \"1\"\n\nold"
	l := []Scenario{
		{Name: "9211 §2.2: uri-miss, and stored", Steps: []Step{
			{Answer: "200\n" + hour, Want: Origin, Has: []string{"Cache-Status ~ ;fwd=uri-miss", "Cache-Status ~ ;fwd-status=200", "Cache-Status ~ ;stored", "Cache-Status !~ ;hit"}},
		}},
		{Name: "9211 §2.5: not stored", Steps: []Step{
			{Answer: "200\nCache-Control: no-store", Want: Origin, Has: []string{"Cache-Status ~ ;fwd=uri-miss", "Cache-Status !~ ;stored"}},
		}},
		{Name: "9211 §2.4: the ttl of a hit", Steps: []Step{
			{Answer: "200\nCache-Control: max-age=86400", Want: Origin},
			{Want: Stored, Has: []string{"Cache-Status ~ ;hit", "Cache-Status ~ ;ttl=86", "Cache-Status !~ fwd", "!Proxy-Status"}},
		}},
		{Name: "9211 §2.2: vary-miss", Steps: []Step{
			{Ask: "GET\nX-A: 1", Answer: "200\n" + hour + "\nVary: X-A", Want: Origin},
			{Ask: "GET\nX-A: 2", Answer: "200\n" + hour + "\nVary: X-A", Want: Origin, Has: []string{"Cache-Status ~ ;fwd=vary-miss"}},
		}},
		{Name: "9211 §2.2: stale, and confirmed", Steps: []Step{
			{Answer: "200\n" + hour + "\nAge: 7200\nETag: \"1\"", Want: Origin},
			{Answer: "304\nETag: \"1\"", Want: Validated, Has: []string{"Cache-Status ~ ;fwd=stale", "Cache-Status ~ ;fwd-status=304"}},
		}},
		{Name: "9211 §2.2: request", Steps: []Step{
			{Answer: "200\n" + hour + "\nETag: \"1\"", Want: Origin},
			{Ask: "GET\nCache-Control: no-cache", Answer: "304\nETag: \"1\"", Want: Validated, Has: []string{"Cache-Status ~ ;fwd=request"}},
		}},
		{Name: "9211 §2.2: method", Steps: []Step{
			{Ask: "POST\n\ncontent", Answer: "201", Want: Origin, Has: []string{"Cache-Status ~ ;fwd=method", "Cache-Status ~ ;fwd-status=201"}},
		}},
		{Name: "9211 §2.2: bypass", Steps: []Step{
			{Ask: "GET\n\ncontent", Answer: "200", Want: Origin, Has: []string{"Cache-Status ~ ;fwd=bypass"}},
		}},
		{Name: "9211 §2: what is made up here is no cache's", Steps: []Step{
			{Ask: "GET\nCache-Control: only-if-cached", Want: Refused, Has: []string{"!Cache-Status", "Proxy-Status ~ ;error=proxy_internal_response"}},
		}},
		{Name: "9209 §2.3: an origin that does not answer", Steps: []Step{
			{Answer: "200\n@drop", Want: Any, Status: 502, Has: []string{"!Cache-Status", "Proxy-Status ~ ;error=connection_terminated", "Proxy-Status ~ ;next-hop="}},
		}},
		{Name: "9209 §2.3: an answer that is no HTTP", Steps: []Step{
			{Answer: "200\nContent-Length: x\n\nabcde", Want: Any, Status: 502, Has: []string{"Proxy-Status ~ ;error=http_protocol_error", "Proxy-Status ~ ;details="}},
		}},
		{Name: "9209 §2.1.4: what came in the place of a stale answer", Steps: []Step{
			{Answer: stale, Want: Origin},
			{Answer: "503\n\nnot now", Want: Any, Status: 200, Body: "old", Has: []string{"Cache-Status ~ ;fwd=stale;fwd-status=503", "Proxy-Status ~ ;received-status=503"}},
		}},
		{Name: "9209 §2.1.1: why a stale answer was given", Steps: []Step{
			{Answer: stale, Want: Origin},
			{Answer: "200\n@drop", Want: Any, Status: 200, Body: "old", Has: []string{"Cache-Status ~ ;hit", "Cache-Status ~ ;ttl=-", "Proxy-Status ~ ;error=connection_terminated"}},
		}},
		{Name: "9209 §2: the Proxy-Status of others is passed on", Steps: []Step{
			{Answer: "502\nProxy-Status: inner;error=dns_error", Want: Origin, Has: []string{"Proxy-Status: inner;error=dns_error"}},
		}},
		{Name: "9209 §2: and is not stored", Steps: []Step{
			{Answer: "200\n" + hour + "\nProxy-Status: inner", Want: Origin},
			{Want: Stored, Has: []string{"!Proxy-Status"}},
		}},
	}
	for i := range l {
		l[i].May = true
	}
	return l
}
