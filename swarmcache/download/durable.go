package download

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"syscall"
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
	Secret      bool        `json:"secret,omitempty"` // there were fields, or a query, that are not kept
	Pin         bool        `json:"pin,omitempty"`
	Paused      bool        `json:"paused,omitempty"`

	// Of what was written, when it was whole and before it took its name.
	Inode  uint64 `json:"inode,omitempty"`
	Length int64  `json:"length,omitempty"`
}

// harmless are the request's fields that hold no secrets. Of all others nobody knows.
var harmless = []string{"Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Pragma", "User-Agent"}

// errSecret is why a download does not go on.
var errSecret = errors.New("the daemon was restarted, and its headers or its query, which may be credentials, were kept nowhere; order it again")

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
		r.Temp, r.Inode, r.Length = d.file.temp, d.file.inode, d.file.length
	}
	if d.there {
		r.Inode, r.Length = d.spec.again.Inode, d.spec.again.Length
	}
	if public, secret := Public(r.URL); secret != "" {
		r.URL, r.Secret = public, true
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
	m.restoreWarmups()
}

// restore brings one back. What cannot go on now is listed, with the reason, and may
// be resumed; what never can is forgotten with this run.
func (m *Downloads) restore(r record) {
	s := Spec{
		URL: r.URL, Destination: r.Destination, SHA256: r.SHA256, Limit: r.Limit, Priority: r.Priority,
		Header: r.Header, Pin: r.Pin, Durable: true, again: &r,
	}
	m.sweep(&r)
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
		err: fmt.Errorf("not resumed: %w", err), ended: time.Now(), over: make(chan struct{}),
	}
	close(d.over)
	m.all[d.id] = d
	if d.lost = r.Secret || errors.Is(err, ErrOutside); d.lost {
		m.overLocked(d)
	} else {
		d.unbegun = true
	}
}

// againLocked resumes what could not go on when the daemon started.
func (m *Downloads) againLocked(d *download) (Status, error) {
	r := *d.spec.again
	r.Paused = false
	m.sweep(&r)
	s := d.spec
	s.again = &r
	st, err := m.createLocked(s)
	if err != nil {
		d.err = fmt.Errorf("not resumed: %w", err)
		return m.statusLocked(d), err
	}
	return st, nil
}

// sweep removes what a daemon that was killed had written of a file.
func (m *Downloads) sweep(r *record) {
	if r.Temp == "" {
		return
	}
	if root, _, err := Within(m.cfg.Directories, r.Destination); err == nil {
		root.Remove(r.Temp)
		root.Close()
	}
}

// finished returns what reads the destination, if it seems that the daemon was killed
// when all was done but to say so: it is the file that was written, or one that may
// have the digest. An object was pinned before that.
func (m *Downloads) finished(r *record) http.RoundTripper {
	root, name, err := Within(m.cfg.Directories, r.Destination)
	if err != nil {
		return nil
	}
	defer root.Close()
	info, err := root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	ours := ok && r.Inode != 0 && uint64(stat.Ino) == r.Inode && info.Size() == r.Length
	if !ours && (r.SHA256 == "" || r.Pin) {
		return nil
	}
	return onDisk{m.cfg.Directories, r.Destination}
}

// onDisk answers with a file. It is read as what comes from elsewhere is: as a
// download that may be canceled, and with its digest checked.
type onDisk struct {
	dirs []string
	path string
}

func (o onDisk) RoundTrip(r *http.Request) (*http.Response, error) {
	root, name, err := Within(o.dirs, o.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: info.Size(), Body: f, Request: r}, nil
}
