package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// s3Version is that of versitygw, an S3 server over a file system.
const s3Version = "v1.8.0"

var s3 build

// s3Binary builds it from its module, which is none of ours, once.
func (l *Lab) s3Binary() string {
	l.Helper()
	path := Out("bin", "versitygw-"+s3Version, "versitygw") // go install names it
	if _, err := os.Stat(path); err == nil {
		return path
	}
	s3.once.Do(func() {
		cmd := exec.Command("go", "install", "-trimpath", "github.com/versity/versitygw/cmd/versitygw@"+s3Version)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOBIN="+filepath.Dir(path))
		s3.out, s3.err = cmd.CombinedOutput()
	})
	if s3.err != nil {
		l.Fatalf("build versitygw: %v\n%s", s3.err, s3.out)
	}
	return path
}

// S3 is a real S3 server, whose buckets are the directories in Dir.
type S3 struct {
	*Process
	URL, Dir string
}

// S3 starts one that knows one access key.
func (m *Machine) S3(access, secret string) *S3 {
	m.lab.Helper()
	s := &S3{URL: "http://" + m.IP + ":7070", Dir: filepath.Join(m.Dir, "buckets")}
	m.lab.must(os.MkdirAll(s.Dir, 0o755))
	s.Process = m.Start("s3", m.lab.s3Binary(), "--access", access, "--secret", secret, "--port", m.IP+":7070", "--health", "/health", "posix", s.Dir)
	s.untilServing(s.URL+"/health", 20*time.Second)
	return s
}

const registryConf = `version: 0.1
storage: {filesystem: {rootdirectory: %s}}
http: {addr: "%s"}
`

// Registry starts a real registry of images, Docker's, and returns its address.
func (m *Machine) Registry() string {
	m.lab.Helper()
	conf, at := filepath.Join(m.Dir, "registry.yml"), m.IP+":5000"
	m.lab.must(os.WriteFile(conf, fmt.Appendf(nil, registryConf, filepath.Join(m.Dir, "registry"), at), 0o644))
	p := m.Start("registry", "docker-registry", "serve", conf)
	p.untilServing("http://"+at+"/v2/", 20*time.Second)
	return at
}
