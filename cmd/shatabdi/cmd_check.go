package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/index"
)

func checkCommand() *cobra.Command {
	var output, forget string
	var deep, repair bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Compare the files of a data directory with its catalogue",
		Long: `Compare the object files of a data directory with its catalogue, while no daemon
uses it. The exit code is 1 when something is wrong, and was not repaired.

The volumes of the directory are checked with it. What is recorded of one that is
missing is left alone: mount it, or, if it is gone for good, forget it.

A stray file after a crash is no damage: a file is made before its record, and
the next start removes it.`,
		Example: `  shatabdi check --data-dir /var/lib/shatabdi --deep
  shatabdi check --data-dir /var/lib/shatabdi --repair
  shatabdi check --data-dir /var/lib/shatabdi --forget-volume /mnt/broken`,
		Args: cobra.NoArgs,
	}
	f := bind(cmd, "data_dir")
	cmd.Flags().BoolVar(&deep, "deep", false, "read every object that is complete and compare it with its hashes")
	cmd.Flags().BoolVar(&repair, "repair", false, "forget what is lost or damaged, and remove what belongs to nothing")
	cmd.Flags().StringVar(&forget, "forget-volume", "", "before anything else, forget the volume in this `DIR`, or of this id, with the objects there")
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load(f, os.Environ())
		if err != nil {
			return err
		}
		found, err := checkDataDir(l.DataDir, forget, deep, repair)
		if err != nil {
			return err
		}
		if err := printAs(cmd.OutOrStdout(), output, found, func(w io.Writer) { writeChecked(w, found) }); err != nil {
			return err
		}
		return stillWrong(found, l.DataDir, repair)
	}
	return cmd
}

// stillWrong is an error if there is anything that was not repaired.
func stillWrong(found swarmcache.Checked, path string, repair bool) error {
	n, hint := 0, "run it again with --repair to set right what can be"
	for _, f := range found.Findings {
		if f.Repaired == "" {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	if repair {
		hint = "mount the volumes that are missing, or give them up with --forget-volume"
	}
	return failure(hint, "findings in %s: %d", path, n)
}

// checkDataDir checks a directory that a daemon has made and does not hold.
func checkDataDir(path, forget string, deep, repair bool) (all swarmcache.Checked, err error) {
	if _, err := os.Stat(filepath.Join(path, "VERSION")); errors.Is(err, fs.ErrNotExist) {
		return all, failure("name the directory that the daemon has as --data-dir", "%s is no data directory: it has no VERSION", path)
	}
	dir, err := openDataDir(path)
	if err != nil {
		return all, err
	}
	defer dir.Close()
	x, err := index.Open(index.Options{Dir: filepath.Join(path, "index")})
	if err != nil {
		return all, explainIndex(err, path)
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	if forget != "" {
		if _, err := swarmcache.ForgetVolume(x, forget); err != nil {
			return all, failure("name one by its directory or id, as the log of a start or this check tells it", "%v", err)
		}
	}
	volumes, err := swarmcache.KnownVolumes(x, path)
	if err != nil {
		return all, err
	}
	entries, err := x.Audit(repair)
	if err != nil {
		return all, err
	}
	all, err = swarmcache.Check(swarmcache.CheckConfig{Dir: filepath.Join(path, "objects"), Volumes: volumes, Index: x, Deep: deep, Repair: repair})
	all.Findings = append(entries, all.Findings...)
	return all, err
}

func writeChecked(w io.Writer, c swarmcache.Checked) {
	size := func(n int64) string { return humanize.IBytes(uint64(n)) }
	rows := [][]string{
		{"objects", fmt.Sprintf("%d, %d of them complete", c.Objects, c.Complete)},
		{"bytes", fmt.Sprintf("%s, %s of disk", size(c.Bytes), size(c.Allocated))},
		{"read", size(c.Hashed)},
		{"findings", fmt.Sprint(len(c.Findings))},
	}
	if c.Away > 0 {
		rows = append(rows, []string{"not seen", fmt.Sprintf("%d %s, on volumes that are missing", c.Away, plural(c.Away, "object"))})
	}
	writeTable(w, rows)
	for _, f := range c.Findings {
		fmt.Fprintf(w, "%s", f.What)
		for _, part := range []string{string(f.Object[:min(12, len(f.Object))]), f.File} {
			if part != "" {
				fmt.Fprintf(w, " %s", part)
			}
		}
		for _, part := range []string{f.Detail, f.Repaired} {
			if part != "" {
				fmt.Fprintf(w, ": %s", part)
			}
		}
		fmt.Fprintln(w)
	}
}
