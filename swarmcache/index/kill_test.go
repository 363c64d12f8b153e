package index

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// childDir makes the test binary a process that uses the index in that
// directory until it is killed.
const childDir = "SHATABDI_TEST_INDEX_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		write(dir, os.Getenv("SHATABDI_TEST_INDEX_SEED"))
		return
	}
	goleak.VerifyTestMain(m)
}

// A step is one write of the child. Its text is what the child prints, after
// the index returned nil.
type step struct {
	op         string // put, delete, select
	n, pieces  int
	generation int64
}

func (s step) String() string { return fmt.Sprint(s.op, " ", s.n, " ", s.pieces, " ", s.generation) }

func (s step) record() swarmcache.Record {
	r := cachetest.NewRecord(s.n, s.pieces)
	r.Hits = s.generation
	return r
}

// steps yields the same endless sequence for the same seed. An object's amount
// of hashes follows from its number, as its id must not change.
func steps(seed uint64) func() step {
	rnd := rand.New(rand.NewPCG(seed, 0))
	generation := int64(0)
	return func() step {
		generation++
		n := rnd.IntN(40)
		op := [...]string{"put", "put", "put", "delete", "select"}[rnd.IntN(5)]
		return step{op, n, [...]int{0, 10, 300, 4000}[n%4], generation}
	}
}

func do(x *Index, s step) error {
	r := s.record()
	switch s.op {
	case "put":
		return x.Put(r)
	case "delete":
		return x.Delete(r.Version.ID)
	default:
		return x.SetCurrent(r.Version.Key, r.Version.ID)
	}
}

func write(dir, seed string) {
	x, err := Open(Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var n uint64
	fmt.Sscan(seed, &n)
	fmt.Println("open")
	for next := steps(n); ; {
		s := next()
		if err := do(x, s); err != nil {
			fmt.Println(s, err)
			os.Exit(1)
		}
		fmt.Println(s)
	}
}

// start runs a child on dir and returns the lines that it prints: "open", then
// its steps.
func start(t *testing.T, dir string, seed uint64) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprint("SHATABDI_TEST_INDEX_SEED=", seed))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	t.Cleanup(func() { child.Process.Kill(); child.Wait() })
	return child, bufio.NewScanner(out)
}

// model is what an index must hold after some steps.
type model struct {
	records map[int]step
	current map[policy.Key]swarmcache.ObjectID
}

func (m *model) do(s step) {
	r := s.record()
	switch s.op {
	case "put":
		m.records[s.n] = s
	case "delete":
		if _, ok := m.records[s.n]; ok && m.current[r.Version.Key] == r.Version.ID {
			delete(m.current, r.Version.Key)
		}
		delete(m.records, s.n)
	case "select":
		m.current[r.Version.Key] = r.Version.ID
	}
}

// diff tells where x is not like m.
func (m *model) diff(x *Index) error {
	var errs []error
	for n := range 40 {
		s, want := m.records[n]
		r := step{"", n, [...]int{0, 10, 300, 4000}[n%4], s.generation}.record()
		got, err := x.Get(r.Version.ID)
		switch {
		case !want && !errors.Is(err, swarmcache.ErrNotFound):
			errs = append(errs, fmt.Errorf("object %d: %v, want not found", n, err))
		case want && (err != nil || got.Hits != s.generation || string(got.Hashes) != string(r.Hashes)):
			errs = append(errs, fmt.Errorf("object %d: generation %d, %d bytes of hashes, %v; want %v", n, got.Hits, len(got.Hashes), err, s))
		}
		id, err := x.Current(r.Version.Key)
		if id != m.current[r.Version.Key] || err != nil && !errors.Is(err, swarmcache.ErrNotFound) {
			errs = append(errs, fmt.Errorf("key %d selects %.8q, %v; want %.8q", n, id, err, m.current[r.Version.Key]))
		}
	}
	return errors.Join(errs...)
}

// What a method returned nil for survives kill -9, which may also come while the
// index is being opened. The write that was under way is there whole or not at
// all.
func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	dir := t.TempDir()
	m := model{map[int]step{}, map[policy.Key]swarmcache.ObjectID{}}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range uint64(12) {
		child, lines := start(t, dir, seed+round)
		next := steps(seed + round)
		kill := time.AfterFunc(time.Duration(rand.IntN(200))*time.Millisecond, func() { child.Process.Kill() })
		if lines.Scan() && lines.Text() != "open" {
			t.Fatalf("child says %q", lines.Text())
		}
		acked := 0
		for ; lines.Scan(); acked++ {
			s := next()
			if lines.Text() != s.String() {
				t.Fatalf("child says %q, want %q", lines.Text(), s)
			}
			m.do(s)
		}
		kill.Stop()
		child.Wait()
		t.Logf("round %d: killed after %d writes", round, acked)

		x := open(t, dir)
		without := m.diff(x)
		if without != nil {
			m.do(next()) // the write that was under way
			if with := m.diff(x); with != nil {
				t.Fatalf("after kill -9, without the last write: %v\nwith it: %v", without, with)
			}
		}
		must(t, x.Close())
	}
}

// The directory cannot be written by the user that the program runs as, which
// has to be another one where the tests run as root.
func TestOpenOfDirectoryOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.Chmod(dir, 0o555))
	child := exec.Command("/proc/self/exe") // its path may be closed to that user
	child.Env = []string{childDir + "=" + dir}
	if os.Geteuid() == 0 {
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := child.CombinedOutput()
	if want := dir + " is not writable: "; err == nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "permission denied") {
		t.Errorf("child says %q, %v; want %q and the cause", out, err, want)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

func TestOpenWhileAnotherProcessHasIt(t *testing.T) {
	dir := t.TempDir()
	child, lines := start(t, dir, 1)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatalf("child says %q", lines.Text())
	}
	_, err := Open(Options{Dir: dir})
	if !errors.Is(err, ErrLocked) || !contains(err, fmt.Sprint("process ", child.Process.Pid)) {
		t.Errorf("Open: %v, want ErrLocked naming process %d", err, child.Process.Pid)
	}
	if !lines.Scan() {
		t.Error("the other process does not go on")
	}
	child.Process.Kill()
	for lines.Scan() {
	}
	child.Wait()
	open(t, dir) // a lock does not outlive its process
}
