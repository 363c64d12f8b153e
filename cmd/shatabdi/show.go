package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"shatabdi/swarmcache/api"
	"shatabdi/swarmcache/download"
)

// show tells people how downloads come along: with a bar on a terminal, with lines
// elsewhere. All methods may be called when nothing is to be shown.
type show struct {
	w     io.Writer
	quiet bool
	n     int // downloads there will be
	bar   *progressbar.ProgressBar

	stop, stopped chan struct{}

	mu    sync.Mutex // guards the fields below, and what is written
	items []*item
}

// item is one download.
type item struct {
	s      *show
	name   string
	get    *download.Get
	client *client
	began  time.Time

	mu    sync.Mutex // guards the fields below
	url   string     // that answered, after redirects
	hit   bool       // it was on this node
	from  api.From
	ended bool
}

// How often a bar is drawn, where the bytes come from is asked, and a line told.
const (
	drawEvery = 200 * time.Millisecond
	askEvery  = time.Second
	lineEvery = 10 * time.Second
)

func newShow(w io.Writer, quiet bool, n int) *show {
	s := &show{w: w, quiet: quiet, n: n, stop: make(chan struct{}), stopped: make(chan struct{})}
	if f, ok := w.(*os.File); !quiet && ok && term.IsTerminal(int(f.Fd())) {
		s.bar = progressbar.NewOptions64(-1,
			progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true),
			progressbar.OptionShowTotalBytes(true), progressbar.OptionSetPredictTime(true), progressbar.OptionSetWidth(24),
			progressbar.OptionThrottle(drawEvery/2), progressbar.OptionClearOnFinish())
	}
	go s.run()
	return s
}

// run draws until end.
func (s *show) run() {
	defer close(s.stopped)
	draw, ask, line := time.NewTicker(drawEvery), time.NewTicker(askEvery), time.NewTicker(lineEvery)
	defer draw.Stop()
	defer ask.Stop()
	defer line.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-draw.C:
			s.draw()
		case <-ask.C:
			for _, i := range s.running() {
				i.ask()
			}
		case <-line.C:
			if s.bar == nil && !s.quiet {
				for _, i := range s.running() {
					i.line()
				}
			}
		}
	}
}

func (s *show) begin(name string, get *download.Get, c *client) *item {
	i := &item{s: s, name: name, get: get, client: c, began: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, i)
	return i
}

func (s *show) running() (some []*item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.items {
		i.mu.Lock()
		if !i.ended {
			some = append(some, i)
		}
		i.mu.Unlock()
	}
	return some
}

// draw shows all downloads as one bar.
func (s *show) draw() {
	if s.bar == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var bytes, total int64
	var from api.From
	name, ended := "", 0
	for _, i := range s.items {
		p := i.get.Progress()
		bytes += p.Bytes
		if p.Total < 0 || total < 0 {
			total = -1
		} else {
			total += p.Total
		}
		i.mu.Lock()
		f := i.shareLocked(p)
		if i.ended {
			ended++
		}
		i.mu.Unlock()
		from.Local, from.Peers, from.Origin = from.Local+f.Local, from.Peers+f.Peers, from.Origin+f.Origin
		name = i.name
	}
	if len(s.items) == 0 {
		return
	}
	if s.n > 1 {
		name = fmt.Sprintf("%d of %d", ended, s.n)
	}
	if total > 0 && total != s.bar.GetMax64() {
		s.bar.ChangeMax64(max(total, bytes+1)) // it ends when we say so
	}
	s.bar.Describe(name + shareText(from))
	s.bar.Set64(bytes)
}

// end shows the last of it.
func (s *show) end() {
	close(s.stop)
	<-s.stopped
	if s.bar != nil {
		s.bar.Clear()
		s.bar.Exit()
	}
}

// say writes a line, above the bar.
func (s *show) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar != nil {
		s.bar.Clear()
	}
	fmt.Fprintln(s.w, text)
}

// answered notes what the head of a response tells.
func (i *item) answered(res *http.Response) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.url = res.Request.URL.String()
	said := strings.Join(res.Header["Cache-Status"], ",")
	said = strings.ReplaceAll(said[strings.LastIndex(said, ",")+1:], " ", "") // our daemon speaks last
	i.hit = strings.Contains(said, ";hit") && !strings.Contains(said, ";detail=swarm")
}

// ask asks the daemon where the bytes come from. It is no matter if it does not
// tell.
func (i *item) ask() {
	i.mu.Lock()
	u, hit := i.url, i.hit
	i.mu.Unlock()
	if u == "" || hit || i.s.quiet {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askEvery)
	defer cancel()
	var found api.Objects
	if err := i.client.get(ctx, "objects", url.Values{"url": {u}}, &found); err != nil || len(found.Objects) == 0 {
		return
	}
	var o api.ObjectDetail
	if err := i.client.get(ctx, "objects/"+string(found.Objects[0].ID), nil, &o); err != nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.from = o.Arrived
}

// shareLocked is where the bytes came from, as far as is known: what is no object
// passed through, from the origin.
func (i *item) shareLocked(p download.Progress) api.From {
	switch {
	case i.hit:
		return api.From{Local: p.Bytes}
	case i.from == api.From{}:
		return api.From{Origin: p.Bytes}
	}
	return i.from
}

func (i *item) line() {
	p := i.get.Progress()
	i.mu.Lock()
	share := i.shareLocked(p)
	i.mu.Unlock()
	text := fmt.Sprintf("%s: %s", i.name, size(p.Bytes))
	if p.Total > 0 {
		text += fmt.Sprintf(" of %s, %d %%", size(p.Total), 100*p.Bytes/p.Total)
	}
	text += ", " + size(p.Rate) + "/s"
	if eta, ok := p.ETA(); ok {
		text += ", " + shortDuration(eta.Round(time.Second)) + " left"
	}
	i.s.say(text + shareText(share))
}

// end tells what came of it; errors are told elsewhere.
func (i *item) end(err error) {
	if err == nil && !i.s.quiet {
		i.ask()
	}
	p := i.get.Progress()
	i.mu.Lock()
	i.ended = true
	share := i.shareLocked(p)
	i.mu.Unlock()
	if err == nil && !i.s.quiet {
		i.s.say(tell(i.name, p, share, time.Since(i.began)))
	}
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// shareText is where bytes came from, in percent.
func shareText(f api.From) string {
	all := f.Local + f.Peers + f.Origin
	if all == 0 {
		return ""
	}
	var said []string
	for _, part := range []struct {
		n    int64
		from string
	}{{f.Peers, "peers"}, {f.Origin, "the origin"}, {f.Local, "this node"}} {
		if part.n > 0 {
			said = append(said, fmt.Sprintf("%d %% from %s", (100*part.n+all/2)/all, part.from))
		}
	}
	return ", " + strings.Join(said, ", ")
}
