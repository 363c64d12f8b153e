package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/download"
)

// Validate returns every problem of the configuration, by key. It looks at
// nothing outside it: no file, no name service.
func (c *Config) Validate() []problem {
	v := &validator{}
	v.oneOf("mode", c.Mode, ModeSwarm, ModePass)
	v.node(c.Node)
	v.listeners(c)
	v.proxy(c.Proxy)
	v.peer(c.Peer)
	v.cache(c.Cache, c.DataDir)
	v.require(c.Cache.Replicas >= 0, "cache.replicas", "negative; want 0 (none are made) or more")
	v.require(c.Cache.Inactive == 0 || c.Cache.Inactive >= time.Second, "cache.inactive", "%s; want at least 1s, or 0s (for ever)", c.Cache.Inactive)
	v.require(c.Cache.HealAfter >= 0, "cache.heal_after", "negative; want 0s or more")
	v.require(c.Cache.HotEvery >= 0, "cache.hot_every", "negative; want 0s (never) or more")
	v.require(c.Scrub.Every >= time.Second, "scrub.every", "%s; want at least 1s", c.Scrub.Every)
	v.origin(c.Origin)
	v.directories("downloads.directories", c.Downloads.Directories)
	v.directories("uploads.directories", c.Uploads.Directories)
	v.sources(c.Sources)
	v.warmup(c.Warmup, c.Sources.schemes())
	v.etcd(c.Etcd, c.Node.Name)
	v.rules(c)
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "auto", "text", "json")
	v.require(c.DataDir != "", "data_dir", "empty; want a directory")
	v.require(c.DrainTimeout >= 0, "drain_timeout", "negative; want a duration such as 10s, or 0s")
	return v.problems
}

// warnings are doubtful choices that are allowed all the same.
func (c *Config) warnings() []string {
	var w []string
	if c.Cache.Small == SmallCache && c.Cache.SmallMemory/4 < c.Cache.SwarmThreshold {
		w = append(w, fmt.Sprintf("cache.small_memory: responses of more than a quarter of %s and less than cache.swarm_threshold pass through", c.Cache.SmallMemory))
	}
	if c.Etcd.Embedded() {
		var open []string
		for _, raw := range slices.Concat(c.Etcd.ListenClient, c.Etcd.ListenPeer) {
			if u, err := url.Parse(raw); err == nil && !loopbackHost(u.Hostname()) {
				open = append(open, u.Host)
			}
		}
		if len(open) > 0 {
			w = append(w, "the embedded etcd listens on "+strings.Join(open, " and ")+" without authentication: whoever reaches it controls the cache")
		}
	}
	return w
}

type validator struct{ problems []problem }

func (v *validator) add(key, format string, args ...any) {
	v.problems = append(v.problems, problem{key, fmt.Sprintf(format, args...)})
}

func (v *validator) require(ok bool, key, format string, args ...any) {
	if !ok {
		v.add(key, format, args...)
	}
}

func (v *validator) oneOf(key, got string, accepted ...string) {
	v.require(slices.Contains(accepted, got), key, "%q; want %s", got, strings.Join(accepted, " or "))
}

func (v *validator) node(n Node) {
	v.require(n.Name != "" && !strings.ContainsAny(n.Name, " \t,=/"), "node.name", "%q; want a name without blanks, commas, = and /", n.Name)
	for i, a := range n.Advertise {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
			v.add(fmt.Sprintf("node.advertise[%d]", i), "%s is no address another node could connect to", a)
		}
	}
}

func (v *validator) listeners(c *Config) {
	all := []struct{ key, addr string }{
		{"proxy.listen", c.Proxy.Listen}, {"admin.listen", c.Admin.Listen},
		{"tracker.listen", c.Tracker.Listen}, {"peer.listen", c.Peer.Listen},
	}
	taken := map[string]string{} // address → key
	for _, l := range all {
		host, port, err := splitAddr(l.addr)
		if err != nil {
			v.add(l.key, "%q is not an address to listen on; want HOST:PORT such as 127.0.0.1:3128, or :3128 for all addresses", l.addr)
			continue
		}
		if other, ok := taken[l.addr]; ok && port != "0" {
			v.add(l.key, "%s is the address of %s already", l.addr, other)
		}
		taken[l.addr] = l.key
		switch {
		case l.key == "proxy.listen" && !loopbackHost(host) && len(c.Proxy.Allow) == 0:
			v.add(l.key, "%s is reachable from other machines, so say which may use it: proxy.allow (--allow), such as 10.0.0.0/8", l.addr)
		case l.key == "admin.listen" && !loopbackHost(host) && c.Admin.TokenFile == "":
			v.add(l.key, "%s is reachable from other machines, so say what they must know: admin.token_file (--admin-token-file); or want a loopback address such as 127.0.0.1:3180", l.addr)
		}
	}
}

