package openapi

import (
	"strings"
	"testing"
)

const document = `{"openapi": "3.1.0", "paths": {"/things/{id}": {"get": {"responses": {
	"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
	"204": {"description": "none"},
	"default": {"content": {"application/problem+json": {"schema": {"type": "object", "required": ["status"]}}}}}},
	"post": {"responses": {"200": {"content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/Thing"}}}}}}}},
	"components": {"schemas": {"Thing": {"type": "object", "additionalProperties": false, "required": ["at"],
		"properties": {"at": {"type": "string", "format": "date-time"}, "n": {"type": ["integer", "null"]}}}}}}`

// What is promised passes, and nothing else does.
func TestAnswers(t *testing.T) {
	d, err := Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	const json, at = "application/json", `{"at": "2026-11-26T17:00:00Z"}`
	for _, c := range []struct {
		is   string // of what is wrong; empty: nothing
		what Answer
	}{
		{"", Answer{"GET", "/things/1", 200, json, []byte(at)}},
		{"", Answer{"GET", "/things/1", 200, json + "; charset=utf-8", []byte(`{"at": "2026-11-26T17:00:00.5+01:00", "n": null}`)}},
		{"", Answer{"HEAD", "/things/1", 200, json, nil}},
		{"", Answer{"GET", "/things/1", 204, "", nil}},
		{"", Answer{"GET", "/things/1", 404, Problem, []byte(`{"status": 404}`)}},
		{"", Answer{"GET", "/none", 404, Problem, []byte(`{}`)}},
		{"", Answer{"POST", "/things/1", 200, "text/event-stream", []byte("id: 1\ndata: " + at + "\n\ndata: {\"at")}},
		{"date-time", Answer{"GET", "/things/1", 200, json, []byte(`{"at": "yesterday"}`)}},
		{"'at'", Answer{"GET", "/things/1", 200, json, []byte(`{}`)}},
		{"'more'", Answer{"GET", "/things/1", 200, json, []byte(`{"at": "2026-11-26T17:00:00Z", "more": 1}`)}},
		{"want null or integer", Answer{"GET", "/things/1", 200, json, []byte(`{"at": "2026-11-26T17:00:00Z", "n": 1.5}`)}},
		{"Content-Type", Answer{"GET", "/things/1", 200, "text/plain", []byte(at)}},
		{"EOF", Answer{"GET", "/things/1", 200, json, nil}},
		{"a body", Answer{"GET", "/things/1", 204, json, []byte(at)}},
		{"the status", Answer{"GET", "/things/1", 201, json, []byte(at)}},
		{"the status", Answer{"POST", "/things/1", 500, Problem, []byte(`{}`)}},
		{"'status'", Answer{"GET", "/things/1", 404, Problem, []byte(`{}`)}},
		{"no such operation", Answer{"PUT", "/things/1", 200, json, []byte(at)}},
		{"want " + Problem, Answer{"PUT", "/things/1", 405, "text/plain", nil}},
		{"'more'", Answer{"POST", "/things/1", 200, "text/event-stream", []byte("data: " + at + "\n\ndata: {\"more\": 1}\n\n")}},
	} {
		err := d.Check(c.what)
		if (err == nil) != (c.is == "") || err != nil && !strings.Contains(err.Error(), c.is) {
			t.Errorf("%s %s %d %s %s: %v, want %q", c.what.Method, c.what.Path, c.what.Status, c.what.Type, c.what.Body, err, c.is)
		}
	}
}

func TestDocumentIsNone(t *testing.T) {
	for _, text := range []string{
		`{"openapi": "3.0.3"}`,
		strings.Replace(document, `"type": ["integer", "null"]`, `"type": "int"`, 1),
		strings.Replace(document, `#/components/schemas/Thing"}}}},`, `#/components/schemas/None"}}}},`, 1),
	} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s is taken for a document", text)
		}
	}
}
