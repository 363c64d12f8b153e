package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
)

// volume is a file system, in bytes.
type volume struct {
	total, available int64 // available to this user
	ours             int64 // taken by objects
}

// cacheSize is how many bytes objects may take: the configured share, and no
// more than leaves min_free to others. It looks once, at the start: a volume
// that others fill later is met by the disk's own "no space".
func cacheSize(c Cache, dir, objects string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("size of the volume of %s: %w", dir, err)
	}
	ours, err := taken(objects)
	if err != nil {
		return 0, fmt.Errorf("size of the objects: %w", err)
	}
	unit := st.Bsize
	return volume{int64(st.Blocks) * unit, int64(st.Bavail) * unit, ours}.room(c), nil
}

// room is never 0, which would mean no bound: into one byte nothing fits.
func (v volume) room(c Cache) int64 {
	return max(1, min(c.Size.Of(v.total), v.available+v.ours-c.MinFree.Of(v.total)))
}

// taken is what the files under dir occupy; sparse ones are smaller than long.
func taken(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Sys().(*syscall.Stat_t).Blocks * 512 // stat(2)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return n, err
}
