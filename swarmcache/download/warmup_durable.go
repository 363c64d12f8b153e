package download

import (
	"encoding/json"
	"errors"
	"time"
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

// maxKept bounds all of them together. A warm-up begins again with all that it has
// until its last object is here, and after a restart all of them do at once: no more
// is taken on than one run can hold.
var maxKept = keptSize{urls: 5 * maxWaiting, bytes: 4 * maxRecord}

// keptSize is how much records hold.
type keptSize struct{ urls, bytes int }

var (
	// ErrTooLong: the store does not take so many URLs at once.
	ErrTooLong = errors.New("the warm-up is too long; order its parts")
	// ErrTooManyKept: those that are not over yet hold as much as may be.
	ErrTooManyKept = errors.New("the warm-ups that are not over hold too much: wait until some are, or cancel some (`shatabdi warmups --cancel`)")
)

// WarmDurably is Warm of this node's own, and goes on after a restart. URLs with a
// query that may be a credential are kept nowhere, and do not: it then says how many.
func (m *Downloads) WarmDurably(specs []Spec) (Warmup, error) {
	w := &warmup{id: NewID(), created: time.Now(), kept: m.cfg.Store != nil}
	if w.kept {
		r := warmRecord{ID: w.id, Created: w.created}
		for _, s := range specs {
			if _, secret := Public(s.URL); secret != "" {
				r.LeftOut++
				continue
			}
			r.URLs, r.Pinned = append(r.URLs, s.URL), append(r.Pinned, s.Pin)
		}
		if err := m.keepWarmup(w, r); err != nil {
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

// keepWarmup writes the record of one, if there is room for it.
func (m *Downloads) keepWarmup(w *warmup, r warmRecord) error {
	b, err := json.Marshal(r)
	switch {
	case err != nil:
		return err
	case len(b) > maxRecord:
		return ErrTooLong
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	size := keptSize{len(r.URLs), len(b)}
	if m.kept.urls+size.urls > maxKept.urls || m.kept.bytes+size.bytes > maxKept.bytes {
		return ErrTooManyKept
	}
	if err := m.cfg.Store.SetSetting(warmInStore+w.id, b); err != nil {
		return err
	}
	m.countLocked(w, size)
	return nil
}

// countLocked notes what the record of w holds now.
func (m *Downloads) countLocked(w *warmup, size keptSize) {
	m.kept.urls += size.urls - w.size.urls
	m.kept.bytes += size.bytes - w.size.bytes
	w.size = size
}

// warmOverLocked drops the record of one that will not go on.
func (m *Downloads) warmOverLocked(w *warmup) error {
	if !w.kept {
		return nil
	}
	if err := m.cfg.Store.DropSetting(warmInStore + w.id); err != nil {
		return err
	}
	w.kept = false
	m.countLocked(w, keptSize{})
	return nil
}

// restoreWarmups begins again with what an earlier run did not finish.
func (m *Downloads) restoreWarmups() {
	var all []warmRecord
	sizes := map[string]keptSize{}
	err := m.cfg.Store.EachSetting(warmInStore, func(name string, value []byte) {
		var r warmRecord
		if err := json.Unmarshal(value, &r); err != nil || warmInStore+r.ID != name || len(r.URLs) != len(r.Pinned) {
			m.cfg.Logger.Warn("what is remembered of a warm-up is unreadable", "name", name, "error", err)
			return
		}
		all = append(all, r)
		sizes[r.ID] = keptSize{len(r.URLs), len(value)}
	})
	if err != nil {
		m.cfg.Logger.Error("the warm-ups of before", "error", err)
	}
	for _, r := range all {
		var specs []Spec
		for i, u := range r.URLs {
			specs = append(specs, Spec{URL: u, Pin: r.Pinned[i], later: true})
		}
		w := &warmup{id: r.ID, created: r.Created, kept: true, notKept: r.LeftOut}
		m.mu.Lock()
		m.countLocked(w, sizes[r.ID])
		m.mu.Unlock()
		if _, err := m.warm(w, specs); err != nil {
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
