// Package download gets whole objects over HTTP into something that keeps them:
// a file, the cache, a pipe. It goes on where it was broken off, but never with
// bytes of another version, and never calls done what is not whole.
//
// How a request is answered is left to an http.RoundTripper: in the daemon that
// is its own proxy, on the command line the daemon's listener. So there is one
// way to fetch, with one set of rules.
package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"shatabdi/policy"
	"shatabdi/policy/httpheader"
)

// Sink takes the bytes of one object, in order.
type Sink interface {
	io.Writer
	// Restart forgets what was written: the bytes begin anew. A sink that cannot
	// do so returns an error.
	Restart() error
}

// Traced is what a response's body may tell of its bytes.
type Traced interface {
	// Sources tells where those that were read so far came from.
	Sources() (local, peers, origin int64)
	// Object is the id of what the cache answers from; empty: it passes through.
	Object() string
	// Stored reports whether all of it was here before.
	Stored() bool
}

// Get is one GET, as far as it has come. The exported fields are set before it
// runs; Run may be called again after it failed.
type Get struct {
	Transport http.RoundTripper
	URL       string
	Header    http.Header
	SHA256    string // of the whole body, hex; empty: not checked
	Sink      Sink
	// Keep: it is enough that the cache has it; what is there is not read.
	Keep bool
	// Head is told of every response that is taken, before its body is read; total
	// is the length of the whole, -1: not known.
	Head func(res *http.Response, total int64) error

	limiter rate.Limiter

	mu        sync.Mutex // guards the fields below
	offset    int64      // bytes that the sink has
	total     int64      // of the whole; -1: not known
	validator string     // of the version they are of
	sum       hash.Hash
	body      Traced // of the response that is being read
	before    Sources
	meter     meter
}

// Sources are bytes by where they came from.
type Sources struct{ Local, Peers, Origin int64 }

// Progress of a Get.
type Progress struct {
	Bytes, Total int64 // Total is -1 when it is not known
	Rate         int64 // bytes a second, lately
	From         Sources
	Object       string
}

// StatusError is an answer other than the one that was asked for.
type StatusError struct {
	Status int
	Text   string // what the answer says, if that is a line of text
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("the answer is %d %s", e.Status, http.StatusText(e.Status))
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// PartialError says that the body broke off, and may be continued.
type PartialError struct {
	Bytes, Total int64
	Err          error
}

func (e *PartialError) Error() string {
	if e.Total < 0 {
		return fmt.Sprintf("broken off after %d bytes: %v", e.Bytes, e.Err)
	}
	return fmt.Sprintf("broken off after %d of %d bytes: %v", e.Bytes, e.Total, e.Err)
}

func (e *PartialError) Unwrap() error { return e.Err }

// DigestError says that what came is not what was wanted.
type DigestError struct{ Got, Want string }

func (e *DigestError) Error() string { return fmt.Sprintf("its SHA-256 is %s, not %s", e.Got, e.Want) }

// SinkError says that the sink failed, not the source.
type SinkError struct{ Err error }

func (e *SinkError) Error() string { return e.Err.Error() }
func (e *SinkError) Unwrap() error { return e.Err }

// Resume makes the first Run go on behind what the sink has: n bytes, which are
// read from have if their digest is wanted, of the version with that validator.
func (g *Get) Resume(n int64, validator string, have io.Reader) error {
	g.offset, g.validator = n, validator
	if g.SHA256 == "" {
		return nil
	}
	g.sum = sha256.New()
	_, err := io.CopyN(g.sum, have, n)
	return err
}

// Validator is what the bytes so far can be continued by; empty: they cannot.
func (g *Get) Validator() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.validator
}

// SetLimit bounds the rate at which the body is read; 0: no bound. It does not
// bound what the node exchanges with peers behind it.
func (g *Get) SetLimit(bytesPerSecond int64) {
	if bytesPerSecond <= 0 {
		g.limiter.SetLimit(rate.Inf)
		return
	}
	g.limiter.SetBurst(int(min(max(bytesPerSecond/4, 1), chunk)))
	g.limiter.SetLimit(rate.Limit(bytesPerSecond))
}

// Progress tells how far it has come.
func (g *Get) Progress() Progress {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := Progress{Bytes: g.offset, Total: g.total, Rate: g.meter.rate(time.Now()), From: g.before}
	if g.body != nil {
		p.From = g.before.plus(g.body)
		p.Object = g.body.Object()
	}
	return p
}

