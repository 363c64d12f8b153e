package main

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/index"
	"shatabdi/swarmcache/layout"
	"shatabdi/swarmcache/swarm"
)

// stockCommand makes a node that holds much, to measure what that costs.
func stockCommand() *cobra.Command {
	var s stock
	cmd := &cobra.Command{
		Use:    "stock",
		Short:  "Fill a data directory with objects of zeros, to measure what they cost",
		Hidden: true,
		Long: `Fill a data directory with objects of zeros, whole and sealed, in sparse files.
Object i is what URL/i.iso selects. The directory hears of those from 0 on that
--told counts when a node starts with this data.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&s.dir, "data-dir", "", "`DIR` of a node that does not run")
	cmd.Flags().IntVar(&s.objects, "objects", 10_000, "how many")
	cmd.Flags().Int64Var(&s.size, "size", 64<<20, "`BYTES` of each")
	cmd.Flags().StringVar(&s.url, "url", "http://origin.test", "`URL` that they are under")
	cmd.Flags().StringVar(&s.tag, "etag", "0", "entity `TAG` of each, as the origin has it, which is asked about what the directory hears of late")
	cmd.Flags().IntVar(&s.told, "told", 1, "how many the directory is to know")
	cmd.MarkFlagRequired("data-dir")
	cmd.RunE = func(*cobra.Command, []string) (err error) {
		dir, err := openDataDir(s.dir)
		if err != nil {
			return err
		}
		defer dir.Close()
		x, err := index.Open(index.Options{Dir: filepath.Join(s.dir, "index")})
		if err != nil {
			return explainIndex(err, s.dir)
		}
		defer func() { err = errors.Join(err, x.Close()) }()
		return s.fill(x)
	}
	return cmd
}

type stock struct {
	dir, url, tag string
	objects, told int
	size          int64
}

func (s stock) fill(x *index.Index) error {
	l := layout.Layout{Length: s.size, PieceLen: layout.PieceLenFor(s.size)}
	var hashes []byte
	for i := range l.Pieces() {
		sum := sha1.Sum(make([]byte, l.Piece(i).Len()))
		hashes = append(hashes, sum[:]...)
	}
	var g errgroup.Group
	g.SetLimit(64) // the catalogue flushes what comes together in one go
	for i := range s.objects {
		g.Go(func() error { return s.put(x, i, hashes) })
	}
	return g.Wait()
}

func (s stock) put(x *index.Index, i int, hashes []byte) error {
	u, err := url.Parse(fmt.Sprintf("%s/%d.iso", s.url, i))
	if err != nil {
		return err
	}
	now, tag := time.Now(), strconv.Quote(s.tag)
	v := swarmcache.Version{
		Key: policy.KeyOf(u, policy.KeyRule{}), URL: u.String(), Validator: tag, Length: s.size, PieceLen: layout.PieceLenFor(s.size),
		Stored: policy.Stored{Status: http.StatusOK, RequestTime: now, ResponseTime: now, Header: http.Header{
			"Etag": {tag}, "Date": {now.UTC().Format(http.TimeFormat)}, "Cache-Control": {"public, max-age=31536000"},
			"Content-Length": {strconv.FormatInt(s.size, 10)},
		}},
	}
	v.Identify()
	v.InfoHash = swarm.SealedInfoHash(v, hashes)
	path := filepath.Join(s.dir, "objects", string(v.ID[:2]), string(v.ID))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return errors.Join(
		os.Truncate(path, s.size),
		x.Put(swarmcache.Record{Version: v, Complete: true, Hashes: hashes, Untold: i < s.told, Added: now.Unix(), LastUsed: now.Unix()}),
		x.SetCurrent(v.Key, v.ID))
}
