package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// etcdVersion is that of the module in go.mod.
const etcdVersion = "3.7.3"

// root is the checkout: the nearest directory above with a go.mod.
var root = sync.OnceValue(func() string {
	dir, err := os.Getwd()
	for err == nil {
		if _, e := os.Stat(filepath.Join(dir, "go.mod")); e == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	panic("lab: not inside the module")
})

// Out is a path below the checkout's directory of what is built and measured.
func Out(elem ...string) string {
	return filepath.Join(append([]string{root(), "out"}, elem...)...)
}

type build struct {
	once sync.Once
	path string
	out  []byte
	err  error
}

var product, etcd, origin, readers, badPeer, announcers build

// Binary builds bin/shatabdi and returns its path. SHATABDI_BINARY names
// another one, for example to test an installed version.
func (l *Lab) Binary() string {
	l.Helper()
	if b := os.Getenv("SHATABDI_BINARY"); b != "" {
		return b
	}
	return product.get(l, filepath.Join(root(), "bin", "shatabdi"), "./cmd/shatabdi")
}

// etcdBinary builds the real etcd from the module that the product uses, once.
func (l *Lab) etcdBinary() string {
	l.Helper()
	path := Out("bin", "etcd-"+etcdVersion)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	return etcd.get(l, path, "go.etcd.io/etcd/server/v3")
}

func (l *Lab) originBinary() string {
	l.Helper()
	return origin.get(l, Out("bin", "origin"), "./e2e/origin")
}

func (l *Lab) readersBinary() string {
	l.Helper()
	return readers.get(l, Out("bin", "readers"), "./e2e/readers")
}

func (l *Lab) announcersBinary() string {
	l.Helper()
	return announcers.get(l, Out("bin", "announcers"), "./e2e/announcers")
}

func (l *Lab) badPeerBinary() string {
	l.Helper()
	return badPeer.get(l, Out("bin", "badpeer"), "./e2e/badpeer")
}

func (b *build) get(l *Lab, path, pkg string) string {
	l.Helper()
	b.once.Do(func() {
		cmd := exec.Command("go", "build", "-trimpath", "-o", path, pkg)
		cmd.Dir, cmd.Env = root(), append(os.Environ(), "CGO_ENABLED=0")
		b.path = path
		b.out, b.err = cmd.CombinedOutput()
	})
	if b.err != nil {
		l.Fatalf("build %s: %v\n%s", pkg, b.err, b.out)
	}
	return b.path
}
