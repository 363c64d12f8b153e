package main

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
	"shatabdi/swarmcache/download"
)

// Every error ends with what to try next: with the hint that whoever found it gave,
// and otherwise with one of these.

// hinted gives an error of cmd a hint if it has none.
func hinted(cmd *cobra.Command, err error) error {
	var ce *cliError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &ce):
		return &cliError{exitFailure, err, hintOf(cmd, exitFailure, err)}
	case ce.hint == "":
		return &cliError{ce.code, ce.err, hintOf(cmd, ce.code, ce.err)}
	}
	return err
}

func hintOf(cmd *cobra.Command, code int, err error) string {
	switch code {
	case exitUsage:
		return "`" + cmd.CommandPath() + " --help` shows how"
	case exitNotFound:
		return "is the name right? `shatabdi ls` lists what is on this node"
	case exitPartial:
		return "the same command tries again"
	case exitUnreachable:
		return startOne
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room there, or choose another place; `df -h` shows which disk is full"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "`ls -ld` shows who may, `id` who you are"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "is the path right? `ls` shows what is there"
	}
	return "`shatabdi doctor` looks for what is wrong on this machine; the daemon's log may tell more"
}

const startOne = "start one with `shatabdi serve`, or name its address with --admin or " + adminVariable

// problemHint is what to try when the daemon answered a question about path with a
// problem; "": what its text says.
func problemHint(path string, status int) string {
	about, _, _ := strings.Cut(strings.TrimPrefix(path, api.Prefix), "/")
	switch status {
	case http.StatusNotFound:
		if about == "warmups" {
			return "`shatabdi warmups` lists them"
		}
		return "`shatabdi ls` lists what is on this node, `shatabdi explain URL` says where a URL would come from"
	case http.StatusForbidden:
		return "`shatabdi config running` shows what the daemon may do, and how its sources sign"
	case http.StatusRequestTimeout:
		return "try again: what is sent must not stand still"
	case http.StatusConflict:
		return "`shatabdi status` shows how things stand; try again when that has changed"
	case http.StatusRequestEntityTooLarge:
		return "order its parts one after the other"
	case http.StatusInternalServerError:
		return "the daemon's log tells more; `shatabdi doctor` looks for what is wrong"
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return "`shatabdi explain URL --ask` tells what the origin answers"
	case http.StatusServiceUnavailable:
		return "`shatabdi status` shows what is away; try again when it is back"
	case http.StatusInsufficientStorage:
		return "`shatabdi ls --sort used` shows what could go: purge or unpin some, or raise cache.size"
	}
	return ""
}

// getHint is what to try when a URL could not be had.
func getHint(err error) string {
	var (
		status *download.StatusError
		digest *download.DigestError
	)
	switch {
	case errors.As(err, &digest):
		return "nothing is left of it. Is the digest right? `shatabdi purge URL` has the origin asked anew"
	case errors.As(err, &status):
		switch status.Status {
		case http.StatusUnauthorized, http.StatusForbidden:
			return "give credentials with -H \"Authorization: ...\"; for s3:// and oci:// the daemon's configuration has them"
		case http.StatusProxyAuthRequired:
			return "the proxy lets this machine in with --allow"
		case http.StatusNotFound, http.StatusGone:
			return "is the URL right? `shatabdi explain URL --ask` tells what the origin answers"
		}
		return "`shatabdi explain URL --ask` tells what the origin answers, `shatabdi status` how this node is; the same command tries again"
	case isHangUp(err):
		return "did the daemon stop? `shatabdi status` tells; the same command tries again"
	}
	return ""
}

// isHangUp reports whether the daemon ended a connection before it had answered.
func isHangUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

// firstHint is the first one that errs have.
func firstHint(errs []error) (hint string) {
	for _, err := range errs {
		if ce := (*cliError)(nil); errors.As(err, &ce) {
			hint = cmp.Or(hint, ce.hint)
		}
	}
	return hint
}
