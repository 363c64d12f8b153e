package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache/cluster"
)

// Config is everything an operator can set. Its fields in order are the keys of
// the configuration file; settings.go says what each one means.
type Config struct {
	DataDir      string        `yaml:"data_dir"`
	Mode         string        `yaml:"mode"`
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	Node         Node          `yaml:"node"`
	Proxy        Proxy         `yaml:"proxy"`
	Admin        Admin         `yaml:"admin"`
	Tracker      Tracker       `yaml:"tracker"`
	Peer         Peer          `yaml:"peer"`
	Cache        Cache         `yaml:"cache"`
	Scrub        Scrub         `yaml:"scrub"`
	Origin       Origin        `yaml:"origin"`
	Downloads    Downloads     `yaml:"downloads"`
	Uploads      Uploads       `yaml:"uploads"`
	Sources      Sources       `yaml:"sources"`
	Warmup       Warmup        `yaml:"warmup"`
	Resolver     Resolver      `yaml:"resolver"`
	Etcd         Etcd          `yaml:"etcd"`
	Log          Log           `yaml:"log"`
	Rules        []policy.Rule `yaml:"rules"`
}

// Policy is what the rules and the settings beside them mean together.
func (c *Config) Policy() *policy.Rules {
	return &policy.Rules{
		Default: policy.Defaults{
			Threshold: max(1, policy.Size(c.Cache.SwarmThreshold)),
			Streams:   c.Origin.Streams,
		},
		Rules:   c.Rules,
		Schemes: c.Sources.schemes(),
	}
}

// Modes of the whole node.
const (
	ModeSwarm = "swarm" // cache and share
	ModePass  = "pass"  // pass everything through
)

// Node is who this machine is to the others.
type Node struct {
	Name      string       `yaml:"name"`
	Advertise []netip.Addr `yaml:"advertise"`
	Zone      string       `yaml:"zone"`
	Rack      string       `yaml:"rack"`
}

// Proxy is the listener that clients use.
type Proxy struct {
	Listen           string         `yaml:"listen"`
	Allow            []netip.Prefix `yaml:"allow"`
	AllowDestination []netip.Prefix `yaml:"allow_destination"`
	AllowPurge       []netip.Prefix `yaml:"allow_purge"`
	AllowPut         []netip.Prefix `yaml:"allow_put"`
	ConnectPorts     []uint16       `yaml:"connect_ports"`
	MaxHeader        Size           `yaml:"max_header"`
	MaxBody          Size           `yaml:"max_body"`
	MaxConnections   int            `yaml:"max_connections"`
	HeaderTimeout    time.Duration  `yaml:"header_timeout"`
	IdleTimeout      time.Duration  `yaml:"idle_timeout"`
}

// Admin is the operator's listener.
type Admin struct {
	Listen    string `yaml:"listen"`
	TokenFile string `yaml:"token_file"`
}

// Tracker is the listener for announces.
type Tracker struct {
	Listen         string         `yaml:"listen"`
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
}

// Peer is this node's place in the swarms.
type Peer struct {
	Listen        string `yaml:"listen"`
	Uplink        Rate   `yaml:"uplink"`
	UploadLimit   Rate   `yaml:"upload_limit"`
	DownloadLimit Rate   `yaml:"download_limit"`
	// OutsideClients are networks whose BitTorrent clients may take part in swarms.
	OutsideClients []netip.Prefix `yaml:"outside_clients"`
}

// Upload is the limit the swarm gets: the one given, or 92 % of the uplink.
// Headers take 4.5 % of a link and the acknowledgements of what comes in 2 %;
// with 95 % the queue is always full, cancelled requests are sent all the same,
// and a fifth of the bytes is wasted instead of a tenth.
func (p Peer) Upload() Rate {
	if p.Uplink > 0 {
		return p.Uplink / 100 * 92
	}
	return p.UploadLimit
}

// Cache is what is kept on disk, and what takes part in the swarm.
type Cache struct {
	Size           Share         `yaml:"size"`
	MinFree        Share         `yaml:"min_free"`
	Volumes        []VolumeDir   `yaml:"volumes"`
	Inactive       time.Duration `yaml:"inactive"`
	MaxTransfers   int           `yaml:"max_transfers"`
	SwarmThreshold Size          `yaml:"swarm_threshold"`
	Small          string        `yaml:"small"`
	SmallMemory    Size          `yaml:"small_memory"`
	SmallDisk      Size          `yaml:"small_disk"`

	Replicas  int           `yaml:"replicas"`
	HealAfter time.Duration `yaml:"heal_after"`
	HotEvery  time.Duration `yaml:"hot_every"`
}

// What happens to responses below the threshold.
const (
	SmallPass  = "pass"  // passed through
	SmallCache = "cache" // kept on this node, in memory and on disk
)

// Scrub is how what is stored is verified.
type Scrub struct {
	Rate  Pace          `yaml:"rate"`
	Every time.Duration `yaml:"every"`
}

