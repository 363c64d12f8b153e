// Package jobs has a node take its part in the warm-ups of several nodes.
//
// What is wanted stands in the directory, and so does how far each node has come:
// nobody has to be there but the nodes that work, each for itself. One that was away
// goes on when it comes again; what it has costs nothing. That all of them want the
// same at once is what the swarm is for: the origin sends it once.
package jobs

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"time"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/download"
)

// Directory is the part of a cluster.Cluster that a node needs for it.
type Directory interface {
	Size() int
	FollowJobs(ctx context.Context, f func([]swarmcache.Job)) error
	JobURLs(context.Context, swarmcache.Job) ([]string, error)
	Part(ctx context.Context, job string) (swarmcache.JobPart, error)
	TellPart(context.Context, swarmcache.Job, swarmcache.JobPart) error
}

// Config of a Runner. Defaults are in brackets.
type Config struct {
	Self      swarmcache.NodeID
	Directory Directory
	Downloads *download.Downloads
	// Resolve says what URL an address stands for.
	Resolve func(string) string
	// Draining reports whether this node takes on nothing more: what it has not begun
	// waits.
	Draining func() bool
	Every    time.Duration // it tells how far it has come; more in a large cluster [1 s]
	Logger   *slog.Logger
}

// Runner does this node's part of all jobs.
type Runner struct {
	cfg Config
	log *slog.Logger
}

// New returns a Runner that does nothing before Run.
func New(cfg Config) *Runner {
	cfg.Every = cmp.Or(cfg.Every, time.Second)
	return &Runner{cfg, cfg.Logger.With("component", "jobs")}
}

var errCanceled = errors.New("the job is canceled")

// Run does so until ctx is done.
func (r *Runner) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	known := map[string]context.CancelCauseFunc{} // jobs that were begun and still stand
	return r.cfg.Directory.FollowJobs(ctx, func(all []swarmcache.Job) {
		standing := map[string]bool{}
		for _, j := range all {
			if standing[j.ID] = true; known[j.ID] != nil || !j.Wants(r.cfg.Self) {
				continue
			}
			ctx, cancel := context.WithCancelCause(ctx)
			known[j.ID] = cancel
			wg.Go(func() {
				defer cancel(nil)
				r.take(ctx, j)
			})
		}
		for id, cancel := range known {
			if !standing[id] {
				cancel(errCanceled)
				delete(known, id)
			}
		}
	})
}

// take does this node's part of a job, unless it is done already.
func (r *Runner) take(ctx context.Context, j swarmcache.Job) {
	for {
		part, err := r.cfg.Directory.Part(ctx, j.ID)
		if part.Over {
			return
		}
		if (err == nil || errors.Is(err, swarmcache.ErrNotFound)) && !r.cfg.Draining() {
			break
		}
		if !pause(ctx, r.cfg.Every) {
			return
		}
	}
	if !r.list(ctx, &j) {
		return
	}
	log := r.log.With("job", j.ID)
	log.Info("a warm-up begins", "by", j.By)
	w, err := r.warm(ctx, j)
	if err != nil { // of all, or of a list of them
		failed := swarmcache.JobPart{Over: true, Objects: 1, Failed: 1, Failures: []swarmcache.JobFailure{failure(j.Manifest, err)}}
		log.Warn("a warm-up cannot begin", "error", err)
		r.tell(ctx, j, failed)
		return
	}
	r.watch(ctx, j, w)
	if context.Cause(ctx) == errCanceled {
		log.Info("a warm-up is canceled")
		r.cfg.Downloads.CancelWarmup(j.ID)
	}
}

// list has the directory give the URLs of a job; false: it does not any more.
func (r *Runner) list(ctx context.Context, j *swarmcache.Job) bool {
	for wait := rand.N(spread(j)); pause(ctx, wait); wait = r.cfg.Every {
		urls, err := r.cfg.Directory.JobURLs(ctx, *j)
		if err == nil {
			j.URLs = urls
			return true
		}
		if errors.Is(err, swarmcache.ErrNotFound) {
			return false
		}
	}
	return false
}

