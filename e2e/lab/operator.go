package lab

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"shatabdi/e2e/openapi"
)

// apiURL is the node's REST API.
const apiURL = adminURL + "/api/v1/"

// Object is what a node tells of one object.
type Object struct {
	ID       string `json:"id"`
	Complete bool   `json:"complete"`
	Magnet   string `json:"magnet"`
}

// API returns what the node's REST API answers to a GET, which must succeed.
func (n *Node) API(path string) string {
	n.Machine.lab.Helper()
	return n.Order("GET", path)
}

// Order sends a request without a body to the node's REST API, which must succeed,
// and answer as it describes itself.
func (n *Node) Order(method, path string) string {
	l := n.Machine.lab
	l.Helper()
	const code = "\n%{http_code} %{content_type}"
	out := n.Machine.Run("curl", "-sS", "-X", method, "-w", code, apiURL+path)
	last := strings.LastIndex(out, "\n")
	body := out[:last]
	status, kind, _ := strings.Cut(out[last+1:], " ")
	a := openapi.Answer{Method: method, Path: "/api/v1/" + strings.SplitN(path, "?", 2)[0], Type: kind, Body: []byte(body)}
	a.Status, _ = strconv.Atoi(status)
	if a.Status < 200 || a.Status > 299 {
		l.Fatalf("lab: %s %s on %s: %s %s", method, path, n.Machine.Name, status, body)
	}
	if err := n.described().Check(a); err != nil {
		l.Errorf("%v", err)
	}
	return body
}

// described is how the node's REST API describes itself.
func (n *Node) described() *openapi.Document {
	l := n.Machine.lab
	l.describing.Do(func() {
		var err error
		l.described, err = openapi.Parse([]byte(n.Machine.Run("curl", "-sSf", apiURL+"openapi.json")))
		l.must(err)
	})
	return l.described
}

// Object is what the node knows of what a URL selects; the zero value: nothing.
func (n *Node) Object(rawURL string) (o Object) {
	l := n.Machine.lab
	l.Helper()
	var found struct{ Objects []Object }
	l.must(json.Unmarshal([]byte(n.API("objects?url="+url.QueryEscape(rawURL))), &found))
	if len(found.Objects) > 0 {
		l.must(json.Unmarshal([]byte(n.API("objects/"+found.Objects[0].ID)), &o))
	}
	return o
}
