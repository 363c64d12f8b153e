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

// volumeOf measures the volume of dir, but not what objects take.
func volumeOf(dir string) (v volume, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return v, fmt.Errorf("size of the volume of %s: %w", dir, err)
	}
	v.total, v.available = int64(st.Blocks)*st.Bsize, int64(st.Bavail)*st.Bsize
	return v, nil
}

// lookAt measures the volume of dir, and the objects there.
func lookAt(dir, objects string) (volume, error) {
	v, err := volumeOf(dir)
	if err != nil {
		return v, err
	}
	if v.ours, err = taken(objects); err != nil {
		return v, fmt.Errorf("size of the objects: %w", err)
	}
	return v, nil
}

// quota is how many bytes objects may take where others leave that much. It is never 0,
// which would mean no bound: into one byte nothing fits.
func (v volume) quota(c Cache) int64 { return max(1, c.Size.Of(v.total)) }

// room is how many bytes objects may take now: the configured share, and no more than
// leaves min_free to others. The cache sees to it that this holds from then on.
func (v volume) room(c Cache) int64 {
	return max(1, min(v.quota(c), v.available+v.ours-c.MinFree.Of(v.total)))
}

// noRoom says why objects may not take what one of them needs.
func (v volume) noRoom(c Cache) string {
	return fmt.Sprintf("%s free, %s of it for others (cache.min_free is %s), objects may take %s (cache.size is %s): no room for one of %s",
		size(v.available), size(min(v.available, c.MinFree.Of(v.total))), c.MinFree, size(v.room(c)), c.Size, size(int64(c.SwarmThreshold)))
}

const roomHint = "free some, or lower cache.min_free (--cache-min-free), or raise cache.size"

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

// openVolumes opens what is configured beside the home. One that is missing, or whose
// disk cannot be measured, is left out, and told of.
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
			disk, v.Missing = volumeOf(v.Dir)
			v.Size, v.MinFree = disk.quota(cache), cache.MinFree.Of(disk.total)
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

// warnOfNoRoom tells of a node that can keep no object on any of its volumes.
func (d *daemon) warnOfNoRoom(volumes []swarmcache.VolumeState, objects string) error {
	for _, v := range volumes {
		if v.State != swarmcache.VolumeMissing && v.Limit >= int64(d.cfg.Cache.SwarmThreshold) {
			return nil
		}
	}
	home, err := lookAt(d.cfg.DataDir, objects)
	if err == nil {
		d.log.Warn("there is no room for objects, all responses pass through", "data_dir", d.cfg.DataDir, "why", home.noRoom(d.cfg.Cache), "hint", roomHint)
	}
	return err
}
