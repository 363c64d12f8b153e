package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Squid is a squid from the distribution, a forward proxy with its cache in memory.
type Squid struct {
	*Process
	URL string
}

const squidConf = `
http_port %[2]s
pid_filename %[1]s/squid.pid
cache_log %[1]s/cache.log
access_log none
cache_store_log none
coredump_dir %[1]s
cache_mem 256 MB
http_access allow all
collapsed_forwarding on
shutdown_lifetime 0 seconds
reply_header_max_size 64 KB
`

// SquidConf is the configuration of a squid as it comes, on an address, with its files
// in a directory that anybody may write: it gives root up.
func SquidConf(dir, addr string) []byte { return fmt.Appendf(nil, squidConf, dir, addr) }

// SquidCache starts squid on the machine's loopback. ok is false where there is none.
func (m *Machine) SquidCache() (s *Squid, ok bool) {
	m.lab.Helper()
	if _, err := m.Try("squid", "-v"); err != nil {
		return nil, false
	}
	m.Try("ip", "link", "set", "lo", "up")
	conf, dir := filepath.Join(m.Dir, "squid.conf"), filepath.Join(m.Dir, "squid")
	m.lab.must(os.MkdirAll(dir, 0o777))
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) { // it gives root up
		m.lab.must(os.Chmod(d, 0o777))
	}
	const addr = "127.0.0.1:3129"
	m.lab.must(os.WriteFile(conf, SquidConf(dir, addr), 0o644))
	s = &Squid{Process: m.Start("squid", "squid", "-N", "-f", conf), URL: "http://" + addr}
	m.lab.Until("squid answers", 30*time.Second, func() bool {
		_, err := m.Try("curl", "-s", "-o", "/dev/null", s.URL)
		return err == nil
	})
	return s, true
}
