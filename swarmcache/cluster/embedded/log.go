package embedded

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// bridge brings etcd's log to slog, a level lower: what alarms the keeper of an
// etcd cluster need not alarm the keeper of a proxy. While the member stops, it
// calls each closed listener an error; that is for debugging only.
type bridge struct {
	to       *slog.Logger
	min      zapcore.Level
	stopping <-chan struct{}
}

func level(name string) zapcore.Level {
	l, err := zapcore.ParseLevel(name)
	if err != nil || name == "" {
		return zapcore.WarnLevel
	}
	return l
}

var levels = map[zapcore.Level]slog.Level{
	zapcore.DebugLevel: slog.LevelDebug, zapcore.InfoLevel: slog.LevelDebug, zapcore.WarnLevel: slog.LevelDebug,
	zapcore.ErrorLevel: slog.LevelWarn,
}

func (b *bridge) slogLevel(l zapcore.Level) slog.Level {
	select {
	case <-b.stopping:
		return slog.LevelDebug
	default:
	}
	if s, ok := levels[l]; ok {
		return s
	}
	return slog.LevelError
}

func (b *bridge) Enabled(l zapcore.Level) bool {
	return l >= b.min && b.to.Enabled(context.Background(), b.slogLevel(l))
}

func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{b.to.With(attrs(fields)...), b.min, b.stopping}
}

func (b *bridge) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return c.AddCore(e, b)
	}
	return c
}

func (b *bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	b.to.Log(context.Background(), b.slogLevel(e.Level), e.Message, attrs(fields)...)
	return nil
}

func (b *bridge) Sync() error { return nil }

func attrs(fields []zapcore.Field) []any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	var out []any
	for k, v := range enc.Fields {
		out = append(out, slog.Any(k, v))
	}
	return out
}
