// Deps holds the module requirements until their users exist.
package main

import (
	_ "github.com/anacrolix/torrent"
	_ "github.com/coreos/go-systemd/v22/activation"
	_ "github.com/danielgtaylor/huma/v2"
	_ "github.com/dgraph-io/badger/v4"
	_ "github.com/dunglas/httpsfv"
	_ "github.com/dustin/go-humanize"
	_ "github.com/elazarl/goproxy"
	_ "github.com/goccy/go-yaml"
	_ "github.com/maypok86/otter/v2"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/schollz/progressbar/v3"
	_ "github.com/spf13/cobra"
	_ "go.etcd.io/etcd/client/v3"
	_ "go.etcd.io/etcd/client/v3/concurrency"
	_ "go.etcd.io/etcd/server/v3/embed"
	_ "go.etcd.io/etcd/server/v3/etcdmain"
	_ "go.uber.org/goleak"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/time/rate"
	_ "pgregory.net/rapid"
)

func main() {}
