// Package api is the REST interface of a node: what it holds, who its cluster
// is, and the few things an operator may order. Everything is under /api/v1 and
// described by an OpenAPI 3.1 document at /api/v1/openapi.json.
//
// It promises: JSON names in snake_case, sizes in bytes, times as in RFC 3339,
// every error a problem document (RFC 9457), request bodies bounded, and no
// request accepted that a browser sends for another site. Who may reach the
// listener is left to whoever mounts the handler.
//
// It is the door to huma: none of its types come out.
package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/clock"
	"shatabdi/swarmcache/download"
	"shatabdi/swarmcache/events"
)

// Prefix is the path that everything here is under.
const Prefix = "/api/v1/"

// maxBody bounds a request's body, in bytes: a long URL and its quotes.
const maxBody = 64 << 10

// Config is what the API speaks for. All of it is required.
type Config struct {
	Node    swarmcache.Node // this one
	Name    string          // of this node, as its operator calls it
	Started time.Time
	Ready   func() Readiness
	// LocalMode is the mode that this node's configuration asks for.
	LocalMode func() string
	Rules     func() *policy.Rules
	// Explain answers a Question, but for the URLs.
	Explain func(context.Context, Question) Explanation
	// Settings are those in effect. Reload reads them again; a *ConfigError when
	// something is wrong with them, and nothing was changed.
	Settings func() []Setting
	Reload   func() (Reloaded, error)
	Counters func() Counters
	Cache    Cache
	Cluster  Cluster
	Clock    func() clock.Reading // nil: it is not compared
	Torrents Torrents
	// Drain has the node take on nothing new, or ends that.
	Drain   func(ctx context.Context, on bool) error
	Limiter Limiter
	// Limits are those that the configuration sets.
	Limits    func() (upload, download int64)
	Rates     Rates
	Downloads *download.Downloads
	Events    *events.Hub
	Sources   Sources
	// UploadDirectories are where files may be read to be put into the cluster.
	UploadDirectories []string
	// Proxy tells the address that clients of this node connect to.
	Proxy func() string
}

// Cache is the part of a *swarmcache.Cache that the API needs.
type Cache interface {
	Stats() swarmcache.Stats
	Volumes() []swarmcache.VolumeState
	// List returns up to n records in the order of their ids, after the one given.
	List(after swarmcache.ObjectID, n int) ([]swarmcache.Record, error)
	// Record and Selected find one object, or return swarmcache.ErrNotFound.
	Record(swarmcache.ObjectID) (swarmcache.Record, error)
	Selected(policy.Key) (swarmcache.Record, error)
	// Away and SelectedAway do so for what is on a volume that is missing.
	Away(swarmcache.ObjectID) (swarmcache.Record, error)
	SelectedAway(policy.Key) (swarmcache.Record, error)
	// Arrived tells how much of an object is here, and where it came from.
	Arrived(swarmcache.Record) swarmcache.Arrived
	// Coming lists the objects that bytes are coming in for.
	Coming() []swarmcache.Coming
	// Pieces tells the same piece by piece; Sealed is what a .torrent file is made of,
	// or ErrNotSealed.
	Pieces(swarmcache.Record) []swarmcache.Run
	Sealed(swarmcache.ObjectID) (swarmcache.Version, []byte, error)
	// Verify reads an object back, Export writes its body; ErrNotFound, ErrIncomplete,
	// ErrDamaged.
	Verify(context.Context, swarmcache.ObjectID) error
	Export(context.Context, swarmcache.ObjectID, io.Writer) error
	// Expire makes what key selects on this node stale.
	Expire(policy.Key) (had bool, err error)
	// Forget removes an object from this node, or returns swarmcache.ErrNotFound.
	Forget(swarmcache.ObjectID) error
	// Purge makes every node forget what key selects. When the directory is away it
	// still does so here, and returns swarmcache.ErrUnavailable.
	Purge(context.Context, policy.Key) (had int, err error)
	// SoftPurge makes every node have the origin confirm it, likewise.
	SoftPurge(context.Context, policy.Key) (had int, err error)
	// PurgeHere does either of them on this node alone.
	PurgeHere(key policy.Key, soft bool) (had int, err error)
	// PriorityOf is the priority in effect, SetPriority gives it another one; empty
	// leaves it to the configuration. ErrNotFound when the object is not here.
	PriorityOf(swarmcache.Record) policy.Priority
	SetPriority(swarmcache.ObjectID, policy.Priority) error
	// Put makes the bytes of r an object that has no origin; ErrEmpty, ErrNoSpace.
	Put(ctx context.Context, name string, key func(*url.URL) policy.Key, r io.Reader) (swarmcache.Record, error)
	// PutAt does so at a place that is known before; ErrOtherBytes, ErrPrecondition.
	PutAt(ctx context.Context, at swarmcache.Place, key func(*url.URL) policy.Key, holds func(exists bool) bool, r io.Reader) (rec swarmcache.Record, created bool, err error)
	// SetPinned keeps an object from eviction, or no longer. ErrNotFound.
	SetPinned(swarmcache.ObjectID, bool) error
}

