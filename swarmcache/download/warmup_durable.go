package download

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"shatabdi/policy"
)

// A warm-up that was ordered goes on after a restart, as a whole and under its id:
// what the cache has of it costs nothing.

// warmRecord is what is known of one then.
type warmRecord struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	URLs    []string  `json:"urls"`
	Pinned  []bool    `json:"pinned"` // each of them, or not
	LeftOut int       `json:"left_out,omitempty"`
}

// warmInStore begins the names of their records.
const warmInStore = "warmup/"

// maxRecord bounds one, in bytes: it is written at once.
const maxRecord = 2 * maxManifest

// ErrTooLong: the store does not take so many URLs at once.
var ErrTooLong = errors.New("the warm-up is too long; order its parts")

// WarmDurably is Warm of this node's own, and goes on after a restart. URLs with a
// query that may be a credential are kept nowhere, and do not: it then says how many.
func (m *Downloads) WarmDurably(specs []Spec) (Warmup, error) {
	w := &warmup{id: NewID(), created: time.Now(), kept: m.cfg.Store != nil}
	if w.kept {
		r := warmRecord{ID: w.id, Created: w.created}
		for _, s := range specs {
			if _, query, _ := strings.Cut(s.URL, "?"); policy.Signed(query) {
				r.LeftOut++
				continue
			}
			r.URLs, r.Pinned = append(r.URLs, s.URL), append(r.Pinned, s.Pin)
		}
		b, err := json.Marshal(r)
		switch {
		case err != nil:
		case len(b) > maxRecord:
			err = ErrTooLong
		default:
			err = m.cfg.Store.SetSetting(warmInStore+w.id, b)
		}
		if err != nil {
			return Warmup{}, err
		}
	}
	st, err := m.warm(w, specs)
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		err = errors.Join(err, m.warmOverLocked(w))
	}
	return st, err
}

// warmOverLocked drops the record of one that will not go on.
func (m *Downloads) warmOverLocked(w *warmup) error {
	if !w.kept {
		return nil
	}
	err := m.cfg.Store.DropSetting(warmInStore + w.id)
	w.kept = err != nil
	return err
}

// restoreWarmups begins again with what an earlier run did not finish.
func (m *Downloads) restoreWarmups() {
	var all []warmRecord
	err := m.cfg.Store.EachSetting(warmInStore, func(name string, value []byte) {
		var r warmRecord
		if err := json.Unmarshal(value, &r); err != nil || warmInStore+r.ID != name || len(r.URLs) != len(r.Pinned) {
			m.cfg.Logger.Warn("what is remembered of a warm-up is unreadable", "name", name, "error", err)
			return
		}
		all = append(all, r)
	})
	if err != nil {
		m.cfg.Logger.Error("the warm-ups of before", "error", err)
	}
	for _, r := range all {
		var specs []Spec
		for i, u := range r.URLs {
			specs = append(specs, Spec{URL: u, Pin: r.Pinned[i], later: true})
		}
		if _, err := m.warm(&warmup{id: r.ID, created: r.Created, kept: true, notKept: r.LeftOut}, specs); err != nil {
			m.cfg.Logger.Warn("a warm-up does not go on", "warmup", r.ID, "error", err)
			continue
		}
		m.cfg.Logger.Info("a warm-up goes on", "warmup", r.ID, "objects", len(specs))
		if r.LeftOut > 0 {
			m.cfg.Logger.Warn("a warm-up goes on without URLs that may have held credentials, which are kept nowhere; order them again",
				"warmup", r.ID, "left_out", r.LeftOut)
		}
	}
}
