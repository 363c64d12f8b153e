// Package conformance asks a running shared HTTP cache, of any make, what RFC
// 9110, RFC 9111 and their companions ask of it: requests and answers as data,
// played against a scripted origin through one proxy or several in turn. It
// knows nothing of what is in the proxy: it sees what a client and an origin see.
package conformance

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Scenario is requests for one URL, one after the other, and what must come of
// each.
type Scenario struct {
	Name  string // the clause, and the rule in words
	Steps []Step
	// May: HTTP allows it and does not ask for it; a cache is better for it.
	May bool
	// Small means nothing where only large responses are kept: those are 200s.
	Small bool
	// Alone means nothing where each request goes to another node: it is about what
	// one client sees behind one cache.
	Alone bool
}

// Step is a request, what the origin answers should it be asked, and what must
// come of it.
type Step struct {
	Wait time.Duration // before
	// Ask is the method, "GET" if empty, what is appended to the URL, then fields, a
	// line each, and after an empty line the content: in chunks where a field says so,
	// with the trailers of lines "@trailer NAME: VALUE". "@raw" sends the content as it is,
	// "@no Host" no Host. What begins with http:// takes
	// the place of the URL, with {port} and {id} of what it was.
	Ask string
	// Answer is the origin's: a status, fields, and after an empty line the body;
	// without one it says which step it is of. {now-60} is a date. Lines with an @
	// are stage directions, see origin.go.
	Answer string
	Want   Want
	Status int      // of the answer; 0: the origin's, or 200 where that said 304
	Body   string   // of the answer; "": by Want
	Has    []string // of the answer: "Name: value", "Name" is there, "!Name" is not, "Name ~ part"
	Saw    []string // of the request that the origin got, in the same notation
	Many   int      // that many clients ask at once, and the origin is asked once
	Cut    bool     // the answer must break off as the origin's did
	Behind bool     // the origin is asked behind the client's back
	Soon   bool     // what other nodes know takes a moment to get here: until then it is asked again
}

// Want is where an answer must come from.
type Want int

const (
	Any       Want = iota
	Origin         // the origin is asked, and this is its answer
	Stored         // the origin is not asked, and it is what was stored last
	Validated      // the origin is asked whether what is stored stands, and says so
	Refused        // the origin is not asked, and 504 says that nothing is stored
	Rejected       // the origin is not asked: the request is refused as malformed, or has no answer
	Broken         // rejected, or the origin has got no whole request
)

func (w Want) String() string {
	return [...]string{"any", "the origin's", "stored", "validated", "504", "rejected", "broken"}[w]
}

// Outcome is what came of a scenario: nil where all was as it must be.
type Outcome struct {
	Scenario *Scenario
	Err      error
}

// mostAgain is how often a scenario is played again where the computer is late, and
// lateTimer how late a timer of such a one is: what a node gives a second is many steps,
// each of them as late.
const (
	mostAgain = 10
	lateTimer = 50 * time.Millisecond
)

// parallel is how many scenarios run at once: most of their time they wait.
const parallel = 12

// Run plays scenarios through proxies (host:port), each request through the next,
// in parallel, and returns what came of them in their order.
func Run(proxies []string, scenarios []Scenario) ([]Outcome, error) {
	o, err := newOrigin()
	if err != nil {
		return nil, err
	}
	defer o.close()
	out := make([]Outcome, len(scenarios))
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i := range scenarios {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			err := play(o, proxies, fmt.Sprintf("s%d", i), &scenarios[i])
			out[i] = Outcome{&scenarios[i], err}
		})
	}
	wg.Wait()
	for i := range out {
		// Where a computer has other work a cache may lose patience, and go to the
		// origin. Alone it has time, and else this computer's timers say that it had not:
		// the cache is not asked, which may be slow because it is wrong.
		late := true
		for n := 0; n < mostAgain && late && out[i].Err != nil && out[i].Lacks(); n++ {
			lateness := measure()
			out[i].Err = play(o, proxies, fmt.Sprintf("again%d-%d", i, n), &scenarios[i])
			late = lateness() >= lateTimer
		}
	}
	return out, nil
}

// Lacks reports whether a scenario that failed shows something that HTTP allows and
// does not ask for: that the origin was not spared.
func (o *Outcome) Lacks() bool { return o.Scenario.May || errors.Is(o.Err, errLack) }

var errLack = errors.New("the origin was asked")

