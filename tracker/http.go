package tracker

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"shatabdi/tracker/wire"
)

// scratch is the memory one request needs, reused by later ones.
type scratch struct {
	peers   []peer
	resp    wire.Response
	compact wire.Compact
	hashes  []wire.InfoHash
	swarms  []wire.Swarm
	body    []byte
}

// notYet is when to come back to a tracker whose knowledge may only be late: the
// shortest that BEP 31 can say.
const notYet = time.Minute

// maxScrape bounds the swarms of one scrape.
const maxScrape = 128

// ServeHTTP answers /announce and /scrape. A refusal is a bencoded failure with
// status 200, as BEP 3 has it.
func (t *Tracker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Not HEAD either: an announce changes something. With POST it is for more
	// swarms than one.
	if r.Method != http.MethodGet && (r.Method != http.MethodPost || r.URL.Path != "/announce") {
		w.Header().Set("Allow", "GET")
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case "/announce":
		t.serveAnnounce(w, r, true)
	case "/scrape":
		s := t.scratch.Get().(*scratch)
		defer t.scratch.Put(s)
		t.metrics.scrapes[t.scrape(w, r, s)].Inc()
	default:
		http.NotFound(w, r)
	}
}

// serveAnnounce reports whether it has answered: else it would have to wait, and
// nothing has happened.
func (t *Tracker) serveAnnounce(w http.ResponseWriter, r *http.Request, mayWait bool) (answered bool) {
	s := t.scratch.Get().(*scratch)
	defer t.scratch.Put(s)
	event, outcome := t.announce(w, r, s, mayWait)
	if outcome == outcomeLater {
		return false
	}
	t.metrics.announces[event][outcome].Inc()
	return true
}

func (t *Tracker) announce(w http.ResponseWriter, r *http.Request, s *scratch, mayWait bool) (wire.Event, outcome) {
	if len(r.URL.RawQuery) > t.cfg.MaxQuery {
		http.Error(w, "query too long", http.StatusRequestURITooLong)
		return wire.Update, outcomeBad
	}
	req, err := wire.ParseRequest(r.URL.RawQuery)
	if err != nil {
		return wire.Update, t.refuse(w, r, s, outcomeBad, err.Error(), 0)
	}
	if leading, leader := t.cfg.Leading(); !leading {
		return req.Event, t.redirect(w, r, s, leader)
	}
	now := t.cfg.Now()
	who, outcome, reason := t.identify(&req, r, now, mayWait)
	switch outcome {
	case outcomeOK:
	case outcomeLater:
		return req.Event, outcome
	default:
		retry := time.Duration(0)
		if outcome == outcomeUnknownNode {
			retry = notYet // its record may not have reached this node
		}
		return req.Event, t.refuse(w, r, s, outcome, reason, retry)
	}

	s.hashes = s.hashes[:0]
	if r.Method == http.MethodPost {
		if s.hashes, err = t.others(s.hashes, w, r, who, &req); err != nil {
			return req.Event, t.refuse(w, r, s, outcomeBad, err.Error(), 0)
		}
	}
	a := announcement{
		infohash: req.InfoHash, peer: peer{who, req.PeerID, who.spot(), now.UnixNano()}, event: req.Event,
		seeder: req.Left == 0, blank: mayKnowNothing(who, &req), want: t.want(&req), rnd: t.cfg.Rand(),
	}
	var state wire.Swarm
	var result placed
	s.peers, state, result = t.store.announce(s.peers[:0], &a)
	switch result {
	case tooManySwarms:
		return req.Event, t.refuse(w, r, s, outcomeUnknownSwarm, "too many swarms", notYet)
	case notOpen:
		return req.Event, t.refuse(w, r, s, outcomeUnknownSwarm, "unknown info_hash", notYet)
	}
	t.seeds(s.hashes, a)
	s.resp = wire.Response{
		Interval: t.interval(a.rnd), MinInterval: t.cfg.MinInterval,
		Complete: state.Complete, Incomplete: state.Incomplete, Downloaded: state.Downloaded,
		TrackerID: t.cfg.ID, Peers: s.resp.Peers[:0],
	}
	if result == swarmFull {
		outcome, s.resp.Warning = outcomeFull, "the swarm is full, others will not hear of you"
	}
	if req.Dictionary {
		s.resp.Peers = t.addresses(s.resp.Peers, s.peers, now)
		s.body = s.resp.AppendDictionary(s.body[:0], !req.NoPeerID)
	} else {
		s.compact.Reset()
		t.compact(&s.compact, s.peers, now)
		s.body = s.resp.AppendCompact(s.body[:0], &s.compact)
	}
	reply(w, s.body)
	return req.Event, outcome
}

// identify says who announces: a member or an outsider, or why neither.
func (t *Tracker) identify(req *wire.Request, r *http.Request, now time.Time, mayWait bool) (identity, outcome, string) {
	if req.Node != "" {
		if !t.cfg.Authorize(req.Node, req.Key) {
			return identity{}, outcomeUnauthorized, "the key does not prove the node"
		}
		m := t.members.get(req.Node, now)
		if m == nil {
			// Only a fresh answer refuses an announce: the node may be a moment old.
			if !mayWait {
				return identity{}, outcomeLater, ""
			}
			t.cfg.Await()
			m = t.members.get(req.Node, now)
		}
		if m == nil {
			return identity{}, outcomeUnknownNode, "unknown node"
		}
		return identity{member: m}, outcomeOK, ""
	}
	ip := t.cameFrom(r)
	if !ip.IsValid() || !t.cfg.AllowOutside(ip) {
		return identity{}, outcomeOutsider, "only members may announce from there"
	}
	if req.Port == 0 {
		return identity{}, outcomeBad, "port: missing"
	}
	return outsider(netip.AddrPortFrom(ip, req.Port)), outcomeOK, ""
}

