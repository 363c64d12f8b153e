package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"shatabdi/swarmcache/events"
)

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"http://example.com/a?b=ü€": "http://example.com/a?b=ü€",
		"\x1b]0;owned\x07":          `\x1b]0;owned\x07`,
		"a\r\nb\tc\x7f":             `a\x0d\x0ab\x09c\x7f`,
		"\u009b31m":                 `\u009b31m`,
		"gpj.\u202eexe":             `gpj.\u202eexe`,
		"\x9b31m\xff":               `\x9b31m\xff`,
	} {
		if got := plain(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := columnName("\x1b[31mname"); got != `\x1b[31mname` {
		t.Errorf("a bar is called %q", got)
	}
}

// Whatever shows a name to people shows no more than the name.
func TestNothingShownMovesTheCursor(t *testing.T) {
	const evil = "a\x1b[2J\u009b1A\x9b\r"
	for what, show := range map[string]func(io.Writer){
		"table": func(w io.Writer) { writeTable(w, [][]string{{evil, "x"}, {evil}}) },
		"error": func(w io.Writer) { speak(w, failure(evil, "%s: %w", evil, errors.New(evil))) },
		"event": func(w io.Writer) { printEvent(w, events.Event{Kind: events.Evicted, Key: evil, Reason: evil}) },
		"text":  func(w io.Writer) { printAs(w, "text", nil, func(w io.Writer) { fmt.Fprintln(w, evil) }) },
		"line":  func(w io.Writer) { (&show{w: w}).say(evil) },
	} {
		var b strings.Builder
		show(&b)
		if text := b.String(); strings.ContainsAny(text, "\x1b\r\u009b") || !utf8.ValidString(text) || !strings.Contains(text, `\x1b[2J`) {
			t.Errorf("%s: %q", what, text)
		}
	}
}
