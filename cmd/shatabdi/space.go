package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"shatabdi/swarmcache"
)

// volume is a file system, in bytes.
type volume struct {
	total, available int64 // available to this user
	ours             int64 // taken by objects
}

// lookAt measures the volume of dir, where objects are.
func lookAt(dir, objects string) (volume, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return volume{}, fmt.Errorf("size of the volume of %s: %w", dir, err)
	}
	ours, err := taken(objects)
	if err != nil {
		return volume{}, fmt.Errorf("size of the objects: %w", err)
	}
	unit := st.Bsize
	return volume{int64(st.Blocks) * unit, int64(st.Bavail) * unit, ours}, nil
}

// room is how many bytes objects may take: the configured share, and no more than
// leaves min_free to others. It is found once, at the start: a volume that others
// fill later is met by the disk's own "no space". It is never 0, which would mean
// no bound: into one byte nothing fits.
func (v volume) room(c Cache) int64 {
	return max(1, min(c.Size.Of(v.total), v.available+v.ours-c.MinFree.Of(v.total)))
}

// noRoom says why objects may not take what one of them needs.
func (v volume) noRoom(c Cache) string {
	return fmt.Sprintf("%s free, %s of it for others (cache.min_free is %s), objects may take %s (cache.size is %s): no room for one of %s",
		size(v.available), size(min(v.available, c.MinFree.Of(v.total))), c.MinFree, size(v.room(c)), c.Size, size(int64(c.SwarmThreshold)))
}

const roomHint = "free some and start the daemon again, or lower cache.min_free (--cache-min-free), or raise cache.size"

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

// openVolumes opens what is configured beside the home. One that is missing, or cannot
// be looked through, is left out, and told of.
func (d *daemon) openVolumes(x swarmcache.Index) ([]swarmcache.Volume, error) {
	dirs := make([]string, len(d.cfg.Cache.Volumes))
	for i, v := range d.cfg.Cache.Volumes {
		dirs[i] = filepath.Clean(v.Dir)
	}
	volumes, err := swarmcache.OpenVolumes(x, d.cfg.DataDir, dirs)
	var not *swarmcache.VolumeError
	if errors.As(err, &not) {
		return nil, failure(not.Hint, "%v", err)
	}
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	disks := map[uint64]string{deviceOf(d.cfg.DataDir): d.cfg.DataDir}
	for i := range volumes {
		v, cache := &volumes[i], d.cfg.Cache
		cache.Size = cmp.Or(cache.Volumes[i].Size, cache.Size)
		if v.Missing == nil {
			var disk volume
			disk, v.Missing = lookAt(v.Dir, v.Objects)
			v.Size = disk.room(cache)
		}
		if v.Missing != nil {
			continue // the cache tells of it
		}
		if other, shared := disks[deviceOf(v.Dir)]; shared && cache.Size.Percent > 0 {
			d.log.Warn("two volumes are on one file system, and each takes its percentage: give sizes in bytes", "volume", v.Dir, "other", other)
		}
		disks[deviceOf(v.Dir)] = v.Dir
	}
	return volumes, nil
}

// deviceOf tells file systems apart.
func deviceOf(dir string) uint64 {
	st, err := os.Stat(dir)
	if err != nil {
		return 0
	}
	return uint64(st.Sys().(*syscall.Stat_t).Dev) // stat(2)
}

// largest is the most that objects may take on one volume.
func largest(home int64, volumes []swarmcache.Volume) int64 {
	for _, v := range volumes {
		if v.Missing == nil {
			home = max(home, v.Size)
		}
	}
	return home
}
