package policy

import (
	"net/http"
	"time"
)

// StaleOn reports whether stored may answer req although it is stale, now that f
// has happened (RFC 9111 §4.2.4). Permission comes from stale-if-error of the
// response or the request (RFC 5861 §4), from stale-while-revalidate when f is
// Updating, or from the operator's cache_use_stale. Without it there is none:
// that the origin cannot be reached is not enough here, though HTTP would allow it.
//
// f may be several failures: one that permits is enough.
func (c *Caching) StaleOn(f Failures, req Request, stored *Stored, now time.Time) bool {
	if stored == nil || uncacheable(req) != "" || neverStored(stored.Status) || !c.SelectedBy(*stored, req.Header) {
		return false
	}
	t, w := c.terms(stored), wishesOf(req.Header)
	v := Verdict{Age: currentAge(stored, now)}
	v.FreshFor = t.lifetime - v.Age
	stale := max(0, -v.FreshFor)
	switch {
	case t.forbidsStale(stored), w.NoCache, w.MinFresh.Present:
		return false
	case w.MaxAge.Present && v.Age > w.MaxAge.Value:
		return false
	case f&serverErrors != 0 && w.StaleIfError.Valid && stale <= w.StaleIfError.Value:
		return true
	case w.noStale(&v):
		return false
	case f&serverErrors != 0 && t.StaleIfError.Valid && stale <= t.StaleIfError.Value:
		return true
	case f&Updating != 0 && t.StaleWhileRevalidate.Valid && stale < t.StaleWhileRevalidate.Value:
		return true
	}
	return f&c.UseStale&^none != 0
}

// Answer is what the origin's answer to a revalidation is good for.
type Answer int

const (
	TakeAnswer Answer = iota // pass it on; Storable tells whether it takes the place of what is stored
	Freshen                  // 304: what is stored stands, see Freshened; serve it
	AskAgain                 // 304 about something else: ask for the whole
	TakeStale                // an error that the client need not see: serve what is stored
)

func (a Answer) String() string {
	return [...]string{"take-answer", "freshen", "ask-again", "take-stale"}[a]
}

// Answered says what to do with the answer to the request that v sent out (RFC
// 9111 §4.3.3). A 304 to anything but v.Conditional answers a condition of the
// client's own. When the answer is taken and not stored, Supersedes tells whether
// what is stored must go.
func (c *Caching) Answered(v Verdict, req Request, stored *Stored, answer Stored, now time.Time) Answer {
	switch {
	case stored == nil:
	case answer.Status == http.StatusNotModified && v.Conditional != nil:
		if c.Confirms(*stored, answer.Header) {
			return Freshen
		}
		return AskAgain
	case c.StaleOn(FailureOf(answer.Status), req, stored, now):
		return TakeStale
	}
	return TakeAnswer
}

// Background returns the header of a request about stored when no client waits
// for it (RFC 9111 §4.3.1): the fields that selected it. Its validators are the
// Verdict's Conditional. Nothing else of any client's request belongs there.
func Background(stored *Stored) http.Header {
	if stored.Selecting == nil {
		return http.Header{}
	}
	return stored.Selecting.Clone()
}
