package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"shatabdi/e2e/conformance"
	"shatabdi/e2e/lab"
)

// system is a cache to be asked, as somebody would set it up who wants a correct one.
type system struct {
	name  string
	start func(*stage) (proxies []string, err error)
	skips func(*conformance.Scenario) bool // what means nothing to it
}

var systems = []system{
	{"small", func(s *stage) ([]string, error) { return s.shatabdi(1, "--small", "cache") }, never},
	{"swarm", func(s *stage) ([]string, error) { return s.shatabdi(1, "--swarm-threshold", "0") }, func(s *conformance.Scenario) bool { return s.Small }},
	{"3 nodes", func(s *stage) ([]string, error) { return s.shatabdi(3, "--swarm-threshold", "0") }, func(s *conformance.Scenario) bool { return s.Small || s.Alone }},
	{"nginx", (*stage).nginx, never},
	{"squid", (*stage).squid, never},
}

func never(*conformance.Scenario) bool { return false }

// stage is where the processes of a comparison live.
type stage struct {
	dir   string
	procs []*exec.Cmd
}

func (s *stage) close() {
	for _, p := range s.procs {
		syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
		p.Wait()
	}
	os.RemoveAll(s.dir)
}

// run starts a program whose output goes to NAME.log.
func (s *stage) run(name string, args ...string) error {
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.procs = append(s.procs, cmd)
	return nil
}

// serving waits until ok, and else tells what the program printed.
func (s *stage) serving(name string, ok func() bool) error {
	for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(50 * time.Millisecond) {
		if ok() {
			return nil
		}
	}
	b, _ := os.ReadFile(filepath.Join(s.dir, name+".log"))
	return fmt.Errorf("%s does not answer: %s", name, b[max(0, len(b)-2000):])
}

func accepts(addr string) func() bool {
	return func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
}

// freeAddr is an address that nobody listens on, a moment ago.
func freeAddr() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // then nothing here works
	}
	defer ln.Close()
	return ln.Addr().String()
}

// shatabdi starts nodes of one cluster.
func (s *stage) shatabdi(nodes int, flags ...string) (proxies []string, err error) {
	etcd := "http://" + freeAddr()
	for i := range nodes {
		name, proxy, admin := fmt.Sprint("shatabdi-", i+1), freeAddr(), freeAddr()
		args := append([]string{"bin/shatabdi", "serve", "--data-dir", filepath.Join(s.dir, name),
			"--proxy-listen", proxy, "--admin-listen", admin, "--tracker-listen", freeAddr(), "--peer-listen", freeAddr(),
			"--cache-size", "64GiB", "--cache-min-free", "16MiB",
			"--advertise", "127.0.0.1", "--allow-destination", "127.0.0.0/8"}, flags...)
		if i == 0 {
			args = append(args, "--etcd-listen-client", etcd, "--etcd-listen-peer", "http://"+freeAddr())
		} else {
			args = append(args, "--etcd-endpoints", etcd)
		}
		if err := s.run(name, args...); err != nil {
			return nil, err
		}
		if err := s.serving(name, func() bool {
			res, err := http.Get("http://" + admin + "/readyz")
			if err != nil {
				return false
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			return res.StatusCode == 200
		}); err != nil {
			return nil, err
		}
		proxies = append(proxies, proxy)
	}
	return proxies, nil
}

const nginxConf = `
daemon off;
user root;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[1]s/tmp;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/tmp;
	uwsgi_temp_path %[1]s/tmp;
	scgi_temp_path %[1]s/tmp;
	large_client_header_buffers 4 64k;
	proxy_buffer_size 64k;
	proxy_buffers 8 64k;
	proxy_busy_buffers_size 128k;
	proxy_cache_path %[1]s/cache levels=1:2 keys_zone=c:32m max_size=1g inactive=1h use_temp_path=off;
	server {
		listen %[2]s;
		location / {
			proxy_pass http://$http_host$request_uri;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $http_host;
			proxy_cache c;
			proxy_cache_key $scheme$http_host$request_uri;
			proxy_cache_revalidate on;
			proxy_cache_lock on;
			proxy_cache_background_update on;
			proxy_cache_use_stale updating;
		}
	}
}
`

// nginx is Debian's, with the switches that bring its cache nearer to HTTP.
func (s *stage) nginx() ([]string, error) {
	addr := freeAddr()
	conf := filepath.Join(s.dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, s.dir, addr), 0o644); err != nil {
		return nil, err
	}
	if err := s.run("nginx", "nginx", "-e", "stderr", "-p", s.dir, "-c", conf); err != nil {
		return nil, err
	}
	return []string{addr}, s.serving("nginx", accepts(addr))
}

// squid is Debian's, as it comes, with its cache in memory.
func (s *stage) squid() ([]string, error) {
	addr := freeAddr()
	conf := filepath.Join(s.dir, "squid.conf")
	if err := os.WriteFile(conf, lab.SquidConf(s.dir, addr), 0o644); err != nil {
		return nil, err
	}
	if err := os.Chmod(s.dir, 0o777); err != nil { // it gives root up
		return nil, err
	}
	if err := s.run("squid", "squid", "-N", "-f", conf); err != nil {
		return nil, err
	}
	return []string{addr}, s.serving("squid", accepts(addr))
}
