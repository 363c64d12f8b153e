package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

// adminVariable names the daemon to talk to, as --admin does.
const adminVariable = "SHATABDI_ADMIN"

// adminFlag gives cmd the flag that says which daemon to talk to.
func adminFlag(cmd *cobra.Command) *daemonAt {
	at := new(daemonAt)
	cmd.Flags().StringVar(&at.tokenFile, "token-file", "", "`FILE` with the token that it wants, if it does; "+tokenVariable+" by default")
	cmd.Flags().StringVar(&at.url, "admin", "", "`URL` of the daemon, or unix:DIR/admin.sock; "+adminVariable+" or "+
		"http://"+DefaultConfig().Admin.Listen+" by default")
	return at
}

// daemonAt is where a daemon is asked, and as whom.
type daemonAt struct{ url, tokenFile string }

// client asks a daemon over its REST API.
type client struct {
	base  *url.URL
	http  *http.Client
	name  string // of the daemon, for people
	bears bool   // a token

	unread error // why it does not bear that of the environment, which may not be wanted
}

// newClient returns the client that --admin or the environment asks for.
func newClient(at daemonAt) (*client, error) {
	where := cmp.Or(at.url, os.Getenv(adminVariable), "http://"+DefaultConfig().Admin.Listen)
	c := &client{name: where}
	// A transport of its own: the default one obeys http_proxy.
	transport := &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: 10 * time.Second}
	c.http = &http.Client{Timeout: 10 * time.Second, Transport: transport}
	if socket, ok := strings.CutPrefix(where, "unix:"); ok {
		socket = strings.TrimPrefix(socket, "//")
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		where = "http://localhost"
	} else if !strings.Contains(where, "://") {
		where = "http://" + where
	}
	var err error
	if c.base, err = url.Parse(where); err != nil || c.base.Scheme != "http" || c.base.Host == "" {
		return nil, usage("give --admin or "+adminVariable+" a URL such as http://127.0.0.1:3180, or unix:/var/lib/shatabdi/admin.sock",
			"%q is not the address of a daemon", c.name)
	}
	if file := cmp.Or(at.tokenFile, os.Getenv(tokenVariable)); file != "" && !strings.HasPrefix(c.name, "unix:") {
		switch token, err := readToken(file); {
		case err == nil:
			c.http.Transport, c.bears = bearing{token, c.base.Host, transport}, true
		case at.tokenFile != "":
			return nil, err
		default:
			c.unread = err
		}
	}
	return c, nil
}

// do sends one request to the API and decodes the answer into out.
func (c *client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	u := c.base.JoinPath(api.Prefix, path)
	u.RawQuery = query.Encode()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	return c.decode(resp, out)
}

// stream sends a body of any length, in whatever time it takes, and not before the
// daemon wants it.
func (c *client) stream(ctx context.Context, method, path string, query url.Values, header http.Header, body io.Reader, out any) error {
	u := c.base.JoinPath(api.Prefix, path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return err
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Expect", "100-continue")
	patient := http.Client{Transport: c.http.Transport}
	resp, err := patient.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	return c.decode(resp, out)
}

// patiently is c, which waits for an answer for so long.
func (c *client) patiently(d time.Duration) *client {
	patient, asks := *c, *c.http
	asks.Timeout, patient.http = d, &asks
	return &patient
}

func (c *client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.do(ctx, http.MethodGet, path, query, nil, out)
}

func (c *client) decode(resp *http.Response, out any) error {
	if resp.StatusCode == http.StatusUnauthorized && resp.Header.Get("WWW-Authenticate") == challenge {
		return c.refusedToken()
	}
	if resp.StatusCode == http.StatusNoContent {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	dec := json.NewDecoder(io.LimitReader(resp.Body, 64<<20))
	switch kind {
	case "application/json":
		if err := dec.Decode(out); err != nil {
			return fmt.Errorf("answer of the daemon on %s: %w", c.name, err)
		}
		return nil
	case "application/problem+json":
		var p api.Problem
		if err := dec.Decode(&p); err != nil {
			return fmt.Errorf("answer of the daemon on %s: %w", c.name, err)
		}
		return explainProblem(p, resp.StatusCode, resp.Request.URL.Path)
	}
	return failure("is it another program's address, or that of the proxy?",
		"what answers on %s is no shatabdi daemon (%s)", c.name, resp.Status)
}

// explainProblem gives what the daemon complains of, when it was asked about path, an
// exit code and a hint.
func explainProblem(p api.Problem, status int, path string) error {
	text := cmp.Or(p.Detail, p.Title, http.StatusText(status))
	var all []error
	for _, e := range p.Errors {
		all = append(all, errors.New(strings.TrimPrefix(e.Location+": ", ": ")+e.Message))
	}
	err := errors.New(text)
	if len(all) == 1 {
		err = fmt.Errorf("%s: %w", text, all[0])
	} else if len(all) > 1 {
		err = errors.Join(append([]error{err}, all...)...)
	}
	code := exitFailure
	switch status {
	case http.StatusServiceUnavailable:
		err = notNow{err}
	case http.StatusPreconditionFailed:
		err = isThere{err}
	case http.StatusNotFound:
		code = exitNotFound
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		code = exitUsage
	}
	return &cliError{code, err, problemHint(path, status)}
}

// notNow is what the daemon cannot answer for the moment, because its directory is
// away for one.
type notNow struct{ error }

func (e notNow) Unwrap() error { return e.error }

// isThere is what the daemon does not do because something is there already, or not.
type isThere struct{ error }

func (e isThere) Unwrap() error { return e.error }

func (c *client) unreachable(err error) error {
	if ue := (*url.Error)(nil); errors.As(err, &ue) && ue.Timeout() {
		return &cliError{exitPartial, fmt.Errorf("the daemon on %s does not answer in time", c.name), "its log may tell why"}
	}
	if errors.Is(err, context.Canceled) {
		return &cliError{exitPartial, errors.New("interrupted"), ""}
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err // without the URL and the verbs around it
	}
	return &cliError{exitUnreachable, fmt.Errorf("no daemon answers on %s: %w", c.name, err),
		startOne}
}

// asking makes cmd ask a daemon by means of ask, and print what it gets.
func asking[T any](cmd *cobra.Command, ask func(ctx context.Context, c *client, args []string) (T, error), text func(io.Writer, T)) *cobra.Command {
	var output string
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		got, err := ask(cmd.Context(), c, args)
		if err != nil {
			return err
		}
		return printAs(cmd.OutOrStdout(), output, got, func(w io.Writer) { text(w, got) })
	}
	return cmd
}
