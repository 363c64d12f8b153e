package swarmcache

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Object files are in the home, beside the catalogue, and on as many other volumes as
// an operator names. Each of those carries a marker: where a disk is not mounted, what
// is left is an empty directory, and what the catalogue says of it must not be
// believed, nor forgotten.

// Volume is a directory for object files.
type Volume struct {
	ID      string // as its marker and records say; empty: the home
	Dir     string // as the operator named it
	Objects string // directory, of the files
	Size    int64  // bytes that objects may take there; 0: no bound
	MinFree int64  // bytes that are left to others there
	Missing error  // why it cannot be used; nil: it can
}

// VolumeError says why a directory cannot become a volume.
type VolumeError struct {
	Dir, What, Hint string
}

func (e *VolumeError) Error() string { return fmt.Sprintf("volume %s %s", e.Dir, e.What) }

const (
	settingVolumes = "volumes"
	settingHome    = "home"
	markerName     = "VOLUME"
)

// marker is what stands in a volume's directory.
type marker struct {
	ID   string `json:"id"`
	Home string `json:"home"` // whose catalogue it belongs to
}

// whereabouts is where a catalogue knows its volumes to be, by id; empty: another one has
// come there.
type whereabouts map[string]string

// at is the volume that is known to be in a directory.
func (p whereabouts) at(dir string) string {
	for id, d := range p {
		if d == dir {
			return id
		}
	}
	return ""
}

// OpenVolumes returns the volumes in dirs, beside the home in dir; new ones are made.
// One that was there before and is not now is returned with why it is missing.
func OpenVolumes(x Index, dir string, dirs []string) (all []Volume, err error) {
	if len(dirs) == 0 {
		return nil, nil
	}
	for i, d := range dirs {
		if err := apart(d, append([]string{dir}, dirs[:i]...)); err != nil {
			return nil, err
		}
	}
	home, err := homeOf(x)
	if err != nil {
		return nil, err
	}
	known := whereabouts{}
	if err := readSetting(x, settingVolumes, &known); err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		id, err := identify(dir, home, known.at(dir))
		var not *VolumeError
		switch was := known.at(dir); {
		case err == nil && slices.ContainsFunc(all, func(v Volume) bool { return v.ID == id }):
			return nil, &VolumeError{dir, "is a copy of another one", "give each volume once"}
		case err == nil && was != id:
			if was != "" {
				known[was] = ""
			}
			known[id] = dir
		case errors.As(err, &not) && was == "":
			return nil, err
		case err != nil:
			id = was
		}
		all = append(all, volumeAt(id, dir, err))
	}
	b, err := json.Marshal(known)
	if err != nil {
		return nil, err
	}
	return all, x.SetSetting(settingVolumes, b)
}

func volumeAt(id, dir string, missing error) Volume {
	return Volume{ID: id, Dir: dir, Objects: filepath.Join(dir, "objects"), Missing: missing}
}

// homeOf is the name of a catalogue.
func homeOf(x Index) (string, error) {
	b, err := x.Setting(settingHome)
	if errors.Is(err, ErrNotFound) {
		b = []byte(rand.Text())
		err = x.SetSetting(settingHome, b)
	}
	return string(b), err
}

// apart refuses a directory that others may not share: whose files are not of one
// volume's objects are removed by it.
func apart(dir string, others []string) error {
	for _, other := range others {
		if within(dir, other) || within(other, dir) {
			return &VolumeError{dir, "is, holds or lies in " + other, "give each volume a directory apart from the others and from the data directory"}
		}
	}
	return nil
}

