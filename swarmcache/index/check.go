package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// Format is the version of what the catalogue holds. It stands in the head of
// badger's manifest (its "external magic"), so it can be read before anything
// is opened, replayed or compacted.
const Format = 1

// FormatError says that another version of this program wrote the catalogue.
type FormatError struct {
	Dir         string
	Found, Want int
}

func (e *FormatError) Error() string {
	if e.Found > e.Want {
		return fmt.Sprintf("catalogue %s is of a newer version: format %d, this program knows %d", e.Dir, e.Found, e.Want)
	}
	return fmt.Sprintf("catalogue %s has format %d, this program needs %d", e.Dir, e.Found, e.Want)
}

// check reads what badger is about to open and changes nothing. Badger itself
// would leave out a table whose checksum does not match, start anew over tables
// whose manifest is gone and delete them, and panic, in a goroutine of its own,
// at a table cut short: in each case objects would be lost without a word.
func check(dir string, format int) error {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return checkNew(dir)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := checkFormat(dir, f, format); err != nil {
		return err
	}
	manifest, _, err := badger.ReplayManifestFile(f, uint16(format), badger.Options{})
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, f.Name(), err)
	}
	for id, t := range manifest.Tables {
		if err := checkTable(table.NewFilename(id, dir), t.Compression); err != nil {
			return err
		}
	}
	return nil
}

func checkNew(dir string) error {
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err == nil && len(tables) > 0 {
		err = fmt.Errorf("%w: %s has tables, but no %s", ErrDamaged, dir, badger.ManifestFilename)
	}
	return err
}

// checkFormat reads the head of the manifest, "Bdgr", the format that is wanted, badger's own,
// and leaves f at its start.
func checkFormat(dir string, f *os.File, want int) error {
	var head [8]byte
	if _, err := io.ReadFull(f, head[:]); err != nil || string(head[:4]) != "Bdgr" {
		return fmt.Errorf("%w: %s has no head", ErrDamaged, f.Name())
	}
	if found := int(binary.BigEndian.Uint16(head[4:])); found != want {
		return &FormatError{Dir: dir, Found: found, Want: want}
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// checkTable reads a whole table; all of them are some MiB.
func checkTable(name string, c options.CompressionType) (err error) {
	defer func() {
		if p := recover(); p != nil { // badger's way to report a broken footer
			err = fmt.Errorf("%v", p)
		}
		if err != nil {
			err = fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
		}
	}()
	m, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	t, err := table.OpenTable(m, table.Options{ReadOnly: true, ChkMode: options.OnTableRead, Compression: c})
	if err != nil {
		return err // m is closed
	}
	return t.Close(-1)
}

// sweep removes the empty logs that a crash leaves when it comes between a
// file's creation and its growth, or its truncation and its removal. They hold
// nothing, and badger does not open with them.
func sweep(dir string) error {
	for _, pattern := range []string{"*.vlog", "*.mem"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			info, err := os.Stat(name)
			if err == nil && info.Size() == 0 {
				err = os.Remove(name)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
