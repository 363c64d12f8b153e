package download

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// What is ordered durably goes on after a restart. The store has a record of each
// such download from before its first byte until it is over. Credentials are never
// in one: who stops the daemon and looks at its disk must not find them.

// Store keeps records; *index.Index is one.
type Store interface {
	SetSetting(name string, value []byte) error
	DropSetting(name string) error
	EachSetting(prefix string, f func(name string, value []byte)) error
}

// inStore begins the names of records.
const inStore = "download/"

// record is what is known of a download after a restart.
type record struct {
	ID          string      `json:"id"`
	Created     time.Time   `json:"created"`
	URL         string      `json:"url"`
	Destination string      `json:"destination,omitempty"`
	Temp        string      `json:"temp,omitempty"` // what was written of it, in its directory
	SHA256      string      `json:"sha256,omitempty"`
	Limit       int64       `json:"limit,omitempty"`
	Priority    string      `json:"priority,omitempty"`
	Header      http.Header `json:"header,omitempty"`
	Secret      bool        `json:"secret,omitempty"` // there were fields that are not kept
	Pin         bool        `json:"pin,omitempty"`
	Paused      bool        `json:"paused,omitempty"`
}

// harmless are the request's fields that hold no secrets. Of all others nobody knows.
var harmless = []string{"Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Pragma", "User-Agent"}

// errSecret is why a download does not go on.
var errSecret = errors.New("the daemon was restarted, and its headers, which may be credentials, were kept nowhere; order it again")

// keepLocked records d as it stands.
func (m *Downloads) keepLocked(d *download) error {
	if m.cfg.Store == nil || !d.spec.Durable {
		return nil
	}
	r := record{
		ID: d.id, Created: d.created, URL: d.spec.URL, Destination: d.spec.Destination, SHA256: d.spec.SHA256,
		Limit: d.spec.Limit, Priority: d.spec.Priority, Header: d.spec.Header, Pin: d.spec.Pin, Paused: d.state == Paused,
	}
	if d.file != nil {
		r.Temp = d.file.temp
	}
	for name := range d.spec.Header {
		if !slices.Contains(harmless, http.CanonicalHeaderKey(name)) {
			r.Header, r.Secret = nil, true
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return m.cfg.Store.SetSetting(inStore+d.id, b)
}

// keptLocked is keepLocked where the download goes on all the same.
func (m *Downloads) keptLocked(d *download) {
	if err := m.keepLocked(d); err != nil {
		m.cfg.Logger.Warn("a download is not remembered as it is", "download", d.id, "error", err)
	}
}

// overLocked drops the record of one that will not go on.
func (m *Downloads) overLocked(d *download) {
	if d.spec.Durable {
		m.drop(inStore + d.id)
	}
}

func (m *Downloads) drop(name string) {
	if m.cfg.Store == nil {
		return
	}
	if err := m.cfg.Store.DropSetting(name); err != nil {
		m.cfg.Logger.Warn("a download that is over is still remembered", "name", name, "error", err)
	}
}

// Restore brings back what an earlier run of the daemon did not finish, under the
// same ids, from their beginning: what the cache has of them it need not fetch. What
// was paused stays paused. It is called once, before everything else; until ready
// has returned none of them runs.
func (m *Downloads) Restore(ready func(context.Context)) {
	m.ready = ready
	var all []record
	err := m.cfg.Store.EachSetting(inStore, func(name string, value []byte) {
		var r record
		if err := json.Unmarshal(value, &r); err != nil || inStore+r.ID != name {
			m.cfg.Logger.Warn("what is remembered of a download is unreadable", "name", name, "error", err)
			return
		}
		all = append(all, r)
	})
	if err != nil {
		m.cfg.Logger.Error("the downloads of before", "error", err)
	}
	for _, r := range all {
		m.restore(r)
	}
}

// restore brings one back. What cannot go on is listed, with the reason.
func (m *Downloads) restore(r record) {
	s := Spec{
		URL: r.URL, Destination: r.Destination, SHA256: r.SHA256, Limit: r.Limit, Priority: r.Priority,
		Header: r.Header, Pin: r.Pin, Durable: true, again: &r,
	}
	if r.Temp != "" { // of a daemon that was killed
		if root, _, err := Within(m.cfg.Directories, r.Destination); err == nil {
			root.Remove(r.Temp)
			root.Close()
		}
	}
	err := errSecret
	if !r.Secret {
		_, err = m.Create(s)
	}
	if err == nil {
		m.cfg.Logger.Info("a download goes on", "download", r.ID, "paused", r.Paused)
		return
	}
	m.cfg.Logger.Warn("a download does not go on", "download", r.ID, "error", err)
	m.mu.Lock()
	defer m.mu.Unlock()
	d := &download{
		id: r.ID, spec: s, created: r.Created, get: &Get{URL: s.URL, total: -1}, state: Failed,
		err: fmt.Errorf("not resumed: %w", err), ended: time.Now(), lost: true, over: make(chan struct{}),
	}
	close(d.over)
	m.all[d.id] = d
	m.overLocked(d)
}