// within reports whether dir is other or lies somewhere in it, under whatever names.
func within(dir, other string) bool {
	is, err := os.Stat(other)
	if err != nil {
		return false
	}
	if path, err := filepath.EvalSymlinks(dir); err == nil {
		dir = path
	}
	for dir, err = filepath.Abs(dir); err == nil; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err == nil && os.SameFile(st, is) {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
	return false
}

// identify returns the id of the volume in dir, where the one called was is expected;
// empty: nobody was there before, and a new one is made.
func identify(dir, home, was string) (id string, err error) {
	m, err := readMarker(dir)
	switch {
	case err == nil && m.Home != home:
		return "", &VolumeError{dir, "belongs to another data directory", "name the right directory, or remove " + markerName + " and objects from it to use it afresh"}
	case err == nil:
		return m.ID, nil
	case was != "" && errors.Is(err, fs.ErrNotExist):
		return "", &VolumeError{dir, "is not there: no " + markerName + " in that directory", "mount it, or give it up with shatabdi check --forget-volume"}
	case !errors.Is(err, fs.ErrNotExist):
		return "", &VolumeError{dir, "cannot be read: " + err.Error(), "see whether its disk is well"}
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return "", &VolumeError{dir, "is no directory", "make it, or mount what belongs there"}
	}
	if what := inUse(dir); what != "" {
		return "", &VolumeError{dir, "is somebody's already: there is " + what + " in it", "name an empty directory; what is in a new volume's objects would be removed"}
	}
	m = marker{ID: rand.Text(), Home: home}
	if err := m.write(dir); err != nil {
		return "", &VolumeError{dir, "cannot be written: " + err.Error(), "let uid " + fmt.Sprint(os.Geteuid()) + " write there"}
	}
	return m.ID, nil
}

// inUse is what a directory has that no new volume may have; empty: nothing.
func inUse(dir string) string {
	for _, name := range []string{"VERSION", "index"} { // of a data directory
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return name
		}
	}
	objects := filepath.Join(dir, "objects")
	if l, err := os.ReadDir(objects); len(l) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return objects
	}
	return ""
}

func readMarker(dir string) (m marker, err error) {
	b, err := os.ReadFile(filepath.Join(dir, markerName))
	if err != nil {
		return m, err
	}
	if json.Unmarshal(b, &m) != nil || m.ID == "" {
		return m, fmt.Errorf("%s is no marker", filepath.Join(dir, markerName))
	}
	return m, nil
}

// write makes the marker appear whole or not at all, and outlive a crash.
func (m marker) write(dir string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, markerName)
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

var errAnother = errors.New("another volume is in its place")

// here reports why a volume is not in its directory, or cannot be asked; nil: it is.
func (v Volume) here() error {
	if v.ID == "" {
		return nil // without its home a node has no catalogue either
	}
	m, err := readMarker(v.Dir)
	if err == nil && m.ID != v.ID {
		err = fmt.Errorf("%s: %w", v.Dir, errAnother)
	}
	return err
}

// isGone reports whether here said that the volume is not there, and not only that
// nobody could look: for that a healthy one is not given up.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, errAnother)
}

// KnownVolumes are those of a catalogue whose home is in dir, wherever they were last.
func KnownVolumes(x Index, dir string) (all []Volume, err error) {
	known := whereabouts{}
	if err := readSetting(x, settingVolumes, &known); err != nil {
		return nil, err
	}
	for id, d := range known {
		others := []string{dir}
		for other, d := range known {
			if other != id {
				others = append(others, d)
			}
		}
		v := volumeAt(id, d, apart(d, others))
		if v.Missing == nil {
			v.Missing = v.here()
		}
		all = append(all, v)
	}
	return all, nil
}

// ForgetVolume makes a catalogue forget a volume, by id or directory, and the objects
// there. It returns how many those were, or ErrNotFound.
func ForgetVolume(x Index, which string) (objects int, err error) {
	known := whereabouts{}
	if err := readSetting(x, settingVolumes, &known); err != nil {
		return 0, err
	}
	id := which
	if _, ok := known[id]; !ok {
		if id = known.at(which); id == "" || which == "" {
			return 0, fmt.Errorf("volume %s: %w", which, ErrNotFound)
		}
	}
	var gone []ObjectID
	err = x.Each(func(r Record) bool {
		if r.Volume == id {
			gone = append(gone, r.Version.ID)
		}
		return true
	})
	for _, id := range gone {
		if err == nil {
			err = x.Delete(id)
		}
	}
	if err != nil {
		return 0, err
	}
	delete(known, id) // last: until then it can be done again
	b, err := json.Marshal(known)
	if err != nil {
		return 0, err
	}
	return len(gone), x.SetSetting(settingVolumes, b)
}
