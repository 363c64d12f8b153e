package tracker

import (
	"errors"
	"net/http"
	"time"

	"shatabdi/tracker/wire"
)

// A node holds thousands of objects that nobody wants just now. To announce each
// of them costs the leader 22 µs of CPU every time, most of it HTTP's; so a
// member may announce the swarms it seeds in one POST, with their infohashes as
// the body.

// othersTimeout bounds how long that body may take.
const othersTimeout = 5 * time.Second

var (
	errNotMember = errors.New("only members may announce several swarms at once")
	errNotSeeder = errors.New("only seeders may announce several swarms at once")
)

// others reads which other swarms the peer seeds.
func (t *Tracker) others(dst []wire.InfoHash, w http.ResponseWriter, r *http.Request, who identity, req *wire.Request) ([]wire.InfoHash, error) {
	switch {
	case who.member == nil:
		return nil, errNotMember
	case req.Left != 0 || req.Event == wire.Stopped:
		return nil, errNotSeeder
	}
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(othersTimeout)) // where it cannot be set the server's own holds
	return wire.ReadOthers(dst, r.Body)
}

// seeds enters the peer of a as a seeder of others. What is too much is left out.
func (t *Tracker) seeds(others []wire.InfoHash, a announcement) {
	a.event, a.want = wire.Update, 0
	for _, h := range others {
		a.infohash = h
		t.store.announce(nil, &a)
	}
}
