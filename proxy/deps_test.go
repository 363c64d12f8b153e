package proxy

import (
	"os/exec"
	"strings"
	"testing"
)

// The house rules: one door per heavy dependency, and imports run downwards.
func TestDependencies(t *testing.T) {
	list := func(args ...string) []string {
		out, err := exec.Command("go", append([]string{"list", "-e"}, args...)...).Output()
		if err != nil {
			t.Fatalf("go list %v: %v", args, err)
		}
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	forbidden := map[string]string{
		"shatabdi/swarmcache/swarm":      "the proxy asks the cache, it does not know torrents",
		"shatabdi/swarmcache/cluster":    "the proxy asks the cache, it does not know the directory",
		"shatabdi/swarmcache/index":      "the proxy asks the cache, it does not know the catalogue",
		"shatabdi/tracker":               "they meet on the wire",
		"github.com/anacrolix/torrent":   "swarmcache/swarm is its door",
		"go.etcd.io/etcd/client/v3":      "swarmcache/cluster is its door",
		"github.com/dgraph-io/badger/v4": "swarmcache/index is its door",
		"shatabdi/cmd/shatabdi":          "imports run downwards",
		"github.com/spf13/cobra":         "flags are cmd/shatabdi's",
		"github.com/goccy/go-yaml":       "files are cmd/shatabdi's",
	}
	for _, dep := range list("-deps", ".", "./origin") {
		if why, bad := forbidden[dep]; bad {
			t.Errorf("proxy depends on %s: %s", dep, why)
		}
	}
	for _, line := range list("-f", `{{.ImportPath}} {{join .Imports " "}} {{join .TestImports " "}}`, "shatabdi/...") {
		pkg, imports, _ := strings.Cut(line, " ")
		if strings.Contains(" "+imports+" ", " github.com/elazarl/goproxy ") && pkg != "shatabdi/proxy" && pkg != "shatabdi/cmd/deps" {
			t.Errorf("%s imports goproxy: proxy is its door", pkg)
		}
	}
	for _, dep := range list("-deps", "./origin", "./quick") {
		if strings.HasPrefix(dep, "shatabdi/") && dep != "shatabdi/proxy/origin" && dep != "shatabdi/proxy/quick" && dep != "shatabdi/swarmcache/layout" {
			t.Errorf("proxy/origin or proxy/quick depends on %s: they are the ground floor", dep)
		}
	}
}
