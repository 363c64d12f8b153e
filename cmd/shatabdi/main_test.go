package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The scripts run this test binary as the command.
	writeAnswers()
	testscript.Main(neat{m}, map[string]func(){"shatabdi": main})
}

// neat fails a run that leaves goroutines behind, or in which a daemon answered what
// its API does not describe.
type neat struct{ *testing.M }

func (m neat) Run() int {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	answers := filepath.Join(dir, "answers")
	os.Setenv(answersVariable, answers)
	code := m.M.Run()
	if err := errors.Join(checkAnswers(answers), goleak.Find()); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs the command lines of testdata, each told as a user would type it.
func TestScripts(t *testing.T) {
	configs, err := filepath.Abs("../../configs")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("CONFIGS", configs)
			e.Setenv("SHELL", "/bin/sh")
			e.Setenv("SHATABDI_CACHE_MIN_FREE", "1MiB") // and not a share of the disk, which may be almost full
			e.Setenv("GORACE", "atexit_sleep_ms=50")    // the race detector waits a second at each exit
			answers := filepath.Join(e.WorkDir, ".answers")
			e.Setenv(answersVariable, answers)
			e.Defer(func() {
				if err := checkAnswers(answers); err != nil {
					e.T().Log("what the API answers is not what it describes:", err)
					e.T().Fatal()
				}
			})
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "ports": ports, "origin": testOrigin, "fetch": fetch, "api": askAPI, "islarge": isLarge, "head": head, "eventually": eventually,
			"egress": egress,
			"s3":     testS3, "sent": sentByS3, "registry": testRegistry,
		},
	})
}

// exits runs a command that must end with the given exit code, and say what to try
// where it says what is wrong:
// exits 2 shatabdi serve --nonsense
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if ee := (interface{ ExitCode() int })(nil); err != nil {
		var ok bool
		if ee, ok = err.(interface{ ExitCode() int }); !ok {
			ts.Fatalf("%v", err)
		}
		code = ee.ExitCode()
	}
	if told := ts.ReadFile("stderr"); strings.Contains(told, "shatabdi: error: ") && !strings.Contains(told, "shatabdi: hint: ") {
		ts.Fatalf("an error without a hint: %s", told)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}
