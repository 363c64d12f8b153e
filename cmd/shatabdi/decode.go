package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// problem is one thing wrong with the configuration.
type problem struct {
	key  string // "proxy.listen", "rules[2].route"; empty: the file as a whole
	text string // what is wrong and what would be accepted
}

// file is a configuration file that was read. The YAML is walked by hand
// rather than decoded by the library, because the library stops at the first
// problem and forgets where a value stood.
type file struct {
	name     string
	lines    []string
	at       map[string]*token.Position // where each key's value stands
	problems []problem
	anchors  map[string]ast.Node
}

// readFile reads the configuration file name into v, a struct. What is wrong
// with its content is in the file's problems.
func readFile(name string, v reflect.Value) (*file, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f := &file{name: name}
	f.decode(b, v)
	return f, nil
}

func (f *file) decode(b []byte, v reflect.Value) {
	f.lines = strings.Split(string(b), "\n")
	f.at = map[string]*token.Position{}
	f.anchors = map[string]ast.Node{}
	doc, err := parser.ParseBytes(b, 0)
	if err != nil {
		f.syntax(err)
		return
	}
	if len(doc.Docs) > 1 && doc.Docs[1].Body != nil {
		f.report("", doc.Docs[1].Body.GetToken(), "a second YAML document; want one")
	}
	if len(doc.Docs) > 0 && doc.Docs[0].Body != nil {
		f.walk(doc.Docs[0].Body, v, "")
	}
}

func (f *file) syntax(err error) {
	var e yaml.Error
	if errors.As(err, &e) {
		f.report("", e.GetToken(), "%s", e.GetMessage())
		return
	}
	f.report("", nil, "%v", err)
}

// report notes a problem. One that concerns no known key is kept under a key
// of its own, so that its place in the file is found again.
func (f *file) report(key string, tk *token.Token, format string, args ...any) {
	if tk != nil {
		if key == "" {
			key = fmt.Sprintf("line %d", tk.Position.Line)
		}
		f.at[key] = tk.Position
	}
	f.problems = append(f.problems, problem{key, fmt.Sprintf(format, args...)})
}

func (f *file) walk(n ast.Node, v reflect.Value, key string) {
	n = f.resolve(n)
	if n == nil || n.Type() == ast.NullType {
		return // as if it were not there: the default stays
	}
	if _, known := f.at[key]; !known {
		f.at[key] = firstToken(n).Position
	}
	switch {
	case isScalar(v.Type()):
		f.walkScalar(n, v, key)
	case v.Kind() == reflect.Struct:
		f.walkStruct(n, v, key)
	case v.Kind() == reflect.Slice:
		f.walkSlice(n, v, key)
	case v.Kind() == reflect.Map:
		f.walkMap(n, v, key)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.walk(n, v.Elem(), key)
	}
}

// firstToken is where n begins; a mapping's own token is its first colon.
func firstToken(n ast.Node) *token.Token {
	if m, ok := n.(ast.MapNode); ok {
		if it := m.MapRange(); it.Next() {
			return it.Key().GetToken()
		}
	}
	return n.GetToken()
}

// resolve looks through anchors, aliases and tags.
func (f *file) resolve(n ast.Node) ast.Node {
	for {
		switch t := n.(type) {
		case *ast.AnchorNode:
			f.anchors[t.Name.GetToken().Value] = t.Value
			n = t.Value
		case *ast.AliasNode:
			target, ok := f.anchors[t.Value.GetToken().Value]
			if !ok {
				f.report("", t.GetToken(), "alias *%s without an anchor &%[1]s before it", t.Value.GetToken().Value)
				return nil
			}
			n = target
		case *ast.TagNode:
			n = t.Value
		default:
			return n
		}
	}
}

func (f *file) walkScalar(n ast.Node, v reflect.Value, key string) {
	if _, ok := n.(ast.ScalarNode); !ok {
		f.report(key, n.GetToken(), "want one value, not a %s", describe(n))
		return
	}
	text := n.GetToken().Value
	if l, ok := n.(*ast.LiteralNode); ok {
		text = l.Value.Value
	}
	f.at[key] = n.GetToken().Position
	if err := setScalar(v, text); err != nil {
		f.report(key, n.GetToken(), "%v", err)
	}
}

func (f *file) walkStruct(n ast.Node, v reflect.Value, key string) {
	m, ok := n.(ast.MapNode)
	if !ok {
		f.report(key, n.GetToken(), "want keys (%s), not a %s", strings.Join(keysOf(v.Type()), ", "), describe(n))
		return
	}
	for it := m.MapRange(); it.Next(); {
		if it.Key().IsMergeKey() {
			f.walk(it.Value(), v, key)
			continue
		}
		tk := it.Key().GetToken()
		field, known := fieldByKey(v, tk.Value)
		path := join(key, tk.Value)
		if !known {
			f.report(path, tk, "unknown key; %s", suggestKey(tk.Value, keysOf(v.Type())))
			continue
		}
		f.at[path] = tk.Position
		f.walk(it.Value(), field, path)
	}
}

func (f *file) walkSlice(n ast.Node, v reflect.Value, key string) {
	items := []ast.Node{n} // one value stands for a list of one
	if seq, ok := n.(*ast.SequenceNode); ok {
		items = seq.Values
	}
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		f.walk(item, list.Index(i), fmt.Sprintf("%s[%d]", key, i))
	}
	v.Set(list)
}

func (f *file) walkMap(n ast.Node, v reflect.Value, key string) {
	m, ok := n.(ast.MapNode)
	if !ok {
		f.report(key, n.GetToken(), "want NAME: VALUE, not a %s", describe(n))
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for it := m.MapRange(); it.Next(); {
		if it.Key().IsMergeKey() {
			f.walk(it.Value(), v, key)
			continue
		}
		tk := it.Key().GetToken()
		path := join(key, tk.Value)
		f.at[path] = tk.Position
		elem := reflect.New(v.Type().Elem()).Elem()
		f.walk(it.Value(), elem, path)
		v.SetMapIndex(reflect.ValueOf(tk.Value), elem)
	}
}

// position finds where key stands, or the nearest key around it that does.
func (f *file) position(key string) *token.Position {
	for key != "" {
		if p := f.at[key]; p != nil {
			return p
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return nil
}

// excerpt is the line at p with a caret under the column.
func (f *file) excerpt(p *token.Position) string {
	if p.Line < 1 || p.Line > len(f.lines) {
		return ""
	}
	line := strings.TrimRight(f.lines[p.Line-1], "\r")
	number := fmt.Sprintf("%6d | ", p.Line)
	indent := min(max(0, p.Column-1), utf8.RuneCountInString(line))
	return "\n" + number + line + "\n" + strings.Repeat(" ", len(number)+indent) + "^"
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

func fieldByKey(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if keyOf(v.Type().Field(i)) == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		keys = append(keys, keyOf(t.Field(i)))
	}
	return keys
}

func describe(n ast.Node) string {
	switch n.(type) {
	case ast.MapNode:
		return "mapping"
	case *ast.SequenceNode:
		return "list"
	}
	return "single value"
}

// suggestKey names the known key that is meant, or all of them.
func suggestKey(name string, known []string) string {
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	for _, k := range known {
		if d := distance(plain(name), plain(k)); d <= 2 && d < len(k)/2 {
			return fmt.Sprintf("did you mean %s?", k)
		}
	}
	return "want one of " + strings.Join(known, ", ")
}

// distance is the Levenshtein distance of a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
