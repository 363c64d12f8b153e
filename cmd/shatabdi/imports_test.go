package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floors lists every package, top floor first. A package may import what stands
// on lower floors only: then each can be read, tested and replaced knowing just
// what is below it.
var floors = [][]string{
	{"cmd/shatabdi"},
	{"proxy", "swarmcache/index", "swarmcache/cluster", "swarmcache/swarm", "swarmcache/api"},
	{"swarmcache/cachetest", "swarmcache/cluster/embedded", "swarmcache/source", "swarmcache/replica", "swarmcache/jobs", "proxy/small"},
	{"swarmcache", "swarmcache/download"},
	{"policy", "tracker"},
	{"policy/httpheader", "swarmcache/layout", "swarmcache/clock", "swarmcache/events", "swarmcache/dataset", "proxy/origin", "proxy/quick", "tracker/wire"},
}

// below allows what the floors alone would not: an arrow within the ground
// floor, because the lower one is arithmetic.
var below = map[string]string{"proxy/origin": "swarmcache/layout"}

// doors are the packages that alone import a heavy library, so that its types
// and its traps stop there.
var doors = map[string]string{
	"github.com/elazarl/goproxy":       "proxy",
	"github.com/anacrolix/":            "swarmcache/swarm",
	"github.com/dgraph-io/badger/":     "swarmcache/index",
	"go.etcd.io/etcd/client/v3":        "swarmcache/cluster",
	"go.etcd.io/etcd/server/v3":        "swarmcache/cluster/embedded",
	"github.com/danielgtaylor/huma/v2": "swarmcache/api",
	"github.com/maypok86/otter/v2":     "proxy/small",
	"github.com/minio/":                "swarmcache/source",
	"github.com/google/go-container":   "swarmcache/source",
	"github.com/goccy/go-yaml":         "cmd/shatabdi",
	"github.com/santhosh-tekuri/":      "e2e/openapi",
	"github.com/spf13/cobra":           "cmd/shatabdi",
	"github.com/vbauerster/mpb/":       "cmd/shatabdi",
}

func TestImportsRunDownThroughTheDoors(t *testing.T) {
	floor := map[string]int{}
	for i, packages := range floors {
		for _, p := range packages {
			floor[p] = i
		}
	}
	const root = "../.."
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, file)
		if d.IsDir() && (rel == "e2e" || rel == "out" || rel == ".git") {
			return fs.SkipDir // e2e is apart: see its own rule below
		}
		if path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		self := filepath.ToSlash(filepath.Dir(rel))
		at, known := floor[self]
		if !known {
			t.Errorf("%s: package %s has no floor; give it one in floors", rel, self)
			return nil
		}
		for _, imported := range importsOf(t, file) {
			for lib, door := range doors {
				if strings.HasPrefix(imported, lib) && door != self {
					t.Errorf("%s imports %s, whose door is %s: its types must stop there", rel, imported, door)
				}
			}
			if own, ok := strings.CutPrefix(imported, "shatabdi/"); ok {
				if to, known := floor[own]; (!known || to <= at) && below[self] != own {
					t.Errorf("%s imports %s: imports run down, from floor %d to a lower one", rel, own, len(floors)-at)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The end-to-end tests judge the binary from outside.
func TestEndToEndImportsNothingOfOurs(t *testing.T) {
	err := filepath.WalkDir("../../e2e", func(file string, d fs.DirEntry, err error) error {
		if err != nil || path.Ext(file) != ".go" {
			return err
		}
		for _, imported := range importsOf(t, file) {
			if strings.HasPrefix(imported, "shatabdi/") && !strings.HasPrefix(imported, "shatabdi/e2e/") {
				t.Errorf("%s imports %s: e2e runs the binaries and knows nothing of what is in them", file, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func importsOf(t *testing.T, file string) (l []string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range f.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		l = append(l, p)
	}
	return l
}
