package index

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/dgraph-io/badger/v4"
)

const (
	// A file of the value log is rewritten when at least half of it is dead.
	deadShare = 0.5
	// maxRewrites bounds one turn to reading 128 MiB and writing half of that.
	maxRewrites = 8
)

// Run gives the space of forgotten hashes back from time to time, until ctx is
// done or the index is closed. An index that nobody runs works and grows.
func (x *Index) Run(ctx context.Context) error {
	tick := time.NewTicker(x.collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := x.collect(ctx)
		if errors.Is(err, fs.ErrClosed) {
			return nil
		}
		if err != nil {
			x.log.Warn("collection of the value log stopped", "error", err)
		}
	}
}

// collect rewrites files of the value log that are mostly dead.
func (x *Index) collect(ctx context.Context) error {
	for range maxRewrites {
		if ctx.Err() != nil {
			return nil
		}
		err := x.collectOne()
		if errors.Is(err, badger.ErrNoRewrite) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *Index) collectOne() error {
	leave, err := x.enter()
	if err != nil {
		return err
	}
	defer leave()
	done, err := x.haveRoom(roomToPut)
	if err != nil {
		return err
	}
	defer done()
	return x.db.RunValueLogGC(deadShare)
}
