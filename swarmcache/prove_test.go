package swarmcache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"shatabdi/swarmcache/layout"
)

// answering is an origin that answers every request alike.
type answering struct {
	Origin
	err   error
	res   http.Response
	asked []layout.Range
}

func (a *answering) Get(_ context.Context, r layout.Range, _ string) (*http.Response, error) {
	a.asked = append(a.asked, r)
	res := a.res
	res.Body = io.NopCloser(bytes.NewReader([]byte("x")))
	return &res, a.err
}

// roomy is a directory that has a slot for everybody.
type roomy struct{ Directory }

func (roomy) ClaimSlot(context.Context, string, int) (func(), error) { return func() {}, nil }

// As soon as another node is there the opener asks for one byte, once: where it gets
// one its body may end where others read on, where it gets the whole there is one stream.
func TestOpenerProvesRanges(t *testing.T) {
	tag := http.Header{"Etag": {`"1"`}}
	for name, c := range map[string]struct {
		origin         answering
		ranges, single bool
	}{
		"a part":         {answering{res: http.Response{StatusCode: 206, Header: http.Header{"Etag": {`"1"`}, "Content-Range": {"bytes 131072-131072/67108864"}}}}, true, false},
		"the whole":      {answering{res: http.Response{StatusCode: 200, ContentLength: 64 << 20, Header: tag}}, false, true},
		"another whole":  {answering{res: http.Response{StatusCode: 200, ContentLength: 64 << 20, Header: http.Header{"Etag": {`"2"`}}}}, false, false},
		"an error":       {answering{err: errors.New("reset")}, false, false},
		"too many":       {answering{res: http.Response{StatusCode: 429}}, false, false},
		"some other one": {answering{res: http.Response{StatusCode: 206, Header: http.Header{"Etag": {`"1"`}, "Content-Range": {"bytes 0-0/67108864"}}}}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			tr, _ := turns(64<<20, "a")
			tr.rec.Version.Validator = `"1"`
			tr.log, tr.c.now, tr.events = slog.New(slog.DiscardHandler), time.Now, make(chan any, 8)
			tr.c.ctx = t.Context()
			tr.c.budget = newBudget(t.Context(), func(f func()) bool { go f(); return true }, roomy{}, 8, 0, time.Now, nil)
			tr.origin = &c.origin
			tr.prove(t.Context())
			if tr.probed {
				t.Fatal("proves what it has no use for")
			}
			s := newStream(tr, 0, 1)
			s.endless = true
			tr.streams[s] = true
			for range 2 {
				tr.prove(t.Context())
				tr.background.Wait()
			}
			if len(c.origin.asked) != 1 || c.origin.asked[0] != (layout.Range{From: 128 << 10, To: 128<<10 + 1}) {
				t.Fatalf("asked for %v", c.origin.asked)
			}
			if err := tr.handle(t.Context(), <-tr.events); err != nil {
				t.Fatal(err)
			}
			if tr.rangesWork != c.ranges || tr.rec.Single != c.single {
				t.Errorf("ranges work: %v, one stream: %v", tr.rangesWork, tr.rec.Single)
			}
		})
	}
}