func (v *validator) proxy(p Proxy) {
	for i, port := range p.ConnectPorts {
		v.require(port > 0, fmt.Sprintf("proxy.connect_ports[%d]", i), "0 is not a port; want 1 to 65535")
	}
	v.require(p.MaxHeader >= 4<<10, "proxy.max_header", "%s is too small; want at least 4KiB", p.MaxHeader)
	v.require(p.MaxConnections >= 0, "proxy.max_connections", "negative; want 0 (no limit) or more")
	v.require(p.HeaderTimeout > 0, "proxy.header_timeout", "want a duration above 0s: without one a slow client holds a connection for ever")
	v.require(p.IdleTimeout > 0, "proxy.idle_timeout", "want a duration above 0s")
}

func (v *validator) peer(p Peer) {
	if p.Uplink > 0 && p.UploadLimit > 0 {
		v.add("peer.upload_limit", "set together with peer.uplink; want one of them: uplink takes 92 %% of the given rate, upload_limit all of it")
	}
	for _, r := range []struct {
		key  string
		rate Rate
	}{{"peer.uplink", p.Uplink}, {"peer.upload_limit", p.UploadLimit}, {"peer.download_limit", p.DownloadLimit}} {
		// Below this a single chunk takes longer than peers are willing to wait.
		v.require(r.rate == 0 || r.rate >= 16<<10, r.key, "%s is too slow for a swarm; want at least 16KiB/s, or unlimited", r.rate)
	}
}

func (v *validator) cache(c Cache, data string) {
	v.require(c.Size.Percent > 0 || c.Size.Bytes > 0, "cache.size", "nothing would fit; want a size such as 50GiB or 80%% (to keep nothing, set mode: pass)")
	for i, d := range c.Volumes {
		key := fmt.Sprintf("cache.volumes[%d]", i)
		v.directory(key, d.Dir)
		v.require(!holds(d.Dir, data) && !holds(data, d.Dir), key, "%q is, holds or lies in data_dir; want a directory apart from it", d.Dir)
	}
	v.require(c.SwarmThreshold >= 0, "cache.swarm_threshold", "want a size such as 4MiB, or 0 for all")
	v.require(c.MaxTransfers >= 0, "cache.max_transfers", "negative; want 0 (no limit) or more")
	v.oneOf("cache.small", c.Small, SmallPass, SmallCache)
	v.require(c.Small != SmallCache || c.SmallMemory >= 1<<20, "cache.small_memory", "%s; want at least 1MiB", c.SmallMemory)
	v.require(c.SmallDisk == 0 || c.SmallDisk >= 32<<20, "cache.small_disk", "%s; want at least 32MiB, or 0 for memory alone", c.SmallDisk)
}

func (v *validator) origin(o Origin) {
	for _, n := range []struct {
		key   string
		value int
	}{
		{"origin.streams", o.Streams}, {"origin.streams_per_host", o.StreamsPerHost},
		{"origin.cluster_streams_per_host", o.ClusterStreamsPerHost},
	} {
		v.require(n.value >= 1, n.key, "%d; want at least 1", n.value)
	}
	v.require(o.DialTimeout > 0, "origin.dial_timeout", "want a duration above 0s")
	v.require(o.TLSTimeout > 0, "origin.tls_timeout", "want a duration above 0s")
	v.require(o.HeaderTimeout > 0, "origin.header_timeout", "want a duration above 0s")
	v.require(o.StallTimeout > 0, "origin.stall_timeout", "want a duration above 0s")
}

// directories are given to others, so that "/" or a relative path is a slip.
func (v *validator) directories(key string, dirs []string) {
	for i, dir := range dirs {
		v.directory(fmt.Sprintf("%s[%d]", key, i), dir)
	}
}

func (v *validator) directory(key, dir string) {
	v.require(filepath.IsAbs(dir) && filepath.Clean(dir) != "/", key, "%q; want the absolute path of a directory below /", dir)
}

// holds reports whether a directory is another one or has it below, as far as their
// names tell.
func holds(dir, other string) bool {
	return strings.HasPrefix(filepath.Clean(other)+"/", filepath.Clean(dir)+"/")
}