// cameFrom is the address of who asks: the connection's, or what trusted proxies
// say, of whom each appends whom it has it from.
func (t *Tracker) cameFrom(r *http.Request) netip.Addr {
	at, _ := netip.ParseAddrPort(r.RemoteAddr) // invalid: nobody's
	ip := at.Addr().Unmap().WithZone("")
	var via []string
	for _, line := range r.Header["X-Forwarded-For"] {
		via = append(via, strings.Split(line, ",")...)
	}
	for _, said := range slices.Backward(via) {
		if !ip.IsValid() || !t.cfg.TrustedProxy(ip) {
			return ip
		}
		from, _ := netip.ParseAddr(strings.TrimSpace(said)) // likewise
		ip = from.Unmap().WithZone("")
	}
	return ip
}

// mayKnowNothing reports whether a peer says that nothing is left for it because it
// does not know yet what there is: aria2 does so when it begins with a magnet, and
// as a seeder it would hear of no other.
func mayKnowNothing(who identity, req *wire.Request) bool {
	return who.member == nil && req.Event == wire.Started
}

// want returns how many peers to give.
func (t *Tracker) want(req *wire.Request) int {
	switch {
	case req.NumWant < 0 || req.Event == wire.Stopped:
		return 0
	case req.NumWant == 0:
		return t.cfg.NumWant
	}
	return min(req.NumWant, t.cfg.MaxNumWant)
}

// interval takes up to 10 % off: after a change of leader all peers announce at
// once, and should not do so for ever.
func (t *Tracker) interval(rnd uint64) time.Duration {
	spread := t.cfg.Interval / 10
	if spread <= 0 {
		return t.cfg.Interval
	}
	return t.cfg.Interval - time.Duration(rnd%uint64(spread))
}

// addresses appends where the peers are. One of a member that is just gone has
// no address, so there may be fewer peers than were picked.
func (t *Tracker) addresses(dst []wire.Peer, peers []peer, now time.Time) []wire.Peer {
	for i := range peers {
		p := &peers[i]
		if p.member == nil {
			dst = append(dst, wire.Peer{ID: p.id, Addr: p.addr()})
			continue
		}
		addrs, _ := t.members.addrs(p.member, now)
		for _, a := range addrs {
			dst = append(dst, wire.Peer{ID: p.id, Addr: a})
		}
	}
	return dst
}

// compact adds the same in the shorter form.
func (t *Tracker) compact(c *wire.Compact, peers []peer, now time.Time) {
	for i := range peers {
		p := &peers[i]
		if p.member == nil {
			c.Add(&p.ip, p.port)
			continue
		}
		addrs, _ := t.members.addrs(p.member, now)
		for _, a := range addrs {
			ip := a.Addr().As16()
			c.Add(&ip, a.Port())
		}
	}
}

// scrape tells the state of the swarms that are named. Who names none gets
// none: a list of all would give the infohashes away, which are capabilities.
func (t *Tracker) scrape(w http.ResponseWriter, r *http.Request, s *scratch) outcome {
	if len(r.URL.RawQuery) > t.cfg.MaxQuery {
		http.Error(w, "query too long", http.StatusRequestURITooLong)
		return outcomeBad
	}
	hashes, err := wire.AppendScrape(s.hashes[:0], r.URL.RawQuery, maxScrape)
	if err != nil {
		return t.refuse(w, r, s, outcomeBad, err.Error(), 0)
	}
	s.hashes = hashes
	if leading, leader := t.cfg.Leading(); !leading {
		if leader != "" {
			if leader, err = wire.ScrapeURL(leader); err != nil {
				leader = ""
			}
		}
		return t.redirect(w, r, s, leader)
	}
	s.swarms = s.swarms[:0]
	for _, h := range hashes {
		if state, ok := t.store.stat(h); ok {
			s.swarms = append(s.swarms, state)
		}
	}
	s.body = wire.AppendSwarms(s.body[:0], s.swarms)
	reply(w, s.body)
	return outcomeOK
}

// redirect sends the peer to the leader with the same query. The method stays,
// and nobody may remember it: 307.
func (t *Tracker) redirect(w http.ResponseWriter, r *http.Request, s *scratch, leader string) outcome {
	if leader == "" {
		return t.refuse(w, r, s, outcomeNoLeader, "no tracker leads now", notYet)
	}
	target, err := wire.AddQuery(leader, r.URL.RawQuery)
	if err != nil {
		t.log.Warn("the leader's announce URL is malformed", "url", leader)
		return t.refuse(w, r, s, outcomeNoLeader, "no tracker leads now", notYet)
	}
	w.Header()["Location"] = []string{target}
	w.Header()["Cache-Control"] = noStore
	w.WriteHeader(http.StatusTemporaryRedirect)
	return outcomeRedirected
}

// refuse answers with a failure. retry 0: no advice.
func (t *Tracker) refuse(w http.ResponseWriter, r *http.Request, s *scratch, o outcome, reason string, retry time.Duration) outcome {
	t.log.Debug("refused", "peer", r.RemoteAddr, "outcome", outcomeNames[o], "reason", reason)
	f := wire.Failure{Reason: reason, RetryIn: retry}
	s.body = f.Append(s.body[:0])
	reply(w, s.body)
	return o
}

var (
	textPlain = []string{"text/plain"}
	noStore   = []string{"no-store"}
)

// reply writes the headers as values made once; Set would allocate them anew.
func reply(w http.ResponseWriter, body []byte) {
	h := w.Header()
	h["Content-Type"] = textPlain
	h["Cache-Control"] = noStore
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.Write(body)
}
