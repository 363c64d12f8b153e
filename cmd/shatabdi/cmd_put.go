package main

import (
	"cmp"
	"context"
	"errors"
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

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
)

func putCommand() *cobra.Command {
	var p putting
	var output string
	cmd := &cobra.Command{
		Use:   "put FILE|-\n  shatabdi put -r DIR",
		Short: "Put a file or a directory into the cluster",
		Long: `Put a file into the cluster, where it needs no origin: this node has it first, and
every machine that downloads it also uploads it. It gets an address with the
digest of its bytes, for shatabdi get on any node, and a URL for any client of
any node's proxy. This node keeps it until it is unpinned. With --if-absent it is
an error, and nothing is sent, when the cluster has it already; of several that do
so at once, on whichever nodes, one succeeds.

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
	cmd.Flags().StringVar(&p.name, "name", "", "`NAME` in the address; by default that of the file")
	cmd.Flags().BoolVar(&p.unpinned, "unpinned", false, "let this node drop it when space is short, although no origin has it")
	cmd.Flags().BoolVar(&p.absent, "if-absent", false, "only if the cluster does not have it")
	cmd.Flags().BoolVarP(&p.recursive, "recursive", "r", false, "put a directory, as a dataset")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if p.absent && (p.recursive || args[0] == "-") {
			return usage("", "--if-absent is for a file")
		}
		if p.client, err = newClient(*admin); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		u, err := p.run(ctx, args[0], cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return printAs(cmd.OutOrStdout(), output, u, func(w io.Writer) { writeUpload(w, u) })
	}
	return cmd
}

// putting is one run of the command.
type putting struct {
	client                      *client
	name                        string
	unpinned, absent, recursive bool
}

func (p *putting) run(ctx context.Context, file string, told io.Writer) (u api.Upload, err error) {
	if p.recursive {
		return putTree(ctx, p.client, file, p.name, p.unpinned, told)
	}
	body, called, err := openInput(file)
	if err != nil {
		return u, err
	}
	defer body.Close()
	name := cmp.Or(p.name, called)
	if name == "" {
		return u, usage("say what it is with --name NAME", "standard input has no name")
	}
	query := url.Values{"unpinned": {strconv.FormatBool(p.unpinned)}}
	if p.absent {
		sum := digestOf(file)
		if sum == "" {
			return u, usage("", "--if-absent: %s is no regular file that can be read", file)
		}
		address := swarmcache.PutAddress(swarmcache.PutURL(sum, name))
		err = p.client.stream(ctx, http.MethodPut, "uploads/"+sum+"/"+url.PathEscape(name), query, http.Header{"If-None-Match": {"*"}}, body, &u)
		return u, explainAbsent(err, address)
	}
	query.Set("name", name)
	err = p.client.stream(ctx, http.MethodPost, "uploads", query, nil, body, &u)
	return u, err
}

// explainAbsent names what is there already.
func explainAbsent(err error, address string) error {
	if errors.As(err, new(isThere)) {
		return failure("`shatabdi info` shows what this node knows of it", "%s is in the cluster already", address)
	}
	return err
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