// spread is the time in which all nodes of a job read its list: they were told of it
// in the same moment, and the directory sends them listsASecond.
func spread(j *swarmcache.Job) time.Duration {
	return time.Nanosecond + time.Duration(j.Size*len(j.Nodes)/(listsASecond/1000))*time.Millisecond
}

const listsASecond = 32 << 20 // bytes

// warm begins with what the job stands for. A list that does not come is asked for
// again: its origin may have had enough of all the others.
func (r *Runner) warm(ctx context.Context, j swarmcache.Job) (w download.Warmup, err error) {
	var specs []download.Spec
	for tries := 1; ; tries++ {
		if specs, err = r.specs(ctx, j); err == nil || tries == listTries || !pause(ctx, time.Duration(tries)*r.cfg.Every) {
			break
		}
	}
	if err != nil {
		return w, err
	}
	return r.cfg.Downloads.Warm(j.ID, specs)
}

const listTries = 4

func (r *Runner) specs(ctx context.Context, j swarmcache.Job) (specs []download.Spec, err error) {
	urls := j.URLs
	if j.Manifest != "" {
		more, err := r.cfg.Downloads.Manifest(ctx, r.cfg.Resolve(j.Manifest))
		if err != nil {
			return nil, err
		}
		urls = append(urls[:len(urls):len(urls)], more...)
	}
	return r.cfg.Downloads.Expand(ctx, urls, j.Pinned)
}

// watch tells how far it has come until all of it has, or ctx is done. That it has
// come no further it tells only for the job to stand, which a part keeps it.
func (r *Runner) watch(ctx context.Context, j swarmcache.Job, w download.Warmup) {
	var told swarmcache.JobPart
	var at time.Time
	for !w.Over {
		if p := part(w); time.Since(at) >= noNews || !reflect.DeepEqual(p, told) {
			if r.once(ctx, j, p) == nil {
				told, at = p, time.Now()
			}
		}
		wait, cancel := context.WithTimeout(ctx, r.every())
		now, err := r.cfg.Downloads.Warmed(wait, j.ID)
		cancel()
		if ctx.Err() != nil || err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return // nobody wants it any more, or the daemon stops
		}
		w = now
	}
	r.tell(ctx, j, part(w))
}

// noNews is how often a node tells what it has told already.
const noNews = time.Minute

// every is how often a node tells: a thousand of them write a hundred times a second.
func (r *Runner) every() time.Duration {
	return max(r.cfg.Every, time.Duration(r.cfg.Directory.Size())*10*time.Millisecond)
}

// tell says what stands, until the directory has heard it or the job is gone.
func (r *Runner) tell(ctx context.Context, j swarmcache.Job, p swarmcache.JobPart) {
	for {
		if err := r.once(ctx, j, p); err == nil || errors.Is(err, swarmcache.ErrNotFound) || !pause(ctx, r.cfg.Every) {
			return
		}
	}
}

func (r *Runner) once(ctx context.Context, j swarmcache.Job, p swarmcache.JobPart) error {
	p.Job, p.Node, p.At = j.ID, r.cfg.Self, time.Now().UTC().Truncate(time.Millisecond)
	return r.cfg.Directory.TellPart(ctx, j, p)
}

// toldFailures of a node are told to all.
const toldFailures = 3

func part(w download.Warmup) swarmcache.JobPart {
	p := swarmcache.JobPart{
		Over: w.Over, Objects: w.Objects, Done: w.Done, Passed: w.Passed, Failed: w.Failed, Bytes: w.Bytes, Total: w.Total,
		Local: w.From.Local, Peers: w.From.Peers, Origin: w.From.Origin,
	}
	for _, f := range w.Failures[:min(len(w.Failures), toldFailures)] {
		p.Failures = append(p.Failures, failure(f.URL, f.Err))
	}
	return p
}

// failure is one as all may know it: what a manifest lists may be signed, and
// credentials are not for the directory.
func failure(url string, err error) swarmcache.JobFailure {
	public, secret := download.Public(url)
	text := err.Error()
	if secret != "" {
		text = strings.ReplaceAll(text, "?"+secret, "")
	}
	return swarmcache.JobFailure{URL: public, Error: text}
}

// pause waits; false when ctx is done first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
