// Package policy holds the decisions of a shared HTTP cache: under which key a
// request is looked up, which route it takes, whether a response may be stored,
// whether a stored one may be served, and in which form.
//
// It is pure: values in, verdict out. No I/O, no clock, no logger; the time is
// an argument. It leaves fetching, storing and serving to others.
//
// The life of a request asks in this order; the example shows it.
//
//	rules.Route     key, route, and what the rules add: route.Cache
//	  .Select       which of the stored variants answers (RFC 9111 §4.1)
//	  .Decide       serve, revalidate, fetch, refuse, bypass (§4)
//	  Background    the request that revalidates what was served stale (RFC 5861 §3)
//	  Shares        may it wait for the answer to another request
//	  .Answered     what the origin's answer means for what is stored (§4.3.3)
//	  .StaleOn      may what is stored answer although the origin failed (§4.2.4)
//	  .Freshened    what is stored, with the header of a 304 (§4.3.4)
//	  .Head         what the answer to a HEAD tells about it (§4.3.5)
//	  .Storable     may the answer be stored (§3), and then .Selecting, .ForStorage
//	Respond         200, 206, 304 or 416 (RFC 9110 §13.2.2)
//	PartOf          may a 206 be put together with what is stored (§3.4)
//	Invalidated     what an unsafe method changed (§4.4)
//	CacheStatus     what to say about all that (RFC 9211)
package policy

import (
	"net/http"
	"net/url"
	"time"
)

// Key is a cache key: the method-independent, normalised URL that selects an
// object (RFC 9111 §2). It may be long and may contain a query.
type Key string

// Request holds what policy must know of a request.
type Request struct {
	Method string
	URL    *url.URL // absolute
	Header http.Header
	// HasBody: the request has content. What that asks of a GET nobody knows
	// (RFC 9110 §9.3.1), so it goes past the cache.
	HasBody bool
}

// Stored holds what policy must know of a stored response.
type Stored struct {
	Status       int         `json:"status"`
	Header       http.Header `json:"header"`
	RequestTime  time.Time   `json:"request_time"`  // when the request was sent (RFC 9111 §4.2.3)
	ResponseTime time.Time   `json:"response_time"` // when the header arrived
	// Selecting holds the request's values of the fields that Vary names
	// (RFC 9111 §4.1); nil without Vary.
	Selecting http.Header `json:"selecting,omitempty"`
	// Invalid: it was invalidated, and must be validated before any use (RFC 9111
	// §4.4). Freshened takes that back.
	Invalid bool `json:"invalid,omitempty"`
	// Guarded: it was stored because each who asks for it is asked for at the origin, and
	// is for nobody else.
	Guarded bool `json:"guarded,omitempty"`
	// Undated: the origin gave no Date, and the field says when the response came.
	Undated bool `json:"undated,omitempty"`
	// Ahead is by how much the clock that counts the times is known to be ahead of that
	// which counts: a Date is compared with what that one showed.
	Ahead time.Duration `json:"ahead,omitempty"`
	// Doubt is by how much the times may be wrong as the clock counts that asks: for
	// those of another node, whose clock was measured, and not exactly. It makes
	// the response older; with Unknown it is never fresh.
	Doubt time.Duration `json:"doubt,omitempty"`
}

// Unknown is the Doubt about times by a clock of which nothing is known.
const Unknown time.Duration = 1<<63 - 1
