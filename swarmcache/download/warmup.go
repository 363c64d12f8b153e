package download

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"shatabdi/policy"
)

// maxManifest bounds a list of URLs, in bytes.
const maxManifest = 4 << 20

// warmup is a list of downloads for the cache alone.
type warmup struct {
	id        string
	created   time.Time
	part      bool        // its id was given: it is a part of something larger
	downloads []*download // until it is over
	final     *Warmup     // then
	ended     time.Time   // when that was found
	kept      bool        // it has a record, and goes on after a restart
	size      keptSize    // of that
	notKept   int         // of those of before a restart
}

// Warmup is a list of objects that the cache is to have, as far as it has come.
type Warmup struct {
	ID        string
	Created   time.Time
	Part      bool // of something larger, which gave it its id
	Over      bool
	Objects   int
	Done      int
	Passed    int // of those done: the response passed through, too small for the cache or not to be stored
	Failed    int
	NotKept   int // when the daemon stopped: their URLs may have held credentials
	Bytes     int64
	Total     int64 // of those whose length is known
	From      Sources
	Failures  []Failure // the first ones
	Remaining int
}

// Failure is an object that could not be had.
type Failure struct {
	URL string
	Err error
}

// maxFailures are shown.
const maxFailures = 20

// Partial says that it is over without everything that was ordered.
func (w Warmup) Partial() bool { return w.Over && w.Failed+w.NotKept > 0 }

// Err says that not everything could be had; nil: it could, or is coming.
func (w Warmup) Err() error {
	if w.Failed == 0 {
		return nil
	}
	first, _ := Public(w.Failures[0].URL)
	return fmt.Errorf("%d of %d objects: %s: %w", w.Failed, w.Objects, first, w.Failures[0].Err)
}

// ReadList reads URLs, one a line; # begins a comment. What each stands for is
// resolve's to say; nil: itself.
func ReadList(r io.Reader, resolve func(string) string) (urls []string, err error) {
	limited := &io.LimitedReader{R: r, N: maxManifest + 1}
	for lines := bufio.NewScanner(limited); ; {
		if !lines.Scan() {
			err = lines.Err()
			break
		}
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if resolve != nil {
			line = resolve(line)
		}
		if err := CheckURL(line); err != nil {
			return nil, err
		}
		urls = append(urls, line)
	}
	if limited.N <= 0 {
		return nil, fmt.Errorf("the list is longer than %d bytes", maxManifest)
	}
	return urls, err
}

// CheckURL says what is wrong with a URL to download from, and no secrets of it.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme == "", u.Opaque != "", u.User != nil, u.Host == "" && (u.Scheme != "file" || len(u.Path) < 2):
		shown, _ := Public(raw)
		if scheme, rest, ok := strings.Cut(shown, "://"); ok {
			authority, path, _ := strings.Cut(rest, "/")
			shown = scheme + "://" + authority[strings.LastIndexByte(authority, '@')+1:] + "/" + path
		}
		return fmt.Errorf("%q is no absolute URL, such as http://HOST/PATH, without a user", shown)
	}
	return nil
}

// Public is a URL without a query that may be a credential, and that.
func Public(raw string) (public, secret string) {
	public, query, _ := strings.Cut(raw, "?")
	if policy.Signed(query) {
		return public, query
	}
	return raw, ""
}

// Manifest gets a list of URLs.
func (m *Downloads) Manifest(ctx context.Context, from string) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	res, err := (&http.Client{Transport: m.cfg.Transport}).Do(req)
	if err != nil {
		return nil, unnamed(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, &StatusError{res.StatusCode, textOf(res)}
	}
	return ReadList(res.Body, m.cfg.Resolve)
}

// Expand tells what urls stand for, all of it to be pinned or not.
func (m *Downloads) Expand(ctx context.Context, urls []string, pin bool) (all []Spec, err error) {
	for _, u := range urls {
		var some []Spec
		if m.cfg.List != nil {
			if some, err = m.cfg.List(ctx, u); err != nil {
				return nil, err
			}
		}
		if some == nil {
			some = []Spec{{URL: u}}
		}
		for _, s := range some {
			s.Pin = pin
			all = append(all, s)
		}
	}
	return all, nil
}

// Warm makes the cache have what is expanded, each object once. Its id is a new
// one, unless it is given.
func (m *Downloads) Warm(id string, specs []Spec) (Warmup, error) {
	return m.warm(&warmup{id: cmp.Or(id, NewID()), part: id != "", created: time.Now()}, specs)
}

