// Command demo shows on one machine, without root, what Shatabdi does: three
// clients ask for the same large object in the same instant, and a slow origin
// sends it once.
//
// It exits with 1 if a byte is wrong or a promise is not kept.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"shatabdi/e2e/content"
)

const machines = 3

func main() {
	size := flag.String("size", "256MiB", "`bytes` of the object")
	rate := flag.String("rate", "32MiB", "`bytes` a second that the origin sends, and that each node uploads")
	binary := flag.String("binary", "", "`path` of shatabdi; built from this checkout by default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx, *binary, *size, *rate); err != nil {
		fmt.Fprintln(os.Stderr, "demo: error:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, binary, size, rate string) error {
	bytes, err := humanize.ParseBytes(size)
	if err != nil {
		return fmt.Errorf("-size %q: %w", size, err)
	}
	perSecond, err := humanize.ParseBytes(rate)
	if err != nil {
		return fmt.Errorf("-rate %q: %w", rate, err)
	}
	if _, err := exec.LookPath("wget"); err != nil {
		return errors.New("wget is not installed: apt-get install wget")
	}
	if binary == "" {
		if binary, err = build(ctx); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "shatabdi-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	object := content.Object{Seed: uint64(time.Now().UnixNano()), Size: int64(bytes)}
	digest := object.SHA256()
	o, err := startOrigin(int64(perSecond))
	if err != nil {
		return err
	}
	defer o.close()
	url := o.url(object)
	fmt.Printf("An origin that sends %s/s in all has an object of %s:\n  %s\n", rate, size, url)

	c, err := startCluster(ctx, binary, dir, machines, rate)
	defer c.close()
	if err != nil {
		return err
	}
	fmt.Printf("%d nodes are ready; each uploads at most %s/s.\n", machines, rate)

	s := &story{origin: o, cluster: c, url: url, size: object.Size, digest: digest}
	for _, act := range []struct {
		title  string
		shown  string // in the table
		client []string
	}{
		{"Three clients at once, each through its node:", "through Shatabdi", c.proxies()},
		{"One of them asks again:", "again", c.proxies()[:1]},
		{"The same three without Shatabdi:", "without", make([]string, machines)},
	} {
		fmt.Printf("\n%s\n", act.title)
		if err := s.play(ctx, act.shown, act.client); err != nil {
			return fmt.Errorf("%w\n%s", err, c.lastWords())
		}
	}
	fmt.Println()
	s.table(os.Stdout)
	return s.verdict()
}

// build makes bin/shatabdi of the checkout that the demo is run in.
func build(ctx context.Context) (string, error) {
	const path = "bin/shatabdi"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "./cmd/shatabdi")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build ./cmd/shatabdi (the demo runs in the checkout's directory): %w\n%s", err, out)
	}
	return path, nil
}
