package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// document is the OpenAPI document as it is served, and a check of responses
// against it that owes nothing to what made it.
type document map[string]any

// ids are the paths of single things.
var ids = regexp.MustCompile("^/api/v1/(objects|downloads|warmups)/[^/]+")

// at follows a path of names.
func (d document) at(path ...string) map[string]any {
	node := map[string]any(d)
	for _, name := range path {
		node, _ = node[name].(map[string]any)
	}
	return node
}

// check reports what of a response the document does not promise.
func (d document) check(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	path := ids.ReplaceAllString(r.URL.Path, "/api/v1/$1/{id}")
	operation := d.at("paths", path, strings.ToLower(r.Method))
	if operation == nil {
		if w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s %s is not described and answered %d", r.Method, path, w.Code)
		}
		// Refused before any operation: a problem all the same.
		operation = map[string]any{"responses": map[string]any{"default": problemResponse}}
	}
	responses := document(operation).at("responses")
	response, ok := responses[strconv.Itoa(w.Code)].(map[string]any)
	if !ok {
		response, ok = responses["default"].(map[string]any)
	}
	if !ok || w.Code < 400 && responses[strconv.Itoa(w.Code)] == nil {
		t.Errorf("%s %s: status %d is not described", r.Method, path, w.Code)
		return
	}
	content := document(response).at("content")
	if content == nil {
		if w.Body.Len() > 0 {
			t.Errorf("%s %s: a body where none is described: %s", r.Method, path, w.Body)
		}
		return
	}
	got, _, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	media := document(content).at(got)
	if err != nil || media == nil {
		t.Errorf("%s %s: Content-Type %q, want one of %v", r.Method, path, got, slices.Collect(maps.Keys(content)))
		return
	}
	if got == "application/x-bittorrent" {
		return
	}
	documents := [][]byte{w.Body.Bytes()}
	if got == "application/octet-stream" {
		return
	}
	if got == "text/event-stream" { // the schema is that of each event
		documents = nil
		for line := range strings.Lines(w.Body.String()) {
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				documents = append(documents, []byte(data))
			}
		}
	}
	for _, text := range documents {
		var body any
		if err := json.Unmarshal(text, &body); err != nil {
			t.Errorf("%s %s: %v", r.Method, path, err)
			return
		}
		for _, wrong := range d.violations(media["schema"].(map[string]any), body, "body") {
			t.Errorf("%s %s: %d: %s\n%s", r.Method, path, w.Code, wrong, text)
		}
	}
}

var problemResponse = map[string]any{"content": map[string]any{"application/problem+json": map[string]any{
	"schema": map[string]any{"$ref": "#/components/schemas/ErrorModel"},
}}}

// violations checks v against a schema. A keyword it does not know counts as
// one, so that nothing goes unchecked.
func (d document) violations(schema map[string]any, v any, where string) (wrong []string) {
	add := func(format string, args ...any) {
		wrong = append(wrong, where+": "+fmt.Sprintf(format, args...))
	}
	object, _ := v.(map[string]any)
	list, _ := v.([]any)
	text, _ := v.(string)
	number, _ := v.(float64)
	for keyword, want := range schema {
		switch keyword {
		case "description", "default", "examples", "contentEncoding":
		case "$ref":
			name := strings.TrimPrefix(want.(string), "#/components/schemas/")
			target := d.at("components", "schemas", name)
			if target == nil {
				add("no schema %s", want)
				continue
			}
			wrong = append(wrong, d.violations(target, v, where)...)
		case "type":
			if !isA(v, want) {
				add("%T is not of type %v", v, want)
			}
		case "format":
			if want == "date-time" && text != "" {
				if _, err := time.Parse(time.RFC3339, text); err != nil {
					add("%v", err)
				}
			}
		case "enum":
			if !slices.Contains(want.([]any), v) {
				add("%v is none of %v", v, want)
			}
		case "pattern":
			if !regexp.MustCompile(want.(string)).MatchString(text) {
				add("%q does not match %s", text, want)
			}
		case "minimum":
			if number < want.(float64) {
				add("%v is below %v", v, want)
			}
		case "required":
			for _, name := range want.([]any) {
				if _, ok := object[name.(string)]; !ok {
					add("%s is missing", name)
				}
			}
		case "properties":
			for name, s := range want.(map[string]any) {
				if p, ok := object[name]; ok {
					wrong = append(wrong, d.violations(s.(map[string]any), p, where+"."+name)...)
				}
			}
		case "additionalProperties":
			known, _ := schema["properties"].(map[string]any)
			for name, p := range object {
				s, described := want.(map[string]any)
				if known[name] == nil && described {
					wrong = append(wrong, d.violations(s, p, where+"."+name)...)
				} else if known[name] == nil && want == false {
					add("%s is not described", name)
				}
			}
		case "items":
			for i, item := range list {
				wrong = append(wrong, d.violations(want.(map[string]any), item, fmt.Sprintf("%s[%d]", where, i))...)
			}
		default:
			add("the test does not know the keyword %s", keyword)
		}
	}
	return wrong
}

func isA(v, want any) bool {
	if several, ok := want.([]any); ok {
		return slices.ContainsFunc(several, func(w any) bool { return isA(v, w) })
	}
	switch v := v.(type) {
	case nil:
		return want == "null"
	case bool:
		return want == "boolean"
	case string:
		return want == "string"
	case float64:
		return want == "number" || want == "integer" && v == float64(int64(v))
	case []any:
		return want == "array"
	case map[string]any:
		return want == "object"
	}
	return false
}