// play plays one scenario under its own path of the origin.
func play(o *origin, proxies []string, id string, s *Scenario) error {
	stage := o.stage(id)
	last := ""
	for i := range s.Steps {
		st := &s.Steps[i]
		time.Sleep(st.Wait)
		for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			asked, err := st.play(stage, proxies[i%len(proxies)], i, &last)
			if err == nil {
				break
			}
			other := len(proxies) > 1 || i > 0 && s.Steps[i-1].Behind // somebody else learns it first
			if !st.Soon || !other || time.Since(begun) > patience {
				return fmt.Errorf("request %d: %w%s", i+1, err, asked)
			}
		}
	}
	return nil
}

// play asks, and compares. last is the body that was the origin's last.
func (st *Step) play(stage *stage, proxy string, i int, last *string) (saw string, err error) {
	script := stage.next(i, st.Answer)
	n := max(1, st.Many)
	answers, errs := make([]*answer, n), make([]error, n)
	var wg sync.WaitGroup
	for k := range n {
		wg.Go(func() { answers[k], errs[k] = ask(proxy, stage, st.Ask) })
	}
	wg.Wait()
	for begun := time.Now(); st.Behind && !stage.asked() && time.Since(begun) < behindAfter; {
		time.Sleep(10 * time.Millisecond)
	}
	requests := stage.took()
	saw = "; the origin saw " + describe(requests)
	for k, a := range answers {
		if errs[k] != nil {
			if (st.Want == Rejected || st.Want == Broken) && len(requests) == 0 {
				continue
			}
			return saw, errs[k]
		}
		if err := st.judge(a, requests, script, *last, n); err != nil {
			return fmt.Sprintf("; got %d %q %v%s", a.status, a.body, a.header, saw), err
		}
	}
	if st.Want == Origin && answers[0].status == 200 && script.status == 200 && !strings.HasPrefix(st.Ask, "HEAD") {
		*last = answers[0].body
	}
	return "", nil
}

func (st *Step) judge(a *answer, requests []request, script *script, last string, clients int) error {
	status, body := st.Status, st.Body
	switch st.Want {
	case Origin:
		if len(requests) == 0 {
			return fmt.Errorf("the origin was not asked")
		}
		if status == 0 {
			status = script.status
		}
		if body == "" && !st.Cut && status == script.status {
			body = script.body
		}
	case Stored:
		if len(requests) > 0 {
			return errLack
		}
		if body == "" && (status == 0 || status == 200) {
			body = last
		}
	case Validated:
		switch {
		case len(requests) == 0:
			return fmt.Errorf("the origin was not asked")
		case !requests[0].conditional():
			return fmt.Errorf("%w without a condition", errLack)
		}
		if body == "" && (status == 0 || status == 200) {
			body = last
		}
	case Refused:
		if len(requests) > 0 {
			return fmt.Errorf("the origin was asked")
		}
		status = 504
	case Rejected, Broken:
		switch {
		case len(requests) > 0:
			return fmt.Errorf("the origin was asked")
		case a.status/100 != 4 && a.status/100 != 5, a.status == 502 && st.Want == Rejected:
			return fmt.Errorf("status %d", a.status)
		}
		return nil
	}
	if strings.HasPrefix(st.Ask, "HEAD") || status == 304 || status == 204 {
		body = ""
		if a.body != "" {
			return fmt.Errorf("there is a body")
		}
	}
	if status == 0 {
		status = 200
	}
	switch {
	case st.Want == Any && st.Status == 0:
	case a.status != status:
		return fmt.Errorf("status %d, want %d", a.status, status)
	case body != "" && a.body != body:
		return fmt.Errorf("another body than %q", body)
	}
	if st.Many > 1 && len(requests) != 1 {
		return fmt.Errorf("%w %d times for %d clients", errLack, len(requests), clients)
	}
	if a.cut != st.Cut {
		return fmt.Errorf("broken off: %v, want %v", a.cut, st.Cut)
	}
	for _, want := range st.Has {
		if !a.header.meets(want) {
			return fmt.Errorf("the answer's header is not so: %s", want)
		}
	}
	for _, want := range st.Saw {
		if len(requests) == 0 || !requests[0].header.meets(want) {
			return fmt.Errorf("the request's header is not so: %s", want)
		}
	}
	return nil
}

func describe(requests []request) string {
	if len(requests) == 0 {
		return "nothing"
	}
	var l []string
	for _, r := range requests {
		l = append(l, fmt.Sprint(r.method, " ", r.header))
	}
	return strings.Join(l, ", ")
}

// These bound what a proxy costs that hangs, or never asks.
const (
	behindAfter = 5 * time.Second
	dialTimeout = 5 * time.Second
	patience    = time.Minute
)

func dial(addr string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, dialTimeout)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(patience))
}
