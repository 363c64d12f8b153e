package clock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Path is where a node's tracker listener tells the cluster's time.
const Path = "/clock"

// answer is what the leader tells.
type answer struct {
	Node  string        `json:"node"`
	Scale string        `json:"scale"`
	Time  int64         `json:"time"`  // of the cluster, in nanoseconds since 1970
	Doubt time.Duration `json:"doubt"` // in nanoseconds
}

var errNotLeader = errors.New("another node answers in its place")

// ServeHTTP tells the time, while this node leads.
func (c *Clock) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	_, _, self := c.cfg.Leader()
	c.mu.Lock()
	now := c.look()
	r, leads := c.readLocked(now), c.leads
	c.mu.Unlock()
	if !self || !leads {
		http.Error(w, "this node's clock is not the cluster's", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(answer{c.cfg.Node, r.Scale, now.shows.Add(r.Offset).UnixNano(), r.Doubt})
}

// asker asks leaders, over a connection that it keeps only while it measures.
type asker struct{ web http.Client }

func newAsker() *asker {
	return &asker{http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{MaxIdleConns: 1}}}
}

func (a *asker) rest() { a.web.CloseIdleConnections() }

// time asks the node whose tracker has that announce URL.
func (a *asker) time(ctx context.Context, announce string) (told answer, err error) {
	u, err := url.Parse(announce)
	if err != nil {
		return answer{}, err
	}
	u.Path, u.RawQuery = Path, ""
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return answer{}, err
	}
	res, err := a.web.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("answers %s", res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 4<<10)).Decode(&told); err != nil {
		return answer{}, err
	}
	io.Copy(io.Discard, io.LimitReader(res.Body, 4<<10)) // so that the connection is kept
	if told.Scale == "" || told.Doubt < 0 || told.Doubt > time.Hour {
		return answer{}, errors.New("answers without a time")
	}
	return told, nil
}