// Cluster is what the API must know of the cluster. State, Leader and Mode do
// no I/O; the others answer swarmcache.ErrUnavailable while it cannot be asked.
type Cluster interface {
	State() error // why it cannot be asked now; nil: it can
	Leader() (url string, id swarmcache.NodeID, self bool)
	Nodes(context.Context) ([]swarmcache.Node, error)
	Mode() string // of the fleet; "" is swarm
	// Health is what the leader sees of all that is kept, Kept what is of a key;
	// swarmcache.ErrNotFound.
	Health(context.Context) (swarmcache.Health, error)
	Kept(context.Context, policy.Key) (swarmcache.Kept, error)
	SetMode(ctx context.Context, mode string) error
	// StepDown gives the lead up, if this node leads; swarmcache.ErrNotLeading.
	StepDown(context.Context) error
	// Published calls f with all versions that the directory knows.
	Published(ctx context.Context, f func(swarmcache.Version)) error
	// Hottest are up to n of the objects that clients of all nodes want most.
	Hottest(ctx context.Context, n int) ([]swarmcache.Hot, error)
	// StartJob has several nodes warm up, CancelJob ends that; swarmcache.ErrNotFound.
	// Jobs are those that stand, which may be long, Job is one of them; Parts are how
	// far the nodes have come with one, or with all.
	StartJob(context.Context, swarmcache.Job) error
	CancelJob(ctx context.Context, id string) error
	Jobs(context.Context) ([]swarmcache.Job, error)
	Job(ctx context.Context, id string) (swarmcache.Job, error)
	Parts(ctx context.Context, id string) ([]swarmcache.JobPart, error)
}

// service has the handlers.
type service struct {
	Config
	changing  sync.Mutex   // held while limits are read and set
	listeners atomic.Int32 // streams of events
}

// New returns the handler of everything under Prefix.
func New(cfg Config) http.Handler {
	mux := http.NewServeMux()
	hc := huma.DefaultConfig("Shatabdi", "1")
	hc.Info.Description = "One node of a Shatabdi cluster: what it holds, who the others are, and how to steer it."
	// Its own way to serve the document races; its page of documentation loads
	// scripts from elsewhere; its schema links put fields into our bodies.
	hc.OpenAPIPath, hc.DocsPath, hc.SchemasPath, hc.CreateHooks = "", "", "", nil
	// Beyond loopback the listener wants it; see the daemon's admin.token_file.
	hc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer", Description: "Where the listener is open to other machines."}}
	hc.Security = []map[string][]string{{"token": {}}, {}}
	api := humago.New(mux, hc)

	s := &service{Config: cfg}
	s.registerStatus(api)
	s.registerStats(api)
	s.registerNodes(api)
	s.registerExplain(api)
	s.registerConfig(api)
	s.registerEvents(api)
	s.registerLeader(api)
	s.registerMode(api)
	s.registerLimits(api)
	s.registerObjects(api)
	s.registerTorrents(api)
	s.registerMagnets(api)
	s.registerHot(api)
	s.registerDrain(api)
	s.registerPurge(api)
	s.registerPurgeMany(api)
	s.registerDownloads(api)
	s.registerWarmups(api)
	s.registerUploads(api)
	s.registerSources(api)

	document, err := json.Marshal(api.OpenAPI())
	if err != nil {
		panic(err) // made of our own types
	}
	mux.HandleFunc("GET "+Prefix+"openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
		w.Write(document)
	})
	return sameSite(noStore(problems(mux)))
}

// operation begins the description of one operation.
func operation(id, method, path, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: Prefix + path, Summary: summary,
		MaxBodyBytes: maxBody, BodyReadTimeout: 10 * time.Second, RejectUnknownQueryParameters: true,
	}
}
