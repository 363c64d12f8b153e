package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"

	"shatabdi/swarmcache/api"
	"shatabdi/swarmcache/download"
)

// show tells people how downloads come along: with a bar for each on a terminal, with
// lines elsewhere. All methods may be called when nothing is to be shown.
type show struct {
	w     io.Writer
	quiet bool
	n     int           // downloads there will be
	bars  *mpb.Progress // nil: lines
	all   *mpb.Bar      // of all of them; nil: there is one

	stop, stopped chan struct{}

	mu    sync.Mutex // guards the fields below, and lines that are written
	items []*item
}

// item is one download.
type item struct {
	s      *show
	name   string
	get    *download.Get
	client *client
	began  time.Time
	bar    *mpb.Bar // nil: none

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
	if !quiet && hasRoom(w) {
		s.bars = newBars(w, drawEvery)
		if n > 1 {
			s.all = addBar(s.bars, "all", s.amount)
		}
		if s.all != nil {
			s.all.SetPriority(n) // the last one
			s.all.SetTotal(int64(n), false)
		}
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
			if s.bars == nil && !s.quiet {
				for _, i := range s.running() {
					i.line()
				}
			}
		}
	}
}

func (s *show) begin(name string, get *download.Get, c *client) *item {
	i := &item{s: s, name: name, get: get, client: c, began: time.Now()}
	if s.bars != nil {
		i.bar = addBar(s.bars, name, i.amount)
	}
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

// draw moves the bars on.
func (s *show) draw() {
	if s.bars == nil {
		return
	}
	for _, i := range s.running() {
		i.draw()
	}
	if s.all != nil {
		ended, _ := s.sum()
		s.all.SetCurrent(int64(ended))
	}
}

// sum adds up all that has begun, and counts what has ended of that.
func (s *show) sum() (ended int, sum amount) {
	s.mu.Lock()
	items := slices.Clone(s.items)
	s.mu.Unlock()
	for _, i := range items {
		now := i.amount()
		i.mu.Lock()
		if i.ended {
			ended, now.rate = ended+1, 0
		}
		i.mu.Unlock()
		sum.rate += now.rate
		sum.from.Local, sum.from.Peers, sum.from.Origin = sum.from.Local+now.from.Local, sum.from.Peers+now.from.Peers, sum.from.Origin+now.from.Origin
	}
	return ended, sum
}

// amount is how far all of it has come.
func (s *show) amount() amount {
	ended, a := s.sum()
	a.count = fmt.Sprintf("%d of %d", ended, s.n)
	return a
}

// end shows the last of it.
func (s *show) end() {
	close(s.stop)
	<-s.stopped
	if s.bars != nil {
		drop(s.all)
		s.bars.Shutdown()
	}
}

// say writes a line, above the bars.
func (s *show) say(text string) {
	text = plain(text)
	if s.bars != nil { // which ask for the sum meanwhile, so without s.mu
		if _, err := fmt.Fprintln(s.bars, text); err == nil {
			return
		} // else the terminal is gone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.w, text)
}

func (i *item) draw() {
	if i.bar == nil {
		return
	}
	now := i.amount()
	if now.total > 0 {
		i.bar.SetTotal(now.total, false)
	}
	i.bar.SetCurrent(now.bytes)
}

// amount is how far it has come.
func (i *item) amount() amount {
	p := i.get.Progress()
	i.mu.Lock()
	from := i.shareLocked(p)
	i.mu.Unlock()
	a := amount{bytes: p.Bytes, total: p.Total, rate: p.Rate, from: from}
	if eta, ok := p.ETA(); ok {
		a.left = shortDuration(eta.Round(time.Second))
	}
	return a
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
	now := i.amount()
	text := i.name + ": " + size(now.bytes)
	if now.total > 0 {
		text += " of " + size(now.total) + ", " + now.done()
	}
	text += ", " + size(now.rate) + "/s"
	if now.left != "" {
		text += ", " + now.left + " left"
	}
	i.s.say(text + shareText(now.from))
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
	if i.bar != nil {
		i.draw()
		drop(i.bar)
	}
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
