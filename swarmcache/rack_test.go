package swarmcache_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// rack is a store on several volumes that outlives its cache.
type rack struct {
	shelf
	t     *testing.T
	sizes []int64  // of the home, and of the others
	dirs  []string // of the others
	files swarmcache.Files
}

func newRack(t *testing.T, sizes ...int64) *rack {
	r := &rack{shelf: newShelf(t), t: t, sizes: sizes}
	for range sizes[1:] {
		r.dirs = append(r.dirs, t.TempDir())
	}
	return r
}

func (r *rack) config() swarmcache.Config {
	r.t.Helper()
	volumes, err := swarmcache.OpenVolumes(r.index, r.dir, r.dirs)
	must(r.t, err)
	for i := range volumes {
		volumes[i].Size = r.sizes[i+1]
	}
	self := swarmcache.Node{ID: "me"}
	return swarmcache.Config{
		Dir: r.dir, Size: r.sizes[0], Volumes: volumes, Files: r.files, Index: r.index, Directory: cachetest.NewDirectory().Node(self), Node: self,
		Logger: slog.New(slog.NewTextHandler(r.t.Output(), nil)),
	}
}

func (r *rack) open() *swarmcache.Cache {
	r.t.Helper()
	c, err := swarmcache.Open(r.config())
	must(r.t, err)
	r.t.Cleanup(func() { c.Close() })
	return c
}

func (r *rack) check(repair bool) []string {
	r.t.Helper()
	known, err := swarmcache.KnownVolumes(r.index, r.dir)
	must(r.t, err)
	found, err := swarmcache.Check(swarmcache.CheckConfig{Dir: r.dir, Volumes: known, Index: r.index, Deep: true, Repair: repair})
	must(r.t, err)
	return whats(found)
}

// unmount leaves an empty directory in the place of a volume, until mount.
func (r *rack) unmount(i int) {
	must(r.t, os.Rename(r.dirs[i], r.dirs[i]+".away"))
	must(r.t, os.Mkdir(r.dirs[i], 0o700))
}

func (r *rack) mount(i int) {
	must(r.t, os.RemoveAll(r.dirs[i]))
	must(r.t, os.Rename(r.dirs[i]+".away", r.dirs[i]))
}

// on is the volume that m is on: 0 is the home.
func (r *rack) on(c *swarmcache.Cache, m memory) int {
	r.t.Helper()
	obj, err := c.Local(policy.Key(m.name), m)
	must(r.t, err)
	defer obj.Close()
	return slices.IndexFunc(append([]string{r.dir}, r.dirs...), func(dir string) bool {
		return strings.HasPrefix(swarmcache.PathOf(obj), dir+"/")
	})
}

// is reports that m is here, with the right bytes.
func (r *rack) is(c *swarmcache.Cache, m memory) bool {
	r.t.Helper()
	obj, err := c.Local(policy.Key(m.name), m)
	if errors.Is(err, swarmcache.ErrNotFound) {
		return false
	}
	must(r.t, err)
	defer obj.Close()
	b, err := read(r.t, obj)
	if err != nil || !bytes.Equal(b, m.data) {
		r.t.Errorf("%s: wrong bytes, %v", m.name, err)
	}
	return true
}

// numbered are objects of different names and bytes.
func numbered(n, size int) (all []memory) {
	for i := range n {
		m := newMemory(strings.Repeat("x", i+1), size)
		all = append(all, m)
	}
	return all
}
