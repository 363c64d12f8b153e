package main

import (
	"errors"
	"fmt"
	"io"
)

// Exit codes, the same for every command.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2 // usage or configuration
	exitNotFound    = 3
	exitPartial     = 4 // timeout or partial success
	exitUnreachable = 5 // no daemon answers
)

// cliError is an error for people: what is wrong, what to try, how to exit.
type cliError struct {
	code int
	err  error
	hint string
}

func (e *cliError) Error() string { return e.err.Error() }
func (e *cliError) Unwrap() error { return e.err }

// failure is an error with exit code 1 and a hint.
func failure(hint, format string, args ...any) error {
	return &cliError{exitFailure, fmt.Errorf(format, args...), hint}
}

// usage is an error with exit code 2 and a hint.
func usage(hint, format string, args ...any) error {
	return &cliError{exitUsage, fmt.Errorf(format, args...), hint}
}

// speak tells err to the user, each error that was joined on its own line, and
// returns the exit code.
func speak(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	w = plainly{w}
	code, hint := exitFailure, ""
	if ce := (*cliError)(nil); errors.As(err, &ce) {
		code, hint, err = ce.code, ce.hint, ce.err
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, e := range all {
		fmt.Fprintf(w, "shatabdi: error: %v\n", e)
	}
	if hint != "" {
		fmt.Fprintf(w, "shatabdi: hint: %s\n", hint)
	}
	return code
}
