package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"shatabdi/swarmcache/api"
)

// What doctor finds. A fault keeps the daemon from its work; a warning may.
const (
	soundness = "ok"
	warning   = "warning"
	fault     = "fault"
	unchecked = "not checked"
)

// finding is what one examination found.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"`
	Text  string `json:"text,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

// diagnosis is all of them.
type diagnosis struct {
	Running  bool      `json:"daemon_running"`
	Findings []finding `json:"findings"`
}

// doctor examines this machine for a daemon with that configuration, which may run.
type doctor struct {
	cfg    *loaded
	daemon *client
	env    map[string]string // http_proxy and its like

	status *api.Status // nil: no daemon answers
	web    *http.Client
	out    diagnosis
}

// skew is how far clocks may be apart: the age of an object is counted by them.
const skew = 5 * time.Second

func (d *doctor) examine(ctx context.Context) diagnosis {
	d.web = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, w := range d.cfg.warnings {
		d.find("configuration", warning, w, "")
	}
	d.meet(ctx)
	d.ports(ctx)
	d.disk()
	d.etcd(ctx)
	d.peers(ctx)
	d.loop(ctx)
	d.environment()
	d.openness()
	return d.out
}

func (d *doctor) find(check, state, text, hint string) {
	d.out.Findings = append(d.out.Findings, finding{check, state, text, hint})
}

// judge finds a fault if there is an error.
func (d *doctor) judge(check string, err error, text, hint string) {
	if err != nil {
		var ce *cliError
		if errors.As(err, &ce) {
			hint = cmp.Or(ce.hint, hint)
		}
		d.find(check, fault, err.Error(), hint)
		return
	}
	d.find(check, soundness, text, "")
}

// address is where this machine's daemon is asked: on its socket, which wants no token,
// if it answers there.
func (d *doctor) address(ctx context.Context) string {
	socket := filepath.Join(d.cfg.DataDir, "admin.sock")
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return "http://" + dialable(d.cfg.Admin.Listen)
	}
	conn.Close()
	return "unix:" + socket
}

// token is the file of the daemon's token, if it can be read.
func (d *doctor) token() string {
	file := d.cfg.Admin.TokenFile
	if file == "" {
		return ""
	}
	if _, err := readToken(file); err != nil {
		d.judge("admin: token", err, "", "")
		return ""
	}
	return file
}

// meet asks the daemon how it is.
func (d *doctor) meet(ctx context.Context) {
	var s api.Status
	err := d.daemon.get(ctx, "status", nil, &s)
	var ce *cliError
	switch {
	case errors.As(err, &ce) && ce.code == exitUnreachable:
		d.find("daemon", unchecked, "none answers on "+d.daemon.name, "start one with `shatabdi serve`")
		return
	case errors.As(err, new(tokenWanted)):
		d.out.Running = true
		d.find("daemon", unchecked, err.Error(), ce.hint)
		return
	case err != nil:
		d.judge("daemon", err, "", "")
		return
	}
	d.status, d.out.Running = &s, true
	for _, c := range s.Readiness.Checks {
		state := map[string]string{stateOK: soundness, stateDegraded: warning, stateWaiting: warning}[c.State]
		d.find("daemon: "+c.Name, cmp.Or(state, fault), c.Reason, "")
	}
	d.clock(s.Clock)
}

// clock is this node's beside the cluster's. Its error is corrected, but for what it
// dates itself.
func (d *doctor) clock(c *api.Clock) {
	switch text := clockText(c); {
	case c == nil:
		d.find("clock", warning, text, "does a firewall let this machine through to the leader's tracker?")
	case math.Abs(c.Offset) > skew.Seconds():
		d.find("clock", warning, text, "run a time service such as chrony on all nodes")
	default:
		d.find("clock", soundness, text, "")
	}
}

// ports can be listened on or, when the daemon runs, reached.
func (d *doctor) ports(ctx context.Context) {
	c := &d.cfg.Config
	all := [][2]string{{"proxy", c.Proxy.Listen}, {"admin", c.Admin.Listen}, {"tracker", c.Tracker.Listen}, {"peer", c.Peer.Listen}}
	if c.Etcd.Embedded() {
		for i, raw := range []string{c.Etcd.ListenClient[0], c.Etcd.ListenPeer[0]} {
			if u, err := url.Parse(raw); err == nil {
				all = append(all, [2]string{"etcd-listen-" + []string{"client", "peer"}[i], u.Host})
			}
		}
	}
	for _, a := range all {
		name, addr := a[0], a[1]
		if d.out.Running {
			d.judge("port: "+name, dial(ctx, dialable(addr)), dialable(addr)+" answers", "is the daemon started with other settings than these?")
			continue
		}
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", addr)
		if err == nil {
			ln.Close()
		} else {
			err = explainListen(err, name, strings.TrimSuffix(name, "-listen")+"-listen", addr)
		}
		d.judge("port: "+name, err, addr+" is free", "")
	}
}

// dial reports whether somebody listens there.
func dial(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", addr)
	if err == nil {
		conn.Close()
	}
	return err
}

// disk is there, can be written to and has room.
func (d *doctor) disk() {
	dir := d.cfg.DataDir
	for { // what is not there will be made
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	f, err := os.CreateTemp(dir, ".shatabdi-doctor-*")
	if err == nil {
		f.Close()
		err = os.Remove(f.Name())
	}
	d.judge("disk: writable", err, dir, "run this as the daemon's user; or choose another --data-dir")
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		d.judge("disk: space", err, "", "")
		return
	}
	switch v, err := lookAt(dir, filepath.Join(d.cfg.DataDir, "objects")); {
	case err != nil:
		d.find("disk: space", warning, err.Error(), "")
	case v.room(d.cfg.Cache) < int64(d.cfg.Cache.SwarmThreshold):
		d.find("disk: space", fault, v.noRoom(d.cfg.Cache), roomHint)
	default:
		d.find("disk: space", soundness, fmt.Sprintf("%s free, objects may take %s", size(v.available), size(v.room(d.cfg.Cache))), "")
	}
	if st.Files > 0 && st.Ffree < 1000 {
		d.find("disk: inodes", fault, fmt.Sprintf("%d left", st.Ffree), "")
	}
}

// etcd answers, and its clock agrees with ours.
func (d *doctor) etcd(ctx context.Context) {
	e := d.cfg.Etcd
	if e.Embedded() {
		if d.status == nil {
			d.find("etcd", unchecked, "the daemon runs its own", "")
			return
		}
		e.Endpoints = e.ListenClient
	}
	web := *d.web
	conf, err := etcdTLS(e)
	if err != nil {
		d.judge("etcd: certificates", err, "", "")
		return
	}
	web.Transport = &http.Transport{DisableKeepAlives: true, TLSClientConfig: conf}
	for _, endpoint := range e.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil {
			continue // Validate has refused it
		}
		if a, err := urlAddr(endpoint); err == nil && a.Addr().IsUnspecified() {
			u.Host = dialable(a.String())
		}
		d.answers(ctx, &web, "etcd: "+u.Host, u.JoinPath("/version").String(), "is it running, and does a firewall let this machine through?")
	}
}

func etcdTLS(e Etcd) (*tls.Config, error) {
	conf := &tls.Config{}
	if e.CAFile != "" {
		pem, err := os.ReadFile(e.CAFile)
		if err != nil {
			return nil, err
		}
		if conf.RootCAs = x509.NewCertPool(); !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", e.CAFile)
		}
	}
	if e.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(e.CertFile, e.KeyFile)
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

// answers asks a web server anything, and compares clocks.
func (d *doctor) answers(ctx context.Context, web *http.Client, check, target, hint string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		d.judge(check, err, "", hint)
		return
	}
	sent := time.Now()
	resp, err := web.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		d.judge(check, err, "", hint)
		return
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	took := time.Since(sent)
	d.find(check, soundness, "answers in "+took.Round(time.Millisecond).String(), "")
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		// It counts whole seconds, and was written at some time while we waited.
		ahead := sent.Sub(date.Add(time.Second))
		behind := date.Sub(sent.Add(took))
		if off := max(ahead, behind); off > skew {
			d.find(check+": clock", fault, "its clock and ours are "+off.Round(time.Second).String()+" apart", "run a time service such as chrony on both")
		} else {
			d.find(check+": clock", soundness, "", "")
		}
	}
}

// peers are reached where they say they listen, this node itself included.
func (d *doctor) peers(ctx context.Context) {
	if d.status == nil {
		d.find("peers", unchecked, "the daemon knows them", "")
		return
	}
	all, err := d.daemon.nodes(ctx)
	if err != nil {
		d.find("peers", warning, err.Error(), "")
		return
	}
	for _, n := range all {
		name := "node " + string(n.ID)
		if n.Self {
			name = "this node"
		}
		hint := "does a firewall let this machine through, and is node.advertise right there?"
		for _, at := range n.Peers {
			d.judge(name+": peers "+at.String(), dial(ctx, at.String()), "", hint)
		}
		if n.Tracker != "" {
			d.answers(ctx, d.web, name+": tracker "+strings.TrimSuffix(n.Tracker, "/announce"), n.Tracker, hint)
		}
	}
}

// loop: the proxy must not fetch from itself.
func (d *doctor) loop(ctx context.Context) {
	if d.status == nil {
		return
	}
	proxy, err := url.Parse(d.status.Proxy)
	if err != nil {
		return
	}
	web := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, Proxy: func(*http.Request) (*url.URL, error) { return proxy, nil }}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.status.Proxy+"/", nil)
	if err != nil {
		return
	}
	resp, err := web.Do(req)
	if err != nil {
		d.judge("proxy: itself", err, "", "")
		return
	}
	resp.Body.Close()
	if resp.StatusCode < 400 {
		d.find("proxy: itself", fault, "it fetches from itself: "+resp.Status, "take its own address out of --allow-destination")
		return
	}
	d.find("proxy: itself", soundness, "refuses to fetch from itself", "")
}

// environment is what programs started from here would do.
func (d *doctor) environment() {
	proxy := "http://" + dialable(d.cfg.Proxy.Listen)
	if d.status != nil {
		proxy = d.status.Proxy
	}
	hint := "`eval \"$(shatabdi env)\"` sets what programs need"
	switch set := cmp.Or(d.env["http_proxy"], d.env["HTTP_PROXY"]); {
	case set == "":
		d.find("environment: http_proxy", warning, "is not set: programs started from here do not use the proxy", hint)
	case strings.TrimSuffix(strings.TrimPrefix(set, "http://"), "/") != strings.TrimPrefix(proxy, "http://"):
		d.find("environment: http_proxy", warning, redact(set)+" is not this daemon's proxy, "+proxy, hint)
	default:
		d.find("environment: http_proxy", soundness, redact(set), "")
	}
	if set := cmp.Or(d.env["https_proxy"], d.env["HTTPS_PROXY"]); set != "" && strings.HasPrefix(set, "https://") {
		d.find("environment: https_proxy", warning, redact(set)+": the proxy speaks no TLS itself", "give it http:// as well")
	}
	if set := cmp.Or(d.env["no_proxy"], d.env["NO_PROXY"]); set == "*" {
		d.find("environment: no_proxy", warning, "is *: nothing goes through the proxy", hint)
	}
}

// openness is who may use this node, and for what.
func (d *doctor) openness() {
	c := &d.cfg.Config
	sound := true
	warn := func(text, hint string) {
		sound = false
		d.find("settings", warning, text, hint)
	}
	for _, n := range c.Proxy.Allow {
		if n.Bits() == 0 {
			warn("proxy.allow has "+n.String()+": everybody who reaches it may use the proxy", "allow your networks only")
		}
	}
	for _, n := range c.Proxy.AllowDestination {
		for _, bad := range []string{"169.254.169.254", "127.0.0.1", "::1"} {
			if n.Contains(netip.MustParseAddr(bad)) {
				warn("proxy.allow_destination has "+n.String()+": clients reach "+bad+" through the proxy", "allow single addresses only")
			}
		}
	}
	if c.Etcd.Embedded() {
		if a, err := urlAddr(c.Etcd.ListenClient[0]); err == nil && !a.Addr().IsLoopback() && strings.HasPrefix(c.Etcd.ListenClient[0], "http:") {
			warn("etcd listens on "+a.String()+" without authentication", "keep that port inside your network")
		}
	}
	if sound {
		d.find("settings", soundness, "", "")
	}
}
