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
	name string
	f    *os.File
	url  string
}

// partMeta is what FILE.part.json holds.
type partMeta struct {
	URL       string `json:"url"`
	Validator string `json:"validator"`
}

// openPart opens what is here of name, for this process alone.
func openPart(name, url string) (*part, error) {
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
			return &part{name: name, f: f, url: url}, nil
		}
		f.Close() // it got its name in between
	}
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
	if validator == "" {
		return p.forget()
	}
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
	return errors.Join(p.forget(), err, p.f.Truncate(0))
}

// finish gives the whole file its name.
func (p *part) finish() error {
	if err := p.f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(p.name+".part", p.name); err != nil {
		return err
	}
	return p.forget()
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
