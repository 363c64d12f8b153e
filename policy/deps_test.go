package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestPolicyIsPure keeps I/O, clocks and loggers out by keeping out what brings
// them: a caching rule then stays a row in a table.
func TestPolicyIsPure(t *testing.T) {
	for dir, own := range map[string]string{".": "shatabdi/policy/httpheader", "httpheader": ""} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %d files", dir, err, len(files))
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range f.Imports {
				path, _ := strconv.Unquote(spec.Path.Value)
				if why := forbidden(path, own); why != "" {
					t.Errorf("%s imports %s: %s", name, path, why)
				}
			}
		}
	}
}

// forbidden says why path may not be imported; own is the one package of ours that may.
func forbidden(path, own string) string {
	switch first, _, _ := strings.Cut(path, "/"); {
	case path == own:
		return ""
	case first == "shatabdi":
		return "policy is the ground floor: what it must know of an object it is given as a value"
	case strings.Contains(first, "."):
		return "policy needs the standard library only; decoding of configuration and metrics have their doors elsewhere"
	}
	switch path {
	case "os", "io", "bufio", "net", "log", "log/slog", "context", "sync", "math/rand", "math/rand/v2":
		return "policy is pure: no I/O, no logger, no goroutines, no chance; values in, verdict out"
	}
	return ""
}

// TestNoClock: the time is an argument.
func TestNoClock(t *testing.T) {
	files, _ := filepath.Glob("*.go")
	more, _ := filepath.Glob("httpheader/*.go")
	for _, name := range append(files, more...) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, call := range clockCalls(t, name) {
			t.Errorf("%s: %s reads the clock; take the time as an argument", name, call)
		}
	}
}

func clockCalls(t *testing.T, name string) (calls []string) {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := sel.X.(*ast.Ident)
		if !ok || pkg.Name != "time" {
			return true
		}
		switch sel.Sel.Name {
		case "Now", "Since", "Until", "After", "Tick", "NewTimer", "NewTicker", "Sleep", "AfterFunc":
			calls = append(calls, "time."+sel.Sel.Name)
		}
		return true
	})
	return calls
}
