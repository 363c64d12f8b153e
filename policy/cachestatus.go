package policy

import "time"

// CacheStatus is what we say about a request: our member of Cache-Status (RFC
// 9211 §2), and nginx's word for the same. Stored, Collapsed and the like are for
// the caller to add.
type CacheStatus struct {
	Hit       bool          // not forwarded, and the answer is from what is stored
	TTL       time.Duration // freshness left, negative when stale; meaningful with Hit
	Fwd       string        // why the request was forwarded; exactly one of Hit and Fwd is set
	FwdStatus int           // what the origin answered
	Detail    string        // why what is stale was served
	Word      string        // HIT, MISS, EXPIRED, STALE, UPDATING, REVALIDATED or BYPASS
}

// CacheStatus is for a verdict that needs no answer of the origin: Serve and
// ServeAndRevalidate. The answer to a refused request is not the origin's, and
// says nothing of caches.
func (v *Verdict) CacheStatus() CacheStatus {
	s := CacheStatus{Hit: true, TTL: v.FreshFor, Word: "HIT"}
	switch v.Reason {
	case ReasonMaxStale:
		s.Word, s.Detail = "STALE", v.Reason
	case ReasonWhileRevalidate, ReasonUpdating:
		s.Word, s.Detail = "UPDATING", v.Reason
	}
	return s
}

// Forwarded is for a verdict that sent the request on: the origin answered with
// status, 0 when it could not be asked, and a is what became of that.
func (v *Verdict) Forwarded(a Answer, status int) CacheStatus {
	s := CacheStatus{Fwd: v.Reason, FwdStatus: status}
	switch {
	case a == TakeStale:
		s.Word, s.Detail = "STALE", "stale-if-error"
		if status == 0 { // it did not go forward (RFC 9211 §2.1)
			s.Hit, s.Fwd, s.TTL = true, "", v.FreshFor
		}
	case a == Freshen:
		s.Word = "REVALIDATED"
	case v.Action == Bypass || v.Reason == ReasonBypass:
		s.Word = "BYPASS"
	case v.Reason == ReasonStale || v.Reason == ReasonRequest:
		s.Word = "EXPIRED"
	default:
		s.Word = "MISS"
	}
	return s
}
