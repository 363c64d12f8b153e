package tracker

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestImports keeps the tracker an ordinary tracker: it meets the cluster on the
// wire and in the hooks of Config, so that it can be read, tested and replaced
// without knowing the rest.
func TestImports(t *testing.T) {
	allowed := map[string][]string{
		".":    {"github.com/prometheus/", "golang.org/x/", "shatabdi/proxy/quick", "shatabdi/tracker/wire"},
		"wire": {},
	}
	inTests := []string{"go.uber.org/goleak", "pgregory.net/rapid", "shatabdi/tracker"}
	for dir, prefixes := range allowed {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no Go files, %v", dir, err)
		}
		for _, file := range files {
			ok := prefixes
			if strings.HasSuffix(file, "_test.go") {
				ok = append(inTests, prefixes...)
			}
			for _, path := range imports(t, file) {
				if !standard(path) && !hasPrefix(path, ok) {
					t.Errorf("%s imports %s: %s may import only the standard library and %q.\n"+
						"What the tracker must know of the cluster comes through the hooks of tracker.Config.",
						file, path, dir, ok)
				}
			}
		}
	}
}

func imports(t *testing.T, file string) (paths []string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range f.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// standard: paths of the standard library have no dot in their first element,
// and neither has the name of this module.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && first != "shatabdi"
}

func hasPrefix(path string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}