func (s Sources) plus(b Traced) Sources {
	local, peers, origin := b.Sources()
	return Sources{s.Local + local, s.Peers + peers, s.Origin + origin}
}

// chunk is how much is read at a time, at most.
const chunk = 256 << 10

// A body that breaks off is asked for again, from where it ended: as often as it
// made progress, and so many times when it did not.
const (
	fruitless = 3
	firstWait = 250 * time.Millisecond
)

// Run gets what is missing.
func (g *Get) Run(ctx context.Context) error {
	g.begin()
	wait := firstWait
	for tries := 0; ; tries++ {
		was := g.Progress().Bytes
		err := g.once(ctx)
		var partial *PartialError
		if err == nil || ctx.Err() != nil || !errors.As(err, &partial) || g.Validator() == "" && partial.Bytes > 0 {
			return err
		}
		if g.Progress().Bytes > was {
			tries, wait = 0, firstWait
		}
		if tries == fruitless {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
		wait *= 2
	}
}

func (g *Get) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total = -1
	g.meter = meter{}
	if g.sum == nil && g.SHA256 != "" {
		g.sum = sha256.New()
	}
	if g.limiter.Limit() == 0 {
		g.limiter.SetLimit(rate.Inf)
	}
}

// once sends one request and reads its body to the end.
func (g *Get) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL, nil)
	if err != nil {
		return err
	}
	req.Header = g.Header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	from := g.offset
	if from > 0 && g.validator == "" {
		if err := g.restart(); err != nil {
			return err
		}
		from = 0
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		req.Header.Set("If-Range", g.validator)
	}
	if len(req.Header["Accept-Encoding"]) == 0 {
		req.Header.Set("Accept-Encoding", "identity") // the bytes as they are
	}
	res, err := (&http.Client{Transport: g.Transport}).Do(req)
	if err != nil {
		if from > 0 {
			return &PartialError{from, -1, unnamed(err)}
		}
		return unnamed(err)
	}
	defer res.Body.Close()
	return g.take(ctx, res, from)
}

// unnamed is err without the URL, which may hold a secret.
func unnamed(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// take reads the body of res, which was asked for from byte from on.
func (g *Get) take(ctx context.Context, res *http.Response, from int64) error {
	validator := policy.StrongValidator(res.Header, time.Time{})
	total := int64(-1)
	switch {
	case res.StatusCode == http.StatusOK:
		if from > 0 { // another version, or no ranges
			if err := g.restart(); err != nil {
				return err
			}
		}
		total = res.ContentLength
	case res.StatusCode == http.StatusPartialContent && from > 0:
		c, ok := httpheader.ParseContentRange(res.Header.Get("Content-Range"))
		if want := (httpheader.Range{From: from, To: c.Length}); !ok || c.Range != want || validator != g.validator {
			return g.again(fmt.Errorf("asked for bytes from %d on, it answers with %s of %q", from, res.Header.Get("Content-Range"), validator))
		}
		total = c.Length
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable && from > 0:
		return g.again(errors.New("what was here is no part of it"))
	case res.StatusCode >= 500 && from > 0:
		return &PartialError{from, -1, &StatusError{res.StatusCode, textOf(res)}}
	default:
		return &StatusError{res.StatusCode, textOf(res)}
	}
	traced, _ := res.Body.(Traced)
	g.mu.Lock()
	g.total, g.validator, g.body = total, validator, traced
	g.mu.Unlock()
	defer g.settle()
	if g.Head != nil {
		if err := g.Head(res, total); err != nil {
			return &SinkError{err}
		}
	}
	if g.Keep && g.SHA256 == "" && traced != nil && traced.Stored() {
		g.mu.Lock()
		g.offset, g.before.Local = max(total, 0), max(total, 0)
		g.mu.Unlock()
		return nil
	}
	return g.read(ctx, res.Body)
}

// settle adds up what a response brought.
func (g *Get) settle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.body != nil {
		g.before = g.before.plus(g.body)
		g.body = settled{g.body.Object(), g.body.Stored()}
	}
}

// settled is a body that has been read.
type settled struct {
	object string
	stored bool
}

func (settled) Sources() (local, peers, origin int64) { return 0, 0, 0 }
func (s settled) Object() string                      { return s.object }
func (s settled) Stored() bool                        { return s.stored }

