package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"shatabdi/proxy/origin"
)

// answers is the one table from what went wrong to what the client is told. The
// status is the one RFC 9209 §2.3 recommends, but 403 for what an operator
// forbids.
var answers = map[origin.Kind]struct {
	status int
	text   string
	hint   string
}{
	origin.KindDNS:           {502, "the origin's name cannot be resolved", "check the name; resolver.hosts can map it to an address"},
	origin.KindDNSTimeout:    {504, "the origin's name was not resolved in time", "try again; check this machine's resolver"},
	origin.KindRefused:       {502, "the origin refuses connections", "check host and port; is the server running?"},
	origin.KindUnroutable:    {502, "there is no route to the origin", "check the address and this machine's network"},
	origin.KindUnavailable:   {503, "the origin cannot be reached", "try again later"},
	origin.KindDialTimeout:   {504, "the origin did not accept a connection in time", "check host and port, and firewalls in between"},
	origin.KindTerminated:    {502, "the origin closed the connection without an answer", "try again"},
	origin.KindHeaderTimeout: {504, "the origin did not answer in time", "try again later"},
	origin.KindHeaderSize:    {502, "the header of the origin's answer is too large", ""},
	origin.KindStalled:       {504, "the origin stopped in the middle of its answer", "try again later"},
	origin.KindCoding:        {502, "the origin's answer is in a transfer coding that is not known here", ""},
	origin.KindIncomplete:    {502, "the origin's answer ended early", "try again"},
	origin.KindProtocol:      {502, "the origin's answer is not valid HTTP", "does another protocol live on that port?"},
	origin.KindTLS:           {502, "no TLS connection to the origin", "does the origin speak https on that port?"},
	origin.KindCertificate:   {502, "the origin's certificate is not trusted", "its issuer must be among this machine's authorities"},
	origin.KindAlert:         {502, "the origin broke off the TLS handshake", ""},
	origin.KindDenied:        {403, "this proxy does not connect to that address", "the operator can allow a network with --allow-destination"},
	origin.KindLoop:          {502, "the request came back to the proxy it had passed", "check which proxy the servers on the way use"},
	origin.KindScheme:        {400, "this proxy fetches http and https URLs, and those of its sources: s3, oci, file and what sources.commands adds", ""},
}

// statusClientGone is what the access log says of a client that left before it
// was answered; nginx made the number known.
const statusClientGone = 499

// refusal is an answer to the client's own fault, so it may be explained.
type refusal struct {
	status int
	kind   string // error type of RFC 9209 §2.3
	hint   string
}

func (e *refusal) Error() string { return e.kind + ": " + e.hint }

func refused(status int, kind, hint string) error { return &refusal{status, kind, hint} }

// fail answers with an error that we generate. Nothing of another response may
// have been sent.
func (p *Proxy) fail(x *exchange, err error) {
	status, kind, text, hint := explain(err)
	x.failure, x.err = kind, err
	if x.w.status != 0 {
		panic(http.ErrAbortHandler) // too late to say it
	}
	if kind == string(origin.KindCanceled) {
		x.w.status = statusClientGone
		panic(http.ErrAbortHandler)
	}
	h := x.w.Header()
	clear(h)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	p.proxyStatus(h, troubleOf(err))
	if status == http.StatusMethodNotAllowed {
		h.Set("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH, CONNECT")
	}
	x.sayWhen(h, status)
	body := fmt.Sprintf("shatabdi: error: %s\n", text)
	if hint != "" {
		body += fmt.Sprintf("shatabdi: hint: %s\n", hint)
	}
	body += fmt.Sprintf("shatabdi: request id: %s\n", x.id)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		io.WriteString(x.w, body)
	}
}

// explain turns an error into the answer's status, RFC 9209 error type, a line
// for a person and something to try.
func explain(err error) (status int, kind, text, hint string) {
	var (
		ours  *refusal
		large *http.MaxBytesError
	)
	switch {
	case errors.As(err, &ours):
		text = "request refused"
		if ours.status == http.StatusServiceUnavailable {
			text = "not now"
		}
		return ours.status, ours.kind, text, ours.hint
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, "http_request_error", "request refused",
			fmt.Sprintf("a request body may have %d bytes here", large.Limit)
	}
	k := origin.KindOf(err)
	if k == origin.KindCanceled {
		return statusClientGone, string(k), "", ""
	}
	a, ok := answers[k]
	if !ok {
		return http.StatusInternalServerError, "proxy_internal_error", "something went wrong here", "the log knows more under the request id"
	}
	return a.status, string(k), a.text, a.hint
}
