package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache/api"
)

func putCommand() *cobra.Command {
	var output, name string
	var unpinned, recursive bool
	cmd := &cobra.Command{
		Use:   "put FILE|-\n  shatabdi put -r DIR",
		Short: "Put a file or a directory into the cluster",
		Long: `Put a file into the cluster, where it needs no origin: this node has it first, and
every machine that downloads it also uploads it. It gets an address with the
digest of its bytes, for shatabdi get on any node, and a URL for any client of
any node's proxy. This node keeps it until it is unpinned.

With -r a directory becomes a dataset: each file an object of its own, by its
content, and a manifest whose address stands for all of it, for get -r and warm.
What this node has already is not sent again, so that another version costs what
has changed, and an interrupted put goes on. Modes, empty directories and links
inside the directory are kept; links that lead out are refused.`,
		Example: `  shatabdi put model.bin
  tar c dataset | shatabdi put - --name dataset.tar
  shatabdi put -r models/`,
		Args: cobra.ExactArgs(1),
	}
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&name, "name", "", "`NAME` in the address; by default that of the file")
	cmd.Flags().BoolVar(&unpinned, "unpinned", false, "let this node drop it when space is short, although no origin has it")
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "put a directory, as a dataset")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(*admin)
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		var u api.Upload
		if recursive {
			if u, err = putTree(ctx, c, args[0], name, unpinned, cmd.ErrOrStderr()); err != nil {
				return err
			}
			return printAs(cmd.OutOrStdout(), output, u, func(w io.Writer) { writeUpload(w, u) })
		}
		body, called, err := openInput(args[0])
		if err != nil {
			return err
		}
		defer body.Close()
		if name == "" {
			name = called
		}
		if name == "" {
			return usage("say what it is with --name NAME", "standard input has no name")
		}
		query := url.Values{"name": {name}, "unpinned": {strconv.FormatBool(unpinned)}}
		if err := c.stream(ctx, http.MethodPost, "uploads", query, body, &u); err != nil {
			return err
		}
		return printAs(cmd.OutOrStdout(), output, u, func(w io.Writer) { writeUpload(w, u) })
	}
	return cmd
}

// openInput opens a file to read, or standard input for "-".
func openInput(name string) (f *os.File, called string, err error) {
	if name == "-" {
		return os.Stdin, "", nil
	}
	f, err = os.Open(name)
	if err != nil {
		return nil, "", err
	}
	if st, err := f.Stat(); err != nil || st.IsDir() {
		f.Close()
		return nil, "", usage("`shatabdi put -r DIR` puts a directory", "%s is a directory", name)
	}
	return f, filepath.Base(name), nil
}

func writeUpload(w io.Writer, u api.Upload) {
	writeTable(w, [][]string{
		{"address", u.Address},
		{"url", u.URL},
		{"size", fmt.Sprintf("%s (%d bytes)", size(u.Length), u.Length)},
		{"sha256", u.SHA256},
		{"infohash", orDash(u.InfoHash)},
	})
	if !u.Published {
		io.WriteString(w, "The directory is away: other nodes will find it later.\n")
	}
}
