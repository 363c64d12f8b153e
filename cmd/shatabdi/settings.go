package main

import (
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// setting is one key of the configuration and its other ways in. Every key but
// the rules can also come from the environment; flags exist for what an
// operator changes at the prompt.
type setting struct {
	key  string // path in the file
	flag string // without "--"; empty: file and environment only
	arg  string // what the value looks like
	help string
}

// settings lists every key in the order of the fields of Config.
var settings = []setting{
	{"data_dir", "data-dir", "DIR", "where objects, the catalogue and the embedded etcd are kept"},
	{"mode", "mode", "MODE", "swarm, or pass: pass everything through and keep nothing"},
	{"drain_timeout", "drain-timeout", "DURATION", "how long running requests get to finish when the daemon stops"},

	{"node.name", "node-name", "NAME", "name of this node in logs, in Via and among the members of an embedded etcd; the host's name by default"},
	{"node.advertise", "advertise", "IP", "address at which other nodes reach this one, once per address family; found out by default (repeatable)"},
	{"node.zone", "zone", "ZONE", "zone of this node: what its nodes share crosses from other zones once; empty: near to all"},
	{"node.rack", "rack", "RACK", "rack of this node in its zone, whose nodes it prefers as peers"},

	{"proxy.listen", "proxy-listen", "ADDR", "where clients connect: the address for http_proxy"},
	{"proxy.allow", "allow", "CIDR", "networks whose machines may use the proxy; needed when it listens beyond loopback (repeatable)"},
	{"proxy.allow_destination", "allow-destination", "CIDR", "networks that may be fetched from although they are loopback, link-local or metadata addresses (repeatable)"},
	{"proxy.allow_purge", "allow-purge", "CIDR", "networks whose PURGE http://HOST/PATH makes every node forget that URL; empty: nobody's, and purge is left to the API (repeatable)"},
	{"proxy.allow_put", "allow-put", "CIDR", "networks that may PUT http://objects.shatabdi/SHA256/NAME, as shatabdi put does; empty: nobody, and it is left to the API (repeatable)"},
	{"proxy.connect_ports", "", "PORTS", "ports that CONNECT may reach"},
	{"proxy.max_header", "", "SIZE", "largest request header accepted"},
	{"proxy.max_body", "", "SIZE", "largest request body accepted; 0: no limit"},
	{"proxy.max_connections", "", "N", "client connections at a time, and no more than a quarter of the file descriptors there may be; who comes beyond is answered 503; 0: no limit"},
	{"proxy.header_timeout", "", "DURATION", "time a client has to send its request header"},
	{"proxy.idle_timeout", "", "DURATION", "how long an idle client connection is kept"},

	{"admin.listen", "admin-listen", "ADDR", "where /livez, /readyz, /metrics and the REST API are; beyond loopback with a token only"},
	{"admin.token_file", "admin-token-file", "FILE", "file with the token (Authorization: Bearer) that all but /livez and /readyz wants over TCP then, not for everybody to read, and read anew at a reload; the socket in the data directory wants none"},
	{"tracker.listen", "tracker-listen", "ADDR", "where this node answers announces while it leads"},
	{"tracker.trusted_proxies", "", "CIDR", "networks of proxies whose X-Forwarded-For tells the tracker where an outside client is"},

	{"peer.listen", "peer-listen", "ADDR", "where other nodes fetch pieces"},
	{"peer.uplink", "uplink", "RATE", "speed of this machine's uplink; uploads take 92 % of it"},
	{"peer.upload_limit", "upload-limit", "RATE", "limit of uploads to peers, used as given"},
	{"peer.download_limit", "download-limit", "RATE", "limit of downloads from peers, used as given"},
	{"peer.outside_clients", "outside-clients", "CIDR", "networks whose BitTorrent clients may load and seed objects that are not private; others than nodes are refused by default (repeatable)"},

	{"cache.size", "cache-size", "SIZE", "disk for objects: bytes, or a percentage of the file system"},
	{"cache.min_free", "cache-min-free", "SIZE", "disk that is left free for others, objects go where they need it: bytes, or a percentage of the file system"},
	{"cache.volumes", "volume", "DIR[=SIZE]", "further directories for objects, each on a disk of its own; cache.size, if no SIZE is given, and cache.min_free count for each (repeatable)"},
	{"cache.inactive", "", "DURATION", "how long an object stays that nobody uses, also where there is room; pins and copies that the cluster keeps do; 0s: for ever"},
	{"cache.max_transfers", "", "N", "objects that come in at a time; a request that would begin another one is answered 503; 0: no limit"},
	{"cache.swarm_threshold", "swarm-threshold", "SIZE", "responses from this size on are shared through the swarm; 0: all that have a body"},
	{"cache.small", "small", "pass|cache", "smaller responses: pass them through, or cache them on this node"},
	{"cache.small_memory", "small-memory", "SIZE", "memory for them, where they are cached; none takes more than a quarter"},
	{"cache.small_disk", "small-disk", "SIZE", "disk for them behind the memory, where they outlive a restart; 0: none"},
	{"cache.replicas", "", "N", "complete copies that the cluster keeps of what was put or is pinned; a rule says so of anything else"},
	{"cache.heal_after", "", "DURATION", "how long copies may be missing before others are made: a node that restarts comes back"},
	{"cache.hot_every", "", "DURATION", "how often this node tells the others which of its objects clients want most; 0s: never"},

	{"scrub.rate", "", "RATE", "how fast stored objects are read back and verified while nobody asks for them, a quarter of it while bytes come in; off: not at all"},
	{"scrub.every", "", "DURATION", "how long an object that was verified is left alone"},

	{"origin.streams", "", "N", "connections to the origin for one object, over the whole cluster"},
	{"origin.streams_per_host", "", "N", "connections of this node to one origin, for all objects that fill the cache"},
	{"origin.cluster_streams_per_host", "", "N", "the same, over the whole cluster"},
	{"origin.dial_timeout", "", "DURATION", "time to connect to an origin"},
	{"origin.tls_timeout", "", "DURATION", "time for a TLS handshake with an origin"},
	{"origin.header_timeout", "", "DURATION", "time an origin has to begin its response"},
	{"origin.stall_timeout", "", "DURATION", "how long a stream that fills the cache may stand still; what passes through is not bound"},

	{"downloads.directories", "", "DIRS", "where the REST API may write files, as this daemon's user; none: it downloads into the cache only"},

	{"uploads.directories", "", "DIRS", "where the REST API may read files, as this daemon's user, to put them into the cluster; none: it takes what clients send"},

	{"sources.file.directories", "", "DIRS", "whose files this node may read for file:///PATH; everybody who may use the proxy can read them"},
	{"sources.s3.buckets", "", "NAMES", "buckets that this node may read for s3://BUCKET/KEY, * is every one; everybody who may use the proxy can read what the credentials open there"},
	{"sources.s3.endpoint", "", "URL", "where they are; AWS by default"},
	{"sources.s3.region", "", "REGION", "of the buckets; the endpoint is asked by default"},
	{"sources.s3.path_style", "", "true|false", "the bucket is in the path, as with most servers that are not AWS, and not in the host's name"},
	{"sources.s3.credentials_file", "", "FILE", "with aws_access_key_id and aws_secret_access_key; by default the environment (AWS_ACCESS_KEY_ID, ...), then ~/.aws/credentials"},
	{"sources.s3.profile", "", "NAME", "section of that file; default by default"},
	{"sources.oci.credentials_file", "", "FILE", "config.json of docker's, for oci://REGISTRY/REPOSITORY:TAG; without it what is for everybody. Everybody who may use the proxy can read what they open"},
	{"sources.oci.platform", "", "OS/ARCH", "which one of an image for several is taken; this machine's by default"},
	{"sources.oci.insecure", "", "HOSTS", "registries that are asked over http"},
	{"sources.commands", "", "SCHEME=COMMAND", "commands that answer for other schemes"},

	{"warmup.urls", "", "URLS", "what this node fetches when it starts, from peers first; s3://BUCKET/PREFIX/, oci://REGISTRY/REPOSITORY:TAG and the address of a dataset stand for all that is in them"},
	{"warmup.manifest", "", "URL", "of a list of more, one URL a line"},
	{"warmup.hot", "", "N", "so many of the objects that clients of all nodes want most; 0: none"},
	{"warmup.pinned", "", "true|false", "it stays when space is short, but for what is hot"},
	{"warmup.gate", "", "true|false", "not ready before that is done, or the deadline is over"},
	{"warmup.deadline", "", "DURATION", "how long the gate waits at most"},

	{"resolver.hosts", "", "NAME=IP", "addresses of names, used before DNS"},

	{"etcd.endpoints", "etcd-endpoints", "URLS", "an existing etcd cluster; without it one runs inside this process (repeatable)"},
	{"etcd.cluster_id", "etcd-cluster-id", "ID", "the cluster that this node belongs to, as its log says when it joins; empty: the one that it met first"},
	{"etcd.ca_file", "etcd-ca-file", "FILE", "certificates that sign the endpoints' (PEM)"},
	{"etcd.cert_file", "etcd-cert-file", "FILE", "certificate of this client (PEM)"},
	{"etcd.key_file", "etcd-key-file", "FILE", "key of this client's certificate (PEM)"},
	{"etcd.user", "etcd-user", "NAME", "user to authenticate as"},
	{"etcd.password_file", "etcd-password-file", "FILE", "file with the user's password"},
	{"etcd.listen_client", "etcd-listen-client", "URL", "where the embedded etcd serves this node and others"},
	{"etcd.listen_peer", "etcd-listen-peer", "URL", "where the embedded etcd talks to its other members"},
	{"etcd.initial_cluster", "etcd-initial-cluster", "NAME=URL", "members of an embedded cluster, node names and peer URLs; the same on each (repeatable)"},
	{"etcd.quota", "etcd-quota", "SIZE", "largest database of the embedded etcd"},
	{"etcd.lease_ttl", "etcd-lease-ttl", "DURATION", "how long a silent node counts as alive; a loaded etcd wants more"},

	{"log.level", "log-level", "LEVEL", "debug, info, warn or error"},
	{"log.format", "log-format", "FORMAT", "text, json, or auto: text on a terminal"},

	{"rules", "", "RULES", "what to do with which requests; the first rule that matches decides"},
}

// env is the setting's environment variable, named after its flag if it has
// one: SHATABDI_PROXY_LISTEN for --proxy-listen.
func (s setting) env() string {
	name := s.flag
	if name == "" {
		name = s.key
	}
	return "SHATABDI_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name))
}

// settingOf finds the setting that a key such as "rules[2].route" belongs to.
func settingOf(key string) (setting, bool) {
	for _, s := range settings {
		if rest, ok := strings.CutPrefix(key, s.key); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return s, true
		}
	}
	return setting{}, false
}

