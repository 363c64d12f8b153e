package lab

import (
	"encoding/json"
	"net/url"
)

// apiURL is the node's REST API.
const apiURL = adminURL + "/api/v1/"

// Object is what a node tells of one object.
type Object struct {
	ID       string `json:"id"`
	Complete bool   `json:"complete"`
	Magnet   string `json:"magnet"`
}

// API returns what the node's REST API answers to a GET.
func (n *Node) API(path string) string {
	n.Machine.lab.Helper()
	return n.Machine.Run("curl", "-sf", apiURL+path)
}

// Order sends a request without a body to the node's REST API, which must
// succeed.
func (n *Node) Order(method, path string) string {
	n.Machine.lab.Helper()
	return n.Machine.Run("curl", "-sSf", "-X", method, apiURL+path)
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
