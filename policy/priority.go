package policy

import (
	"fmt"
	"net/http"
	"net/url"
)

// Priority says how much of a limited link an object gets while others want it
// too. Unset is normal.
type Priority string

const (
	PriorityLow    Priority = "low"
	PriorityNormal Priority = "normal"
	PriorityHigh   Priority = "high"
)

// Validate reports a word that is not one of the priorities. The empty one is
// fine.
func (p Priority) Validate() error {
	switch p {
	case "", PriorityLow, PriorityNormal, PriorityHigh:
		return nil
	}
	return fmt.Errorf("%q is not known, want low, normal or high", p)
}

// Replicas is of how many complete copies the cluster should have of an object, by
// the first rule that applies to it and has a say; 0: of none in particular.
func (r *Rules) Replicas(fetched *url.URL, h http.Header, length int64) int {
	s := subjectOf(Request{Method: http.MethodGet, URL: fetched})
	s.response, s.contentType, s.length = true, h.Get("Content-Type"), length
	for i := range r.Rules {
		if yes, _ := r.Rules[i].matches(&s); yes && r.Rules[i].Replicas != 0 {
			return r.Rules[i].Replicas
		}
	}
	return 0
}

// Priority is what the first rule says that applies to an object and has a say:
// by the URL it was fetched from, and its response's header and length in bytes.
func (r *Rules) Priority(fetched *url.URL, h http.Header, length int64) Priority {
	s := subjectOf(Request{Method: http.MethodGet, URL: fetched})
	s.response, s.contentType, s.length = true, h.Get("Content-Type"), length
	for i := range r.Rules {
		if yes, _ := r.Rules[i].matches(&s); yes && r.Rules[i].Priority != "" {
			return r.Rules[i].Priority
		}
	}
	return PriorityNormal
}
