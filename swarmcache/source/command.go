package source

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"shatabdi/swarmcache/layout"
)

// command is a program that answers for a scheme. It is run once for each
// question, with the daemon's environment. On standard input it gets one line,
// a commandQuestion in JSON, and then the end. On standard output it writes one
// line, a commandAnswer, and for "read" the bytes asked for right behind that
// line, not one more or less. What it has to say to its operator belongs on
// standard error, of which the last line is told when it fails. It is killed,
// with what it started, when nobody wants the answer any more.
//
// "stat" wants length, and validator where two versions can be told apart. "read"
// wants the bytes from (the first) to (behind the last) of the version that
// validator names, or the error "changed". "list" is asked for what ends in a
// slash, and wants urls.
type command struct{ argv []string }

type commandQuestion struct {
	Protocol  int    `json:"protocol"` // 1
	Op        string `json:"op"`       // stat, read or list
	URL       string `json:"url"`
	Validator string `json:"validator,omitempty"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
}

type commandAnswer struct {
	Length      int64     `json:"length"`
	Validator   string    `json:"validator"`
	Modified    time.Time `json:"modified"`
	ContentType string    `json:"content_type"`
	URLs        []string  `json:"urls"`
	Error       string    `json:"error"`   // not_found, denied, changed or failed; empty: none
	Message     string    `json:"message"` // a line for people
}

// maxAnswer bounds the line of an answer, in bytes.
const maxAnswer = 4 << 20

func (c command) Stat(ctx context.Context, u *url.URL) (Info, error) {
	run, a, err := c.ask(ctx, commandQuestion{Op: "stat", URL: u.String()})
	if err != nil {
		return Info{}, err
	}
	if err := run.finish(); err != nil {
		return Info{}, err
	}
	if a.Length < 0 {
		return Info{}, fmt.Errorf("the command for %s:// tells of %d bytes", u.Scheme, a.Length)
	}
	return Info{Length: a.Length, Validator: a.Validator, Modified: a.Modified, ContentType: a.ContentType}, nil
}

func (c command) Open(ctx context.Context, u *url.URL, i Info, r layout.Range) (io.ReadCloser, error) {
	run, _, err := c.ask(ctx, commandQuestion{Op: "read", URL: u.String(), Validator: i.Validator, From: r.From, To: r.To})
	if err != nil {
		return nil, err
	}
	return run, nil
}

func (c command) List(ctx context.Context, u *url.URL) (items []Item, err error) {
	if !strings.HasSuffix(u.Path, "/") {
		return nil, nil
	}
	run, a, err := c.ask(ctx, commandQuestion{Op: "list", URL: u.String()})
	if err != nil {
		return nil, err
	}
	if err := run.finish(); err != nil {
		return nil, err
	}
	if len(a.URLs) > MaxItems {
		return nil, errMany()
	}
	for _, raw := range a.URLs {
		name, ok := strings.CutPrefix(raw, u.String())
		if !ok || name == "" {
			return nil, fmt.Errorf("the command for %s:// lists what is not below %s", u.Scheme, u)
		}
		if plain, err := url.PathUnescape(name); err == nil {
			name = plain
		}
		items = append(items, Item{URL: raw, Name: name})
	}
	return items, nil
}

// ask runs the command and reads the line that it answers with.
func (c command) ask(ctx context.Context, q commandQuestion) (*running, commandAnswer, error) {
	q.Protocol = 1
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false) // so that a shell can read it
	if err := enc.Encode(q); err != nil {
		return nil, commandAnswer{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &running{cmd: exec.CommandContext(ctx, c.argv[0], c.argv[1:]...), cancel: cancel}
	r.cmd.Stdin = &line
	r.cmd.Stderr = &r.said
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.Cancel = func() error { return syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) }
	r.cmd.WaitDelay = time.Second
	out, err := r.cmd.StdoutPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, commandAnswer{}, fmt.Errorf("the command for its scheme does not start: %w", err)
	}
	r.Reader = bufio.NewReaderSize(out, 64<<10)
	a, err := r.answer()
	if err != nil {
		cancel()
		if wait := r.cmd.Wait(); wait != nil && r.said.last != "" {
			err = fmt.Errorf("%w: %s", err, r.said.last)
		}
		return nil, a, err
	}
	return r, a, nil
}

// running is a command that has begun to answer; it reads what follows.
type running struct {
	*bufio.Reader
	cmd    *exec.Cmd
	cancel context.CancelFunc
	said   lastLine
	ended  bool
}

func (r *running) answer() (a commandAnswer, err error) {
	var line []byte
	for more := true; more; {
		var some []byte
		some, err = r.ReadSlice('\n')
		line = append(line, some...)
		more = errors.Is(err, bufio.ErrBufferFull) && len(line) <= maxAnswer
	}
	if err != nil {
		return a, errors.New("the command for its scheme gives no answer")
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, errors.New("the command for its scheme does not answer with a line of JSON")
	}
	switch a.Error {
	case "":
		return a, nil
	case "not_found":
		return a, notFound("%s", orElse(a.Message, "it is not there"))
	case "denied":
		return a, forbidden("", "%s", orElse(a.Message, "access was denied"))
	case "changed":
		return a, ErrChanged
	}
	return a, &Error{Status: http.StatusBadGateway, Text: orElse(a.Message, "the command for its scheme failed")}
}

// Read implements io.Reader. A command that fails behind its bytes is heard too.
func (r *running) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err == io.EOF && n == 0 && !r.ended {
		r.ended = true
		if wait := r.cmd.Wait(); wait != nil {
			return 0, fmt.Errorf("the command for its scheme failed: %w: %s", wait, r.said.last)
		}
	}
	return n, err
}

// finish lets the command come to its end.
func (r *running) finish() error {
	defer r.Close()
	_, err := io.Copy(io.Discard, r)
	return err
}

// Close ends the command, whatever it is doing.
func (r *running) Close() error {
	r.cancel()
	if !r.ended {
		r.ended = true
		r.cmd.Wait()
	}
	return nil
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// lastLine keeps the last line that was written to it, and not all of a long one.
type lastLine struct{ last string }

func (l *lastLine) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			l.last = line[:min(len(line), 200)]
		}
	}
	return len(b), nil
}