// Origin is how origins are talked to.
type Origin struct {
	Streams               int           `yaml:"streams"`
	StreamsPerHost        int           `yaml:"streams_per_host"`
	ClusterStreamsPerHost int           `yaml:"cluster_streams_per_host"`
	DialTimeout           time.Duration `yaml:"dial_timeout"`
	TLSTimeout            time.Duration `yaml:"tls_timeout"`
	HeaderTimeout         time.Duration `yaml:"header_timeout"`
	StallTimeout          time.Duration `yaml:"stall_timeout"`
}

// Downloads are what the REST API is told to fetch.
type Downloads struct {
	Directories []string `yaml:"directories"`
}

// Uploads are what the REST API is told to put into the cluster.
type Uploads struct {
	Directories []string `yaml:"directories"`
}

// Warmup is what this node fetches when it starts.
type Warmup struct {
	URLs     []string      `yaml:"urls"`
	Manifest string        `yaml:"manifest"`
	Hot      int           `yaml:"hot"`
	Pinned   bool          `yaml:"pinned"`
	Gate     bool          `yaml:"gate"`
	Deadline time.Duration `yaml:"deadline"`
}

// wanted reports whether there is anything to fetch.
func (w Warmup) wanted() bool { return len(w.URLs) > 0 || w.Manifest != "" || w.Hot > 0 }

// Resolver overrides name resolution for origins.
type Resolver struct {
	Hosts map[string]netip.Addr `yaml:"hosts"`
}

// Etcd is the cluster's directory: endpoints of an existing one, or, without
// them, an etcd inside this process.
type Etcd struct {
	Endpoints    []string `yaml:"endpoints"`
	ClusterID    string   `yaml:"cluster_id"`
	CAFile       string   `yaml:"ca_file"`
	CertFile     string   `yaml:"cert_file"`
	KeyFile      string   `yaml:"key_file"`
	User         string   `yaml:"user"`
	PasswordFile string   `yaml:"password_file"`

	ListenClient   []string          `yaml:"listen_client"`
	ListenPeer     []string          `yaml:"listen_peer"`
	InitialCluster map[string]string `yaml:"initial_cluster"`
	Quota          Size              `yaml:"quota"`
	LeaseTTL       time.Duration     `yaml:"lease_ttl"`
}

// Embedded reports whether this process runs an etcd itself.
func (e Etcd) Embedded() bool { return len(e.Endpoints) == 0 }

// Log is what is told on standard error.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// DefaultConfig is the one list of defaults.
func DefaultConfig() Config {
	return Config{
		DataDir:      defaultDataDir(),
		Mode:         ModeSwarm,
		DrainTimeout: 10 * time.Second,
		Node:         Node{Name: hostname()},
		Proxy: Proxy{
			Listen:         "127.0.0.1:3128",
			AllowPurge:     []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
			AllowPut:       []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
			ConnectPorts:   []uint16{443, 8443},
			MaxHeader:      64 << 10,
			MaxConnections: 4096,
			HeaderTimeout:  10 * time.Second,
			IdleTimeout:    2 * time.Minute,
		},
		Admin:   Admin{Listen: "127.0.0.1:3180"},
		Tracker: Tracker{Listen: ":6969"},
		Peer:    Peer{Listen: ":42069"},
		Cache: Cache{
			Size:           Share{Percent: 80},
			MinFree:        Share{Percent: 5},
			MaxTransfers:   256,
			SwarmThreshold: Size(policy.DefaultThreshold),
			Small:          SmallPass,
			SmallMemory:    64 << 20,
			SmallDisk:      1 << 30,
			Replicas:       2,
			HealAfter:      30 * time.Second,
			HotEvery:       time.Minute,
		},
		Scrub: Scrub{Rate: 10 << 20, Every: 7 * 24 * time.Hour},
		Origin: Origin{
			Streams:               policy.DefaultStreams,
			StreamsPerHost:        16,
			ClusterStreamsPerHost: 64,
			DialTimeout:           10 * time.Second,
			TLSTimeout:            10 * time.Second,
			HeaderTimeout:         5 * time.Minute, // long polls
			StallTimeout:          time.Minute,
		},
		Warmup: Warmup{Deadline: 5 * time.Minute},
		Etcd: Etcd{
			ListenClient: []string{"http://127.0.0.1:2379"},
			ListenPeer:   []string{"http://127.0.0.1:2380"},
			Quota:        2 << 30,
			LeaseTTL:     cluster.DefaultLeaseTTL,
		},
		Log: Log{Level: "info", Format: "auto"},
	}
}

// defaultDataDir is the system's place for a daemon that may write there, and
// the user's own otherwise.
func defaultDataDir() string {
	const system = "/var/lib/shatabdi"
	if os.Geteuid() == 0 {
		return system
	}
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "shatabdi")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "shatabdi")
	}
	return system
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