func (v *validator) warmup(w Warmup, schemes []string) {
	for i, raw := range w.URLs {
		v.fetchable(fmt.Sprintf("warmup.urls[%d]", i), raw, schemes)
	}
	if w.Manifest != "" {
		v.fetchable("warmup.manifest", w.Manifest, schemes)
	}
	v.require(w.Hot >= 0 && w.Hot <= maxHot, "warmup.hot", "%d; want 0 (none) to %d", w.Hot, maxHot)
	v.require(w.Deadline > 0, "warmup.deadline", "want a duration above 0s: without one a fleet that restarts waits for itself")
}

func (v *validator) fetchable(key, raw string, schemes []string) {
	resolved := swarmcache.Resolve(raw)
	scheme, _, _ := strings.Cut(resolved, "://")
	known := scheme == "http" || scheme == "https" || slices.Contains(schemes, scheme)
	v.require(known && download.CheckURL(resolved) == nil, key, "%q; want http:// or https:// and a host, without a user, shatabdi://, or the URL of a source", redact(raw))
}

func (v *validator) etcd(e Etcd, self string) {
	v.urls("etcd.endpoints", e.Endpoints, "http", "https")
	v.require((e.CertFile == "") == (e.KeyFile == ""), "etcd.cert_file", "want etcd.cert_file and etcd.key_file together")
	v.require((e.User == "") == (e.PasswordFile == ""), "etcd.user", "want etcd.user and etcd.password_file together")
	if !e.Embedded() {
		v.require(len(e.InitialCluster) == 0, "etcd.initial_cluster", "is for the embedded etcd, and etcd.endpoints names another; want one of them")
		return
	}
	v.require(e.CAFile == "" && e.CertFile == "" && e.User == "", "etcd.endpoints", "empty, but there are credentials for it; want URLs such as https://etcd1:2379")
	v.require(len(e.ListenClient) == 1, "etcd.listen_client", "%d URLs; want one, such as http://127.0.0.1:2379", len(e.ListenClient))
	v.require(len(e.ListenPeer) == 1, "etcd.listen_peer", "%d URLs; want one, such as http://127.0.0.1:2380", len(e.ListenPeer))
	v.urls("etcd.listen_client", e.ListenClient, "http")
	v.urls("etcd.listen_peer", e.ListenPeer, "http")
	v.require(e.LeaseTTL >= 2*time.Second && e.LeaseTTL <= time.Minute, "etcd.lease_ttl", "%s; want 2s to 1m", e.LeaseTTL)
	v.require(e.Quota >= 16<<20 && e.Quota <= 8<<30, "etcd.quota", "%s; want 16MiB to 8GiB", e.Quota)
	if len(e.InitialCluster) == 0 {
		return
	}
	if n := len(e.InitialCluster); n%2 == 0 || n > 7 {
		v.add("etcd.initial_cluster", "%d members; want 1, 3, 5 or 7, so that a majority exists", n)
	}
	_, listed := e.InitialCluster[self]
	v.require(listed, "etcd.initial_cluster", "does not list this node, %q; want its node.name among the members", self)
	for _, name := range sortedKeys(e.InitialCluster) {
		v.url("etcd.initial_cluster."+name, e.InitialCluster[name], "http")
	}
}

func (v *validator) urls(key string, urls []string, schemes ...string) {
	for i, raw := range urls {
		v.url(fmt.Sprintf("%s[%d]", key, i), raw, schemes...)
	}
}

// endpoint is a URL where the port may be the scheme's.
func (v *validator) endpoint(key, raw string) {
	u, err := url.Parse(raw)
	ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == ""
	v.require(ok, key, "%q; want http:// or https:// and HOST[:PORT]", redact(raw))
}

func (v *validator) url(key, raw string, schemes ...string) {
	u, err := url.Parse(raw)
	ok := err == nil && slices.Contains(schemes, u.Scheme) && u.Hostname() != "" && u.Port() != "" && strings.Trim(u.Path, "/") == ""
	v.require(ok, key, "%q; want %s://HOST:PORT", redact(raw), strings.Join(schemes, ":// or "))
}

// rules asks policy, whose errors begin with the path of the setting.
func (v *validator) rules(c *Config) {
	rules := policy.Rules{Rules: c.Rules}
	for _, err := range rules.Validate() {
		key, text, _ := strings.Cut(err.Error(), ": ")
		v.add(key, "%s", text)
	}
}

// splitAddr takes an address to listen on apart.
func splitAddr(addr string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(addr)
	if err != nil {
		return "", "", err
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return host, port, err
}

// loopbackHost reports whether host can be reached from this machine only. An
// unknown name is taken for reachable.
func loopbackHost(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().IsLoopback()
	}
	return host == "localhost"
}

// redact hides a password in a URL.
func redact(text string) string {
	if u, err := url.Parse(text); err == nil && u.User != nil {
		return u.Redacted()
	}
	return text
}
