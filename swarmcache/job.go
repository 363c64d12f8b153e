package swarmcache

import (
	"errors"
	"slices"
	"time"
)

// Job is a warm-up of several nodes. It stands in the directory until a day after
// anything was heard of it, or until it is canceled, whatever becomes of the node
// that began it; each of its nodes takes its part in it, and goes on with that when
// it was away. All nodes are told of it, but for the list of its URLs: that is for
// those who want it.
type Job struct {
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	By       NodeID    `json:"by"`
	Nodes    []NodeID  `json:"nodes"`
	URLs     []string  `json:"urls,omitempty"`     // in the directory a list of its own
	Size     int       `json:"size,omitempty"`     // of that, in bytes; 0: there is none
	Manifest string    `json:"manifest,omitempty"` // URL of a list of more
	Pinned   bool      `json:"pinned,omitempty"`
	Lease    int64     `json:"lease"` // under which it and its parts stand: the directory's business
}

// Wants reports whether a node has a part in it.
func (j *Job) Wants(n NodeID) bool { return slices.Contains(j.Nodes, n) }

// JobPart is how far one node has come with a job.
type JobPart struct {
	Job      string       `json:"job"`
	Node     NodeID       `json:"node"`
	Over     bool         `json:"over,omitempty"`
	Objects  int          `json:"objects"`
	Done     int          `json:"done"`
	Passed   int          `json:"passed,omitempty"` // of those done: they passed through
	Failed   int          `json:"failed,omitempty"`
	Bytes    int64        `json:"bytes"`
	Total    int64        `json:"total"` // of those whose length is known
	Local    int64        `json:"local,omitempty"`
	Peers    int64        `json:"peers,omitempty"`
	Origin   int64        `json:"origin,omitempty"`
	Failures []JobFailure `json:"failures,omitempty"` // the first ones
	At       time.Time    `json:"at"`
}

// JobFailure is an object that a node could not have.
type JobFailure struct {
	URL   string `json:"url"`
	Error string `json:"error"`
}

// MaxJobs stand at a time, none takes more than MaxJob bytes of the directory, and
// their lists together have at most MaxJobLists.
const (
	MaxJobs     = 100
	MaxJob      = 1 << 20
	MaxJobLists = 8 << 20
)

var (
	// ErrTooManyJobs: as many stand as may.
	ErrTooManyJobs = errors.New("too many warm-ups of several nodes stand: cancel some")
	// ErrJobTooLong: the directory is no place for it.
	ErrJobTooLong = errors.New("the list is too long for the directory: put it into a manifest")
)
