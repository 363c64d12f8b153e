package main

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// newLogger writes to w as cfg says. Auto means text for the eyes at a terminal
// and JSON for everything that collects logs.
func newLogger(w io.Writer, cfg Log) *slog.Logger { return leveledLogger(w, cfg, cfg.level()) }

// leveledLogger is newLogger with a level of its own, which may change.
func leveledLogger(w io.Writer, cfg Log, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "text" || cfg.Format == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func (l Log) level() (level slog.Level) {
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return slog.LevelInfo // Validate has refused it before
	}
	return level
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
