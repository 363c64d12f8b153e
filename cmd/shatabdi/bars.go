package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"shatabdi/swarmcache/api"
)

// What is under way, as bars on a terminal: one each, none wider than that, and
// finished lines above them.

// A bar's columns, in characters: with them 80 leave twenty for the bar itself.
const (
	nameColumn = 20
	doneColumn = 8
	rateColumn = 11
	leftColumn = 7
)

// amount is how far something has come.
type amount struct {
	bytes, total, rate int64  // total: 0 or less, not known
	count              string // of several, so many have ended
	left               string
	from               api.From
}

// hasRoom reports whether w is a terminal whose size is known.
func hasRoom(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	return err == nil && width > 0 && height > 0
}

func newBars(w io.Writer, every time.Duration) *mpb.Progress {
	return mpb.New(mpb.WithOutput(w), mpb.WithRefreshRate(every))
}

// addBar adds the bar of what is called name and has come as far as now says, which
// may be asked at any time; nil: the terminal is gone.
func addBar(bars *mpb.Progress, name string, now func() amount) *mpb.Bar {
	text := func(width int, say func(amount) string) decor.Decorator {
		return decor.Any(func(decor.Statistics) string { return say(now()) }, decor.WC{W: width})
	}
	b, err := bars.Add(0, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]").Build(),
		mpb.PrependDecorators(decor.Name(columnName(name), decor.WC{W: nameColumn, C: decor.DindentRight})),
		mpb.AppendDecorators(
			text(doneColumn, amount.done),
			text(rateColumn, func(a amount) string { return size(a.rate) + "/s" }),
			text(leftColumn, func(a amount) string { return a.left }),
			decor.Any(func(decor.Statistics) string { return now().share() }),
		))
	if err != nil {
		return nil
	}
	return b
}

// drop takes a bar away that is over.
func drop(b *mpb.Bar) {
	if b != nil {
		b.Abort(true)
		b.Wait()
	}
}

// done is how much there is, in percent if that can be said.
func (a amount) done() string {
	switch {
	case a.count != "":
		return a.count
	case a.total <= 0:
		return size(a.bytes)
	}
	return fmt.Sprintf("%d %%", 100*a.bytes/a.total)
}

// share is how much of it peers sent, which is what the swarm is for; or all of it,
// the node itself.
func (a amount) share() string {
	all := a.from.Local + a.from.Peers + a.from.Origin
	switch {
	case all == 0:
		return ""
	case a.from.Local == all:
		return "  here"
	}
	return fmt.Sprintf("  %d %% peers", (100*a.from.Peers+all/2)/all)
}

// columnName is what a bar is called.
func columnName(name string) string { return shorten(plain(name), nameColumn) }

// shorten leaves the end of a long name, which tells more than its beginning.
func shorten(name string, width int) string {
	r := []rune(name)
	if len(r) <= width {
		return name
	}
	return "…" + string(r[len(r)-width+1:])
}