func (g *Get) read(ctx context.Context, body io.Reader) error {
	buf := make([]byte, chunk)
	for {
		n, err := body.Read(buf[:min(chunk, max(1, g.burst()))])
		if n > 0 {
			if werr := g.wait(ctx, n); werr != nil {
				return g.partial(werr)
			}
			if _, werr := g.Sink.Write(buf[:n]); werr != nil {
				return &SinkError{werr}
			}
			g.mu.Lock()
			g.offset += int64(n)
			if g.sum != nil {
				g.sum.Write(buf[:n])
			}
			g.meter.add(time.Now(), int64(n))
			g.mu.Unlock()
		}
		switch {
		case err == io.EOF && g.total >= 0 && g.offset != g.total:
			return g.partial(io.ErrUnexpectedEOF)
		case err == io.EOF:
			return g.check()
		case err != nil:
			return g.partial(err)
		}
	}
}

// wait waits until n bytes may be taken. The limit may change meanwhile.
func (g *Get) wait(ctx context.Context, n int) error {
	for n > 0 {
		k := min(n, g.burst())
		if err := g.limiter.WaitN(ctx, k); err == nil {
			n -= k
		} else if k <= g.burst() {
			return err
		}
	}
	return nil
}

func (g *Get) burst() int {
	if g.limiter.Limit() == rate.Inf {
		return chunk
	}
	return g.limiter.Burst()
}

func (g *Get) partial(err error) error { return &PartialError{g.offset, g.total, err} }

// check compares the digest of the whole with the one that is wanted.
func (g *Get) check() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total = g.offset
	if g.sum == nil {
		return nil
	}
	if got := hex.EncodeToString(g.sum.Sum(nil)); got != strings.ToLower(g.SHA256) {
		return &DigestError{got, g.SHA256}
	}
	return nil
}

// restart begins with the first byte again.
func (g *Get) restart() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.offset > 0 {
		if err := g.Sink.Restart(); err != nil {
			return &SinkError{err}
		}
	}
	g.offset, g.validator, g.total = 0, "", -1
	if g.sum != nil {
		g.sum.Reset()
	}
	return nil
}

// again makes the next request one for the whole: what is here may be of another
// version.
func (g *Get) again(err error) error {
	if restart := g.restart(); restart != nil {
		return restart
	}
	return &PartialError{0, -1, err}
}

// textOf is what an error says in plain text: ours are short.
func textOf(res *http.Response) string {
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		return ""
	}
	b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	var said []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		for _, lead := range []string{"shatabdi: error: ", "shatabdi: hint: "} {
			if text, ok := strings.CutPrefix(line, lead); ok {
				said = append(said, text)
			}
		}
	}
	return strings.Join(said, "; ")
}

// ValidSHA256 reports whether text is a digest in hex.
func ValidSHA256(text string) bool {
	b, err := hex.DecodeString(text)
	return err == nil && len(b) == sha256.Size
}

// meter measures a rate over the last seconds.
type meter struct {
	slots [16]int64 // bytes of a quarter of a second each
	last  int64     // the newest slot, counted from the epoch
	first int64
}

const slot = int64(250 * time.Millisecond)

func (m *meter) move(now time.Time) {
	at := now.UnixNano() / slot
	if m.first == 0 {
		m.first, m.last = at, at
	}
	for n := min(at-m.last, int64(len(m.slots))); n > 0; n-- {
		m.slots[(at-n+1)%int64(len(m.slots))] = 0
	}
	m.last = max(at, m.last)
}

func (m *meter) add(now time.Time, n int64) {
	m.move(now)
	m.slots[m.last%int64(len(m.slots))] += n
}

func (m *meter) rate(now time.Time) int64 {
	if m.first == 0 {
		return 0
	}
	m.move(now)
	sum := int64(0)
	for _, n := range m.slots {
		sum += n
	}
	span := min(m.last-m.first+1, int64(len(m.slots)))
	return sum * int64(time.Second) / (span * slot)
}

// ETA is how long the rest takes at this rate; false: nobody can tell.
func (p Progress) ETA() (time.Duration, bool) {
	if p.Total < 0 || p.Rate <= 0 || p.Bytes >= p.Total {
		return 0, false
	}
	return time.Duration(float64(p.Total-p.Bytes) / float64(p.Rate) * float64(time.Second)), true
}
