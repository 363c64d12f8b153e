package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// story plays the acts and remembers how they went.
type story struct {
	origin  *origin
	cluster *cluster
	url     string
	size    int64
	digest  string
	acts    []act
}

type act struct {
	title  string
	took   []time.Duration // by client
	origin int64           // bytes that it sent
	peers  int64           // bytes that the nodes received from each other
}

func (a act) last() (d time.Duration) {
	for _, t := range a.took {
		d = max(d, t)
	}
	return d
}

// play runs one wget for each proxy ("": none) at once.
func (s *story) play(ctx context.Context, title string, proxies []string) error {
	sent := s.origin.Sent()
	peers, err := s.cluster.peerBytes()
	if err != nil {
		return err
	}
	downloads := make([]*download, len(proxies))
	errs := make([]error, len(proxies))
	var running sync.WaitGroup
	for i, proxy := range proxies {
		d := &download{}
		downloads[i] = d
		running.Go(func() { errs[i] = d.run(ctx, proxy, s.url, s.digest) })
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	watch(downloads, s.size, done)
	if err := errors.Join(errs...); err != nil {
		return err
	}

	a := act{title: title, origin: s.origin.Sent() - sent}
	now, err := s.cluster.peerBytes()
	if err != nil {
		return err
	}
	a.peers = now - peers
	for _, d := range downloads {
		a.took = append(a.took, d.took)
	}
	s.acts = append(s.acts, a)
	return nil
}

// download is one wget.
type download struct {
	got  atomic.Int64
	took time.Duration
}

func (d *download) run(ctx context.Context, proxy, url, digest string) error {
	cmd := exec.CommandContext(ctx, "wget", "-nv", "-O", "-", url)
	cmd.Env = withoutProxy()
	if proxy != "" {
		cmd.Env = append(cmd.Env, "http_proxy="+proxy)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	hash := sha256.New()
	_, err = io.CopyBuffer(io.MultiWriter(hash, counter{&d.got}), stdout, make([]byte, 256<<10))
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("wget: %w after %d bytes: %s", err, d.got.Load(), stderr.String())
	}
	d.took = time.Since(start)
	if got := hex.EncodeToString(hash.Sum(nil)); got != digest {
		return fmt.Errorf("wget got %d wrong bytes: SHA-256 %s, want %s", d.got.Load(), got, digest)
	}
	return nil
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) { c.n.Add(int64(len(p))); return len(p), nil }

// watch draws a bar for each download until done: in place on a terminal, else
// a line every two seconds.
func watch(ds []*download, size int64, done <-chan struct{}) {
	terminal, every := isTerminal(os.Stdout), 2*time.Second
	if terminal {
		every = 100 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for first := true; ; first = false {
		if terminal && !first {
			fmt.Printf("\x1b[%dA", len(ds))
		}
		draw(ds, size, terminal)
		select {
		case <-tick.C:
		case <-done:
			if terminal {
				fmt.Printf("\x1b[%dA", len(ds))
			}
			draw(ds, size, terminal)
			return
		}
	}
}

func draw(ds []*download, size int64, terminal bool) {
	const width = 40
	for i, d := range ds {
		got := d.got.Load()
		if !terminal {
			fmt.Printf("  client %d %3d %%", i+1, got*100/size)
			continue
		}
		full := int(got * width / size)
		fmt.Printf("  client %d [%s%s] %3d %%\n", i+1, strings.Repeat("#", full), strings.Repeat(".", width-full), got*100/size)
	}
	if !terminal {
		fmt.Println()
	}
}

func isTerminal(f *os.File) bool {
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}

func (s *story) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\t")
	for i := range machines {
		fmt.Fprintf(t, "client %d\t", i+1)
	}
	fmt.Fprintln(t, "origin sent\tpeers exchanged\t")
	for _, a := range s.acts {
		fmt.Fprintf(t, "%s\t", a.title)
		for i := range machines {
			if i < len(a.took) {
				fmt.Fprintf(t, "%.2f s\t", a.took[i].Seconds())
			} else {
				fmt.Fprint(t, "\t")
			}
		}
		fmt.Fprintf(t, "%.2f x\t%.2f x\t\n", s.times(a.origin), s.times(a.peers))
	}
	t.Flush()
	fmt.Fprintf(w, "\n1 x is the object, %d MiB. Every download was verified by its SHA-256.\n", s.size>>20)
}

func (s *story) times(bytes int64) float64 { return float64(bytes) / float64(s.size) }

// verdict is an error if a promise was not kept.
func (s *story) verdict() error {
	swarm, again, without := s.acts[0], s.acts[1], s.acts[2]
	var broken []error
	if x := s.times(swarm.origin); x > 1.05 {
		broken = append(broken, fmt.Errorf("the origin sent the object %.2f times to the swarm", x))
	}
	if x := s.times(swarm.peers); x < machines-1.5 {
		broken = append(broken, fmt.Errorf("the nodes sent each other only %.2f times the object", x))
	}
	if again.origin > 0 {
		broken = append(broken, fmt.Errorf("the origin sent %d bytes for a hit", again.origin))
	}
	if swarm.last() > without.last()*2/3 {
		broken = append(broken, fmt.Errorf("three clients took %v with Shatabdi and %v without", swarm.last(), without.last()))
	}
	return errors.Join(broken...)
}