// flagValue keeps what was given; it is interpreted together with the file and
// the environment, so that all problems are reported at once.
type flagValue struct {
	arg   string
	given []string
}

func (f *flagValue) Set(text string) error { f.given = append(f.given, text); return nil }
func (f *flagValue) String() string        { return "" }
func (f *flagValue) Type() string          { return f.arg }

// flags are the values that were given on one command line, by key.
type flags struct {
	file   string // --config
	values map[string]*flagValue
}

// bind gives cmd the flags of the named settings, or of all of them.
func bind(cmd *cobra.Command, keys ...string) *flags {
	f := &flags{values: map[string]*flagValue{}}
	set := cmd.Flags()
	set.SortFlags = false
	set.StringVar(&f.file, "config", "", "configuration `FILE` (YAML); also SHATABDI_CONFIG")
	defaults := DefaultConfig()
	for _, s := range settings {
		if s.flag == "" || len(keys) > 0 && !slices.Contains(keys, s.key) {
			continue
		}
		v := &flagValue{arg: s.arg}
		f.values[s.key] = v
		set.Var(v, s.flag, s.help)
		field, _ := fieldAt(reflect.ValueOf(&defaults).Elem(), s.key)
		set.Lookup(s.flag).DefValue = strings.Join(texts(field), ",")
	}
	return f
}
