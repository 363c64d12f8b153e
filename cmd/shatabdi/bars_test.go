package main

import (
	"bytes"
	"io"
	"testing"
	"time"

	"shatabdi/swarmcache/download"
)

// When the terminal goes away there are no bars, and all goes on without them.
func TestBarsOutliveTheirTerminal(t *testing.T) {
	var w bytes.Buffer
	s := &show{w: &w, n: 1, bars: newBars(io.Discard, time.Millisecond)}
	s.bars.Shutdown()
	i := s.begin("a", &download.Get{}, nil)
	s.draw()
	i.end(io.ErrUnexpectedEOF)
	if s.say("line"); w.String() != "line\n" {
		t.Errorf("said %q", w.String())
	}
}
