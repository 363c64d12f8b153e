package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// Every reason that policy gives can be explained: whoever adds one says what it
// means.
func TestEveryReasonIsExplained(t *testing.T) {
	found := 0
	for _, file := range []string{"decide.go", "storable.go"} {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Reason") && !strings.HasPrefix(spec.Names[0].Name, "Not") {
				return true
			}
			reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found++
			if w := Explain(reason); w.Text == "" || w.Text == reason {
				t.Errorf("%s: %q is not explained", spec.Names[0].Name, reason)
			}
			return true
		})
	}
	if found < 25 {
		t.Errorf("found %d reasons only", found)
	}
	if w := Explain("other"); w.Text != "other" || w.Clause != "" {
		t.Errorf("%+v", w)
	}
}
