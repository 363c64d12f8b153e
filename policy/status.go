package policy

// heuristicallyCacheable: such a response may be stored, and its freshness
// guessed, without a word about it (RFC 9110 §15.1; 451: RFC 7725 §3).
func heuristicallyCacheable(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 451, 501:
		return true
	}
	return false
}

// understood: we know what caching asks of such a response, and do it
// (RFC 9111 §5.2.2.3).
func understood(status int) bool {
	switch status {
	case 200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308,
		400, 402, 403, 404, 405, 406, 409, 410, 414, 422, 451, 500, 501, 502, 503, 504, 505:
		return true
	}
	return false
}

// neverStored: such a response is about one client, connection or request, and
// tells the next nothing. RFC 6585 forbids it for 428, 429, 431 and 511; 206 and
// 304 are parts of other responses.
func neverStored(status int) bool {
	switch status {
	case 206, 304, 401, 407, 408, 412, 416, 417, 421, 425, 426, 428, 429, 431, 511:
		return true
	}
	return status < 200 || status > 599
}

// Supersedes reports whether an answer that was not stored shows that what is
// stored is gone or has changed, and should not be used again. An error on the
// way to the origin shows nothing.
func Supersedes(status int) bool {
	return status >= 200 && status < 400 && status != 304 || status == 404 || status == 410
}
