package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"shatabdi/e2e/openapi"
	"shatabdi/swarmcache/api"
)

// answersVariable names a file: each daemon that a test starts, in this process or
// in one of its own, writes there what its REST API answers.
const answersVariable = "TEST_ANSWERS"

// writeAnswers makes this process one that does.
func writeAnswers() {
	var mu sync.Mutex
	overheard = func(next http.Handler) http.Handler {
		return openapi.Listen(next, func(a openapi.Answer) {
			line, err := json.Marshal(a)
			if err != nil {
				panic(err) // made of our own types
			}
			mu.Lock()
			defer mu.Unlock()
			f, err := os.OpenFile(os.Getenv(answersVariable), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return // the test is over, and its directory gone
			}
			defer f.Close()
			f.Write(append(line, '\n'))
		})
	}
}

// described is the document that the API publishes.
var described = sync.OnceValues(func() (*openapi.Document, error) {
	w := httptest.NewRecorder()
	api.New(api.Config{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, api.Prefix+"openapi.json", nil))
	return openapi.Parse(w.Body.Bytes())
})

// checkAnswers says which of the answers in a file are not as the document has them.
func checkAnswers(file string) error {
	d, err := described()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil // no daemon was asked
	}
	return d.Lines(text)
}

// Daemons of these tests are overheard, in other processes too.
func TestAnswersAreOverheard(t *testing.T) {
	file := filepath.Join(t.TempDir(), "answers")
	t.Setenv(answersVariable, file)
	reg := newRegistry(buildInfo())
	h := newAdmin(newReadiness(), reg).handler()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://localhost"+api.Prefix+"status", nil))
	if text, err := os.ReadFile(file); err != nil || len(text) == 0 {
		t.Fatalf("%q, %v", text, err)
	}
	if err := checkAnswers(file); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte(`{"method":"GET","path":"/api/v1/mode","status":200,"type":"application/json","body":"e30="}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkAnswers(file); err == nil {
		t.Error("an answer without what the document requires passes")
	}
}
