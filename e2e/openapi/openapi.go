// Package openapi checks what an HTTP API answers against the OpenAPI 3.1 document
// that it publishes. It knows the document alone, and nothing of what made it.
package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Document is an OpenAPI document.
type Document struct {
	operations *http.ServeMux // by the patterns of their paths
	root       map[string]any

	mu      sync.Mutex // guards schemas
	schemas *jsonschema.Compiler
}

// Answer is a response as its client gets it.
type Answer struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	Type   string `json:"type"` // its Content-Type
	Body   []byte `json:"body"`
}

// Problem is the media type of errors (RFC 9457).
const Problem = "application/problem+json"

// Parse reads a document, and says which of its schemas are none.
func Parse(text []byte) (*Document, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	root, _ := v.(map[string]any)
	if version, _ := root["openapi"].(string); !strings.HasPrefix(version, "3.1.") {
		return nil, fmt.Errorf("openapi is %q, want 3.1", version)
	}
	d := &Document{operations: http.NewServeMux(), root: root, schemas: jsonschema.NewCompiler()}
	d.schemas.DefaultDraft(jsonschema.Draft2020)
	d.schemas.AssertFormat()
	d.schemas.AssertContent()
	if err := d.schemas.AddResource(name, root); err != nil {
		return nil, err
	}
	var wrong []error
	for schema := range object(root, "components", "schemas") {
		_, err := d.schema("components", "schemas", schema)
		wrong = append(wrong, err)
	}
	for pattern := range d.Operations() {
		d.operations.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
		wrong = append(wrong, d.bodies(pattern))
	}
	return d, errors.Join(wrong...)
}

// name is what the document is called where its parts are named.
const name = "openapi.json"

// Operations are what the document describes, by METHOD PATH.
func (d *Document) Operations() map[string]map[string]any {
	all := map[string]map[string]any{}
	for path := range object(d.root, "paths") {
		for method, operation := range object(d.root, "paths", path) {
			all[strings.ToUpper(method)+" "+path], _ = operation.(map[string]any)
		}
	}
	return all
}

// bodies says which schemas of an operation are none.
func (d *Document) bodies(pattern string) error {
	method, path, _ := strings.Cut(pattern, " ")
	at := []string{"paths", path, strings.ToLower(method)}
	places := [][]string{slices.Concat(at, []string{"requestBody"})}
	for status := range object(d.root, slices.Concat(at, []string{"responses"})...) {
		places = append(places, slices.Concat(at, []string{"responses", status}))
	}
	if len(places) == 1 {
		return fmt.Errorf("%s describes no response", pattern)
	}
	var wrong []error
	for _, place := range places {
		place = append(place, "content")
		for kind := range object(d.root, place...) {
			_, err := d.schema(slices.Concat(place, []string{kind, "schema"})...)
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

// Check tells what of an answer the document does not promise.
func (d *Document) Check(a Answer) error {
	if err := d.check(a); err != nil {
		return fmt.Errorf("%s %s: %d %s: %w\n%s", a.Method, a.Path, a.Status, a.Type, err, a.Body[:min(len(a.Body), 2000)])
	}
	return nil
}

func (d *Document) check(a Answer) error {
	kind, _, _ := mime.ParseMediaType(a.Type)
	_, pattern := d.operations.Handler(&http.Request{Method: a.Method, URL: &url.URL{Path: a.Path}})
	method, path, described := strings.Cut(pattern, " ")
	switch {
	case described:
	case a.Status < 400:
		return errors.New("no such operation is described")
	case kind != Problem: // refused before any operation
		return fmt.Errorf("want %s", Problem)
	default:
		return nil
	}
	at := []string{"paths", path, strings.ToLower(method), "responses", strconv.Itoa(a.Status)}
	if object(d.root, at...) == nil && a.Status >= 400 {
		at[len(at)-1] = "default"
	}
	response := object(d.root, at...)
	if response == nil {
		return errors.New("the status is not described")
	}
	content := object(response, "content")
	switch {
	case content == nil && len(a.Body) > 0:
		return errors.New("a body where none is described")
	case content == nil:
		return nil
	case object(content, kind) == nil:
		return fmt.Errorf("want the Content-Type %q", slices.Sorted(maps.Keys(content)))
	case a.Method == http.MethodHead:
		return nil
	}
	schema, err := d.schema(append(at, "content", kind, "schema")...)
	if err != nil {
		return err
	}
	for _, text := range documents(kind, a.Body) {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// documents are those in a body that are JSON. Of a stream of events the schema is
// that of each, as far as it was read.
func documents(kind string, body []byte) (all [][]byte) {
	switch {
	case kind == "text/event-stream":
		for line := range bytes.Lines(body) {
			if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok && bytes.HasSuffix(line, []byte("\n")) {
				all = append(all, data)
			}
		}
		return all
	case kind == "application/json", strings.HasSuffix(kind, "+json"):
		return [][]byte{body}
	}
	return nil
}

// schema compiles the schema at a path of names.
func (d *Document) schema(path ...string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	where := name + "#"
	for _, part := range path {
		part = strings.NewReplacer("~", "~0", "/", "~1").Replace(part)
		where += "/" + url.PathEscape(part)
	}
	return d.schemas.Compile(where)
}

// object follows a path of names; nil: there is no object.
func object(in map[string]any, path ...string) map[string]any {
	for _, part := range path {
		in, _ = in[part].(map[string]any)
	}
	return in
}

// Listen is an http.Handler that does what next does, and tells of each answer. Of
// a body it tells the first megabyte.
func Listen(next http.Handler, told func(Answer)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := &listener{ResponseWriter: w, answer: Answer{Method: r.Method, Path: r.URL.Path, Status: http.StatusOK}}
		defer func() {
			l.answer.Type = w.Header().Get("Content-Type")
			told(l.answer)
		}()
		next.ServeHTTP(l, r)
	})
}

const heard = 1 << 20

type listener struct {
	http.ResponseWriter
	answer Answer
}

// Unwrap is for http.ResponseController.
func (l *listener) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (l *listener) WriteHeader(status int) {
	l.answer.Status = status
	l.ResponseWriter.WriteHeader(status)
}

func (l *listener) Write(b []byte) (int, error) {
	l.answer.Body = append(l.answer.Body, b[:min(len(b), heard-len(l.answer.Body))]...)
	return l.ResponseWriter.Write(b)
}

// Lines reads answers that were written as lines of JSON, and checks them.
func (d *Document) Lines(text []byte) error {
	var wrong []error
	for line := range bytes.Lines(text) {
		var a Answer
		if err := json.Unmarshal(line, &a); err != nil {
			continue // of a process that was killed
		}
		wrong = append(wrong, d.Check(a))
	}
	return errors.Join(wrong...)
}
