package swarmcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// quotaPlay is what many do at once to a small cache of objects of a few pieces.
type quotaPlay struct {
	t      *testing.T
	c      *swarmcache.Cache
	dirs   []string // of the volumes, the home first
	limits []int64

	over    atomic.Int64 // how often the books, or the disk, were over the limit
	refused atomic.Int64
	read    atomic.Int64
}

const (
	quotaObjects = 60
	quotaLargest = 360 << 10
)

// object number n, always the same.
func (p *quotaPlay) object(n int) memory {
	m := memory{fmt.Sprint("object-", n), make([]byte, 40<<10*(1+n%9))}
	rand.NewChaCha8([32]byte{byte(n)}).Read(m.data)
	return m
}

// do is one random operation.
func (p *quotaPlay) do(rnd *rand.Rand) error {
	// Some are asked for far more often than others.
	m := p.object(min(rnd.IntN(quotaObjects), rnd.IntN(quotaObjects)))
	switch rnd.IntN(12) {
	case 0:
		r, err := p.c.Selected(policy.Key(m.name))
		if err == nil && r.Complete {
			err = p.c.Forget(r.Version.ID)
		}
		return err
	case 1: // a body without a length
		v := m.version()
		v.Length = 0
		s := p.c.Spool(v)
		if _, err := s.Write(m.data); err != nil {
			s.Abort()
			return err
		}
		if rnd.IntN(3) == 0 {
			s.Abort()
			return nil
		}
		return s.Commit(p.t.Context(), 1)
	}
	obj, err := p.c.Lookup(p.t.Context(), policy.Key(m.name), m)
	if errors.Is(err, swarmcache.ErrNotFound) {
		obj, err = p.c.Fill(p.t.Context(), m.version(), true, io.NopCloser(bytes.NewReader(m.data)), m)
	}
	if err != nil {
		return err
	}
	defer obj.Close()
	to := int64(len(m.data))
	if rnd.IntN(3) == 0 {
		to = rnd.Int64N(to) + 1 // and leave
	}
	r := obj.NewReader(p.t.Context(), 0, to)
	defer r.Close()
	b, err := io.ReadAll(r)
	if !bytes.Equal(b, m.data[:len(b)]) || err == nil && int64(len(b)) != to {
		return fmt.Errorf("%s: wrong bytes", m.name)
	}
	p.read.Add(1)
	return err
}

// look compares the books with the limit, and the disk with it.
func (p *quotaPlay) look() {
	for i, v := range p.c.Volumes() {
		if v.Bytes > p.limits[i] {
			p.over.Add(1)
			p.t.Errorf("%d bytes are on the books of volume %d, of %d", v.Bytes, i, p.limits[i])
		}
		// What goes and what comes while the files are counted may both be.
		if n := allocated(p.dirs[i]); n > p.limits[i]+2*quotaLargest {
			p.over.Add(1)
			p.t.Errorf("%d bytes are on volume %d, of %d", n, i, p.limits[i])
		}
	}
}

// allocated is what the files under dir take. Files that go meanwhile may count
// or not.
func allocated(dir string) (n int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			n += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	return n
}

// Whatever many clients do at once, neither the books nor the disk ever have more
// than the cache may take, on any volume; in the end the store is as its catalogue says.
func TestQuotaHoldsWhateverIsDone(t *testing.T) {
	t.Run("one volume", func(t *testing.T) { playQuota(t, 10_000/slower, 5<<20) })
	onThree := 1500
	if os.Getenv("SHATABDI_KILLS") != "" {
		onThree = 10_000 // make kill plays all of them
	}
	t.Run("three volumes", func(t *testing.T) { playQuota(t, onThree/slower, 2<<20, 2<<20, 1<<20) })
}

func playQuota(t *testing.T, operations int, limits ...int64) {
	const workers = 5
	// What was begun, left and evicted would stand on a board, and be waited for.
	directory := cachetest.NewDirectory()
	directory.SetAvailable(false)
	r := newRack(t, limits...)
	p := &quotaPlay{t: t, dirs: append([]string{r.dir}, r.dirs...), limits: limits}
	cfg := r.config()
	cfg.Directory, cfg.Logger = directory.Node(cfg.Node), slog.New(slog.DiscardHandler)
	var err error
	p.c, err = swarmcache.Open(cfg)
	must(t, err)
	defer p.c.Close()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	done := make(chan struct{})
	var watch, work sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				p.look()
			}
		}
	})
	for w := range workers {
		rnd := rand.New(rand.NewPCG(seed, uint64(w)))
		work.Go(func() {
			for range operations / workers {
				err := p.do(rnd)
				switch {
				case err == nil:
				case errors.Is(err, swarmcache.ErrNoSpace), errors.Is(err, swarmcache.ErrNotFound), errors.Is(err, swarmcache.ErrFillEnded), errors.Is(err, context.Canceled):
					p.refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	close(done)
	watch.Wait()
	must(t, p.c.Close())
	t.Logf("%d operations, %d reads, %d were refused, %d times over the limit", operations, p.read.Load(), p.refused.Load(), p.over.Load())
	if p.read.Load() < int64(operations/2) {
		t.Error("hardly anything was read")
	}
	known, err := swarmcache.KnownVolumes(r.index, r.dir)
	must(t, err)
	found, err := swarmcache.Check(swarmcache.CheckConfig{Dir: r.dir, Volumes: known, Index: r.index, Deep: true})
	if err != nil || len(found.Findings) > 0 {
		t.Errorf("%+v, %v", found.Findings, err)
	}
	if s := p.c.Stats(); s.Bytes != found.Bytes || s.Objects != found.Objects {
		t.Errorf("on the books %+v, found %d bytes of %d objects", s, found.Bytes, found.Objects)
	}
	for i, v := range p.c.Volumes() {
		if v.Objects == 0 {
			t.Errorf("volume %d was not used", i)
		}
	}
}