func (m *Downloads) warm(w *warmup, specs []Spec) (Warmup, error) {
	known := map[string]bool{}
	for _, s := range specs {
		if known[s.URL] {
			continue
		}
		known[s.URL] = true
		st, err := m.Create(s)
		m.mu.Lock()
		d := m.all[st.ID]
		m.mu.Unlock()
		if err != nil {
			for _, d := range w.downloads {
				m.Cancel(d.id)
			}
			return Warmup{}, err
		}
		if d != nil { // else it was canceled already
			w.downloads = append(w.downloads, d)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.warmups[w.id] = w
	m.forgetWarmupsLocked()
	return m.warmupLocked(w), nil
}

// maxWarmups are remembered, and all that are not over, or were not lastSeen ago: who
// follows one must get to know how it ended.
const (
	maxWarmups = 100
	lastSeen   = time.Minute
)

func (m *Downloads) forgetWarmupsLocked() {
	for _, id := range m.warmupIDsLocked() {
		if len(m.warmups) <= maxWarmups {
			return
		}
		if w := m.warmups[id]; m.warmupLocked(w).Over && time.Since(w.ended) >= lastSeen {
			delete(m.warmups, id)
		}
	}
}

func (m *Downloads) warmupIDsLocked() (ids []string) {
	for id := range m.warmups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// CancelWarmup ends what is not done yet of a warm-up, and forgets it. What the
// cache has it keeps.
func (m *Downloads) CancelWarmup(id string) error {
	m.mu.Lock()
	w := m.warmups[id]
	if w == nil {
		m.mu.Unlock()
		return ErrNotFound
	}
	if err := m.warmOverLocked(w); err != nil { // it would be back after a restart
		m.mu.Unlock()
		return err
	}
	delete(m.warmups, id)
	var going []string
	for _, d := range w.downloads {
		if d.ended.IsZero() {
			going = append(going, d.id)
		}
	}
	m.changedLocked()
	m.mu.Unlock()
	for _, id := range going {
		m.Cancel(id)
	}
	return nil
}

// Warmups tells of all that are remembered, in the order of their making.
func (m *Downloads) Warmups() []Warmup {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Warmup
	for _, id := range m.warmupIDsLocked() {
		all = append(all, m.warmupLocked(m.warmups[id]))
	}
	return all
}

// Warmup tells of one.
func (m *Downloads) Warmup(id string) (Warmup, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.warmups[id]
	if w == nil {
		return Warmup{}, ErrNotFound
	}
	return m.warmupLocked(w), nil
}

// Warmed returns when a warm-up is over, or ctx is, or the daemon stops.
func (m *Downloads) Warmed(ctx context.Context, id string) (Warmup, error) {
	for {
		m.mu.Lock()
		w, changed := m.warmups[id], m.changed
		if w == nil {
			m.mu.Unlock()
			return Warmup{}, ErrNotFound
		}
		st, closed := m.warmupLocked(w), m.closed
		m.mu.Unlock()
		switch {
		case st.Over:
			return st, nil
		case closed:
			return st, errClosing
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return st, context.Cause(ctx)
		}
	}
}

func (m *Downloads) warmupLocked(w *warmup) Warmup {
	if w.final != nil {
		return *w.final
	}
	st := Warmup{ID: w.id, Created: w.created, Part: w.part, Objects: len(w.downloads), NotKept: w.notKept}
	for _, d := range w.downloads {
		p := d.get.Progress()
		st.Bytes += p.Bytes
		st.Total += max(p.Total, 0)
		st.From.Local += p.From.Local
		st.From.Peers += p.From.Peers
		st.From.Origin += p.From.Origin
		switch {
		case d.state == Done:
			st.Done++
			if p.Object == "" {
				st.Passed++
			}
		case !d.ended.IsZero() && d.err != errClosing: // then it may go on
			st.Failed++
			if len(st.Failures) < maxFailures {
				st.Failures = append(st.Failures, Failure{d.spec.URL, d.err})
			}
		default:
			st.Remaining++
		}
	}
	if st.Over = st.Remaining == 0; st.Over {
		w.final, w.downloads, w.ended = &st, nil, time.Now()
		if err := m.warmOverLocked(w); err != nil {
			m.cfg.Logger.Warn("a warm-up that is over is still remembered", "warmup", w.id, "error", err)
		}
	}
	return st
}

// warmedLocked ends the warm-ups that have a record and of which nothing is left to
// do, whether anybody asks or not.
func (m *Downloads) warmedLocked() {
	for _, w := range m.warmups {
		if w.kept && !w.remainsLocked() {
			m.warmupLocked(w)
		}
	}
}

// remainsLocked reports whether anything of w is to come. The last ones began last.
func (w *warmup) remainsLocked() bool {
	for _, d := range slices.Backward(w.downloads) {
		if d.ended.IsZero() {
			return true
		}
	}
	return false
}
