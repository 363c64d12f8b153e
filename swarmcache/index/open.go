package index

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/swarmcache"
)

var (
	// ErrLocked: another process, or another Index here, has the directory.
	ErrLocked = errors.New("catalogue is in use")
	// ErrDamaged: the catalogue, or a part of it, cannot be read. Objects can be
	// fetched again: a catalogue that does not open may be removed.
	ErrDamaged = errors.New("catalogue is damaged")
)

// Options say where the catalogue is.
type Options struct {
	Dir        string                // made if it is missing; nothing else may live there
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics

	unsynced bool // leave flushing to the kernel; for tests that make many small writes, and bodies
	bodies   bool // what is kept is those
}

const (
	// memTable bounds what badger keeps in memory of the newest writes, twice: the
	// one that fills and the one that is written out. Badger allows a transaction
	// 15 % of it, 614 KiB; the largest record is far below that.
	memTable = 4 << 20
	// inTree is the largest value kept in the tree: nearly every record, and the
	// hashes of objects up to 200 pieces. Larger ones go to the value log, so that
	// the tree stays small enough to be checked whole when it is opened.
	inTree = 4 << 10
	// valueLogFile bounds one file of the value log, the unit of its collection.
	valueLogFile = 16 << 20

	// Badger writes through memory maps of sparse files, where a full disk is not
	// an error but a SIGBUS that nobody can catch. So nothing is written without
	// this much free space: enough for both memtables to be flushed, and, before
	// the catalogue grows, for a compaction as well. Forgetting objects makes room
	// and must go on longer.
	roomToPut  = 8 * memTable
	roomToEdit = 4 * memTable
)

// Open opens the catalogue in o.Dir, or makes one. Errors: ErrLocked,
// ErrDamaged, *FormatError (nothing was touched), swarmcache.ErrNoSpace, or an
// fs error about the directory.
func Open(o Options) (x *Index, err error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	unlock, err := lock(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	if err := check(o.Dir, o.format()); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	takeBack, err := borrowed(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	defer func() { takeBack(x) }()
	if err := checkWritable(o.Dir); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	if err := sweep(o.Dir); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	db, err := openBadger(o, log)
	if err != nil {
		return nil, fmt.Errorf("open index: %w: %s: %w", ErrDamaged, o.Dir, err)
	}
	m, err := newMetrics(o.Dir, o.Registerer)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open index: %w", err), db.Close())
	}
	return &Index{db: db, dir: o.Dir, log: log, collectEvery: 10 * time.Minute, metrics: m, unlock: unlock, reserves: !o.bodies}, nil
}

func (o Options) format() int {
	if o.bodies {
		return BodiesFormat
	}
	return Format
}

// openBadger keeps badger's memory small: the catalogue is read rarely, from
// maps of its files, so the kernel's page cache is cache enough.
func openBadger(o Options, log *slog.Logger) (*badger.DB, error) {
	b := badger.DefaultOptions(o.Dir)
	b.Logger = badgerLogger{log}
	b.ExternalMagicVersion = uint16(o.format())
	b.BypassLockGuard = true // we hold the lock that badger would take
	// Without it a record survives kill -9, as the pages of a shared map belong to
	// the kernel, but not a power cut. It is cheap enough: 0.3 ms a write on a
	// virtual SSD (BenchmarkPut), where a node makes a few dozen a second, and
	// writers that come together share one sync.
	b.SyncWrites = !o.unsynced

	b.MemTableSize = memTable
	b.NumMemtables = 2
	b.NumCompactors = 2
	b.ValueThreshold = inTree
	b.ValueLogFileSize = valueLogFile
	b.Compression = options.None // else blocks need a cache of their own
	b.BlockCacheSize = 0
	b.IndexCacheSize = 0
	b.MetricsEnabled = false // expvar

	if o.bodies {
		b.MemTableSize, b.ValueThreshold, b.ValueLogFileSize = bodyTable, bodyInTree, bodyLogFile
	}

	b.ChecksumVerificationMode = options.OnBlockRead // all of them were checked once, by check
	b.VerifyValueChecksum = true
	return badger.Open(b)
}

// lock takes the same lock as badger and its tools do, a flock on the directory.
// We take it ourselves to look inside before anything is changed, and because
// badger's errors do not tell a lock from a lack of permission.
func lock(dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%w: %s is locked by %s", ErrLocked, dir, holder(dir))
	} else if err != nil {
		err = fmt.Errorf("lock %s: %w", dir, err)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f.Close, nil
}

// pidFile tells people who has the lock; it is not part of it.
const pidFile = "LOCK"

func holder(dir string) string {
	pid, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil {
		return "another process"
	}
	return "process " + strings.TrimSpace(string(pid))
}

// checkWritable leaves this process's id, and so fails where badger would fail,
// with an error that names the cause.
func checkWritable(dir string) error {
	err := os.WriteFile(filepath.Join(dir, pidFile), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	if err != nil {
		return fmt.Errorf("%s is not writable: %w", dir, err)
	}
	return nil
}

// haveRoom tells how many bytes are free for dir, and fails with ErrNoSpace when those
// are fewer than room.
func haveRoom(dir string, room int64) (free int64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	if free = int64(s.Bavail) * int64(s.Bsize); free < room {
		return free, fmt.Errorf("%s: %d MiB free, the catalogue needs %d: %w", dir, free>>20, room>>20, swarmcache.ErrNoSpace)
	}
	return free, nil
}
