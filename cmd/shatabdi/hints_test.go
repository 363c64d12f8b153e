package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"shatabdi/swarmcache/api"
	"shatabdi/swarmcache/download"
)

// Whoever runs a command at night is told what to try next, whatever went wrong.
func TestEveryErrorHasAHint(t *testing.T) {
	root, _ := rootCommand()
	cmd, _, err := root.Find([]string{"config", "check"})
	if err != nil {
		t.Fatal(err)
	}
	get := func(err error) error { return explainGet("http://o.test/a", err, false) }
	problem := func(status int) error {
		return explainProblem(api.Problem{Detail: "no"}, status, api.Prefix+"objects/1")
	}
	for _, row := range []struct {
		err  error
		code int
		hint string
	}{
		{errors.New("no"), exitFailure, "shatabdi doctor"},
		{fmt.Errorf("write: %w", syscall.ENOSPC), exitFailure, "make room"},
		{fmt.Errorf("open: %w", fs.ErrPermission), exitFailure, "who you are"},
		{fmt.Errorf("open: %w", fs.ErrNotExist), exitFailure, "is the path right?"},
		{usage("", "no"), exitUsage, "`shatabdi config check --help` shows how"},
		{usage("do this", "no"), exitUsage, "do this"},
		{&cliError{exitNotFound, errors.New("no"), ""}, exitNotFound, "shatabdi ls"},
		{&cliError{exitPartial, errors.New("no"), ""}, exitPartial, "tries again"},
		{&cliError{exitUnreachable, errors.New("no"), ""}, exitUnreachable, "shatabdi serve"},

		{problem(400), exitUsage, "--help"},
		{problem(403), exitFailure, "config running"},
		{problem(404), exitNotFound, "shatabdi ls"},
		{explainProblem(api.Problem{}, 404, api.Prefix+"warmups/1"), exitNotFound, "shatabdi warmups"},
		{problem(408), exitFailure, "try again"},
		{problem(409), exitFailure, "shatabdi status"},
		{problem(412), exitFailure, "shatabdi doctor"},
		{problem(413), exitFailure, "its parts"},
		{problem(422), exitUsage, "--help"},
		{problem(500), exitFailure, "log"},
		{problem(502), exitFailure, "--ask"},
		{problem(503), exitFailure, "shatabdi status"},
		{problem(507), exitFailure, "cache.size"},

		{get(&download.StatusError{Status: 401}), exitFailure, "-H"},
		{get(&download.StatusError{Status: 404}), exitNotFound, "--ask"},
		{get(&download.StatusError{Status: 407}), exitFailure, "--allow"},
		{get(&download.StatusError{Status: 502}), exitFailure, "--ask"},
		{get(&download.StatusError{Status: 504}), exitPartial, "--ask"},
		{get(&download.DigestError{}), exitFailure, "is the digest right?"},
		{get(context.Canceled), exitPartial, "tries again"},
		{get(io.EOF), exitUnreachable, "did the daemon stop?"},
		{get(syscall.ECONNREFUSED), exitUnreachable, "shatabdi serve"},
		{several([]error{get(io.EOF), get(&download.StatusError{Status: 404})}), exitPartial, "did the daemon stop?"},
		{(&client{name: "x"}).unreachable(context.Canceled), exitPartial, "tries again"},
	} {
		var said bytes.Buffer
		code := speak(&said, hinted(cmd, row.err))
		_, hint, _ := strings.Cut(said.String(), "shatabdi: hint: ")
		if code != row.code || !strings.Contains(strings.ToLower(hint), strings.ToLower(row.hint)) {
			t.Errorf("%v: exit %d, want %d and %q:\n%s", row.err, code, row.code, row.hint, &said)
		}
	}
	for _, status := range []int{404, 403, 408, 409, 413, 500, 502, 503, 504, 507} { // what the API answers beside the client's own mistakes
		if problemHint(api.Prefix+"status", status) == "" {
			t.Errorf("%d %s has no hint", status, http.StatusText(status))
		}
	}
}
