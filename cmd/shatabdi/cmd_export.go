package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

func verifyCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "verify URL|ID",
		Short: "Read an object back and compare it with its hashes",
		Long: `Read an object that is complete on this node back from the disk, and compare it
with its hashes. A piece that is not what was stored is dropped, nobody gets it,
and it comes again; then the exit code is 1.`,
		Example: `  shatabdi verify http://example.com/large.iso`,
		Args:    cobra.ExactArgs(1),
	}
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		o, err := c.object(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		c.http.Timeout = 0 // a disk takes its time
		var v api.Verified
		if err := c.do(cmd.Context(), http.MethodPost, "objects/"+string(o.ID)+"/verify", nil, nil, &v); err != nil {
			return err
		}
		if err := printAs(cmd.OutOrStdout(), output, v, func(w io.Writer) {
			if v.Intact {
				fmt.Fprintf(w, "%s: %s as stored\n", o.URL, size(v.Length))
			}
		}); err != nil || v.Intact {
			return err
		}
		return failure("it comes again from peers, or from the origin when somebody asks", "%s: %s", o.URL, v.Reason)
	}
	return cmd
}

func exportCommand() *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use:   "export URL|ID FILE",
		Short: "Copy an object out of this node's cache into a file",
		Long: `Copy an object that is complete on this node into a file, each piece verified.
Nothing is fetched: what is not here is not had, with exit code 3, or 1 when a
part is. - is standard output.`,
		Example: `  shatabdi export http://example.com/large.iso /tmp/large.iso`,
		Args:    cobra.ExactArgs(2),
	}
	admin := adminFlag(cmd)
	cmd.Flags().BoolVar(&replace, "force", false, "replace a file that is there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		o, err := c.object(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if args[1] == "-" {
			return c.export(cmd.Context(), o, cmd.OutOrStdout())
		}
		return intoFile(args[1], replace, func(w io.Writer) error { return c.export(cmd.Context(), o, w) })
	}
	return cmd
}

// export writes the body of o, and is sure that it is that.
func (c *client) export(ctx context.Context, o api.ObjectDetail, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath(api.Prefix, "objects", string(o.ID), "content").String(), nil)
	if err != nil {
		return err
	}
	patient := http.Client{Transport: c.http.Transport}
	resp, err := patient.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/octet-stream" {
		return c.decode(resp, nil)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), resp.Body)
	switch got := hex.EncodeToString(sum.Sum(nil)); {
	case err != nil:
		return fmt.Errorf("%s: broken off after %d of %d bytes: %w", o.URL, n, o.Length, err)
	case n != o.Length:
		return fmt.Errorf("%s: %d bytes came, and it has %d", o.URL, n, o.Length)
	case o.SHA256 != "" && got != o.SHA256:
		return fmt.Errorf("%s: its SHA-256 is %s, not %s", o.URL, got, o.SHA256)
	}
	return nil
}

// intoFile has write fill a new file, which gets its name when it is whole; nothing
// is left of another.
func intoFile(name string, replace bool, write func(io.Writer) error) error {
	if _, err := os.Lstat(name); err == nil && !replace {
		return failure("remove it, or say --force to replace it", "%s is there already", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = errors.Join(write(f), f.Chmod(0o644))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if replace {
		return os.Rename(f.Name(), name)
	}
	if err := os.Link(f.Name(), name); err == nil || errors.Is(err, os.ErrExist) {
		return err
	}
	return os.Rename(f.Name(), name) // not every file system has links
}
