package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"shatabdi/e2e/content"
)

// Nginx is an nginx from the distribution: an origin or a cache.
type Nginx struct {
	*Process
	URL string
}

const nginxConf = `
daemon off;
user root;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
	default_type application/octet-stream;
	sendfile on;
	sendfile_max_chunk 512k;
	tcp_nopush on;
	client_body_temp_path %[1]s/tmp;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/tmp;
	uwsgi_temp_path %[1]s/tmp;
	scgi_temp_path %[1]s/tmp;
	access_log %[1]s/access.log combined buffer=16k flush=1s;
%[2]s
}
`

// NginxOrigin serves the objects that Object and ObjectURL speak of, on port 80.
func (m *Machine) NginxOrigin() *Nginx {
	m.lab.Helper()
	return m.nginx("origin", 80, fmt.Sprintf(`
	server {
		listen %s:80;
		root %s;
		add_header Cache-Control "max-age=3600";
		location = /alive { return 204; }
	}`, m.IP, Out("objects")))
}

// NginxCache is a forward proxy with a cache, as it is commonly set up: one fill
// at a time for an object, the others wait for it. With slices it fills in
// pieces of 1 MiB, so that those who wait get the beginning before the end is
// there.
func (m *Machine) NginxCache(slices bool) *Nginx {
	m.lab.Helper()
	how := `
			proxy_cache_key $host$request_uri;`
	if slices {
		how = `
			slice 1m;
			proxy_cache_key $host$request_uri$slice_range;
			proxy_set_header Range $slice_range;`
	}
	return m.nginx("cache", 3128, fmt.Sprintf(`
	proxy_cache_path %[2]s/cache levels=1:2 keys_zone=c:32m max_size=64g inactive=1h use_temp_path=off;
	server {
		listen %[1]s:3128;
		listen 127.0.0.1:3128;
		location = /alive { return 204; }
		location / {
			proxy_pass http://$host$request_uri;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_cache c;
			proxy_cache_valid 200 206 1h;
			proxy_cache_lock on;
			proxy_cache_lock_timeout 1h;
			proxy_cache_lock_age 1h;
			add_header X-Cache-Status $upstream_cache_status;%[3]s
		}
	}`, m.IP, m.Dir, how))
}

func (m *Machine) nginx(name string, port int, servers string) *Nginx {
	m.lab.Helper()
	conf := filepath.Join(m.Dir, name+".conf")
	m.lab.must(os.WriteFile(conf, fmt.Appendf(nil, nginxConf, m.Dir, servers), 0o644))
	n := &Nginx{
		Process: m.Start("nginx-"+name, "nginx", "-e", "stderr", "-p", m.Dir, "-c", conf),
		URL:     strings.TrimSuffix(fmt.Sprintf("http://%s:%d", m.IP, port), ":80"),
	}
	n.untilServing(n.URL+"/alive", 10*time.Second)
	return n
}

// Object writes the object where every NginxOrigin serves it and returns its
// URL on this one.
func (n *Nginx) Object(o content.Object) (url string) {
	n.Machine.lab.Helper()
	path, err := o.File(Out("objects"))
	n.Machine.lab.must(err)
	return n.URL + "/" + filepath.Base(path)
}
