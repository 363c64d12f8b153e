package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"shatabdi/swarmcache/download"
)

// part is a file in the making. Until it is whole its bytes are in FILE.part, and
// FILE.part.json tells of which version they are, so that another run can go on.
type part struct {
	name    string
	f       *os.File
	url     string
	replace bool // what is there under the name when it is whole
}

// partMeta is what FILE.part.json holds. Without a validator nobody can go on from
// there, but the file is ours.
type partMeta struct {
	URL       string `json:"url"`
	Validator string `json:"validator"`
}

// openPart opens what is here of name, for this process alone. A FILE.part that
// another program made is left alone.
func openPart(name, url string, replace bool) (*part, error) {
	for {
		f, err := os.OpenFile(name+".part", os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			return nil, failure("wait for it, or choose another file with -o", "%s.part: another process is writing it", name)
		}
		if isFile(f, name+".part") {
			p := &part{name: name, f: f, url: url, replace: replace}
			if err := p.ours(); err != nil {
				f.Close()
				return nil, err
			}
			return p, nil
		}
		f.Close() // it got its name in between
	}
}

// ours makes sure that the file was begun by this command.
func (p *part) ours() error {
	st, err := p.f.Stat()
	if err != nil {
		return err
	}
	if _, err := os.Stat(p.name + ".part.json"); err == nil {
		return nil
	}
	if st.Size() > 0 {
		return failure("remove it, or choose another file with -o", "%s.part is there, and not of this program", p.name)
	}
	return p.version("")
}

// isFile reports whether f is what stands under that name now.
func isFile(f *os.File, name string) bool {
	here, err := f.Stat()
	there, terr := os.Stat(name)
	return err == nil && terr == nil && os.SameFile(here, there)
}

// resume lets g go on behind what is here, if it is known what that is.
func (p *part) resume(g *download.Get) error {
	var meta partMeta
	b, err := os.ReadFile(p.name + ".part.json")
	if err == nil {
		err = json.Unmarshal(b, &meta)
	}
	n, serr := p.f.Seek(0, io.SeekEnd)
	if serr != nil {
		return serr
	}
	if err != nil || meta.URL != p.url || meta.Validator == "" || n == 0 {
		return p.Restart()
	}
	return g.Resume(n, meta.Validator, io.NewSectionReader(p.f, 0, n))
}

// version notes of which version the bytes are that come now.
func (p *part) version(validator string) error {
	b, err := json.Marshal(partMeta{p.url, validator})
	if err != nil {
		return err
	}
	return os.WriteFile(p.name+".part.json", append(b, '\n'), 0o666)
}

func (p *part) forget() error {
	if err := os.Remove(p.name + ".part.json"); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (p *part) Write(b []byte) (int, error) { return p.f.Write(b) }

// Restart implements download.Sink.
func (p *part) Restart() error {
	_, err := p.f.Seek(0, io.SeekStart)
	return errors.Join(p.version(""), err, p.f.Truncate(0))
}

// finish gives the whole file its name.
func (p *part) finish() error {
	if err := p.f.Sync(); err != nil {
		return err
	}
	if err := p.rename(); err != nil {
		return err
	}
	return p.forget()
}

// rename does not replace what came meanwhile, unless it may.
func (p *part) rename() error {
	temp := p.name + ".part"
	if p.replace {
		return os.Rename(temp, p.name)
	}
	err := os.Link(temp, p.name)
	if err == nil {
		return os.Remove(temp)
	}
	if _, there := os.Lstat(p.name); there == nil {
		return failure("the bytes are in "+temp, "%s came to be meanwhile", p.name)
	}
	return os.Rename(temp, p.name) // not every file system has links
}

// close keeps what is here for another run, or not.
func (p *part) close(keep bool) {
	if !keep {
		os.Remove(p.name + ".part")
		p.forget()
	}
	p.f.Close()
}

// stream is a sink that cannot begin anew: a pipe, a device.
type stream struct{ io.Writer }

func (stream) Restart() error {
	return fmt.Errorf("the origin has another version now, and what was written cannot be taken back")
}
