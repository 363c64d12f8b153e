package swarmcache

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"shatabdi/policy"
)

// lateDirectory answers who opens a fill once something has happened, and notes
// what it was asked.
type lateDirectory struct {
	Directory
	meanwhile func()
	opened    bool
	withdrawn policy.Key
}

func (d *lateDirectory) OpenFill(_ context.Context, r FillRecord, _ ...int) (FillRecord, Board, error) {
	d.opened = true
	d.meanwhile()
	return r, nil, nil
}

func (d *lateDirectory) JoinFill(context.Context, FillRecord) (Board, error) { return nil, nil }

func (d *lateDirectory) WithdrawVersion(_ context.Context, key policy.Key, _ ObjectID) error {
	d.withdrawn = key
	return nil
}

// Who began alone and looks for the others does not bring back what is purged
// meanwhile: before it asks, or while it does.
func TestSeekingDoesNotBringBackWhatWasPurged(t *testing.T) {
	for name, c := range map[string]struct {
		before, during    bool // it is purged
		opened, withdrawn bool
	}{
		"not purged":         {opened: true},
		"before it asks":     {before: true},
		"while it is asking": {during: true, opened: true, withdrawn: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr, _ := turns(64 << 20)
			d := &lateDirectory{meanwhile: func() { tr.file.condemned.Store(c.during) }}
			tr.c.cfg.Directory, tr.c.ctx, tr.log = d, t.Context(), slog.New(slog.DiscardHandler)
			tr.events = make(chan any, 1)
			tr.rec.Version.Key = "k"
			tr.file.condemned.Store(c.before)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			tr.seek(ctx)
			tr.background.Wait()
			if d.opened != c.opened || (d.withdrawn == "k") != c.withdrawn {
				t.Errorf("opened: %v, withdrawn: %q", d.opened, d.withdrawn)
			}
		})
	}
}
