package main

import (
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
	"shatabdi/swarmcache/swarm"
)

// rawCommand measures what the swarm alone carries, without HTTP, directory and
// catalogue: the measure of what those may cost.
func rawCommand() *cobra.Command {
	var r rawRun
	cmd := &cobra.Command{
		Use:    "raw",
		Short:  "Measure the swarm alone: one seeder, some leechers, nothing else",
		Hidden: true,
		Long: `Measure the swarm alone: one seeder and some leechers of a sealed torrent on
loopback, all in this process. Prints as JSON the seconds from the first
connection until the last leecher has, and has verified, every byte.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().IntVar(&r.leechers, "leechers", 1, "how many")
	cmd.Flags().Int64Var(&r.size, "size", 1<<30, "`BYTES` of the object")
	cmd.Flags().StringVar(&r.dir, "data-dir", "", "`DIR` for the files; a tmpfs, or the disk is measured too")
	cmd.MarkFlagRequired("data-dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r.log = newLogger(cmd.ErrOrStderr(), Log{Level: "warn", Format: "text"})
		ctx, stop := untilSignal(context.Background(), r.log, func() {}, func() { os.Exit(exitFailure) })
		defer stop()
		took, err := r.run(ctx)
		if err != nil {
			return err
		}
		return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]float64{"seconds": took.Seconds()})
	}
	return cmd
}

type rawRun struct {
	dir      string
	size     int64 // bytes
	leechers int
	log      *slog.Logger
}

// rawNode is a swarm with one file in it.
type rawNode struct {
	swarm   *swarm.Swarm
	file    *swarmcache.File
	torrent swarmcache.Torrent
}

func (r rawRun) run(ctx context.Context) (took time.Duration, err error) {
	v := swarmcache.Version{ID: "raw", URL: "http://raw.test/raw.bin", Length: r.size, PieceLen: layout.PieceLenFor(r.size)}
	hashes, err := writeBody(r.path(0), v.Layout())
	if err != nil {
		return 0, err
	}
	var nodes []rawNode
	var addrs []netip.AddrPort
	for i := range r.leechers + 1 {
		n, err := r.start(i, v, &swarmcache.Record{Complete: i == 0, Hashes: hashes})
		if err != nil {
			return 0, err
		}
		defer n.swarm.Close()
		nodes = append(nodes, n)
		addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(n.swarm.Port())))
	}
	began := time.Now()
	for i, n := range nodes[1:] {
		n.torrent.Want(layout.Range{From: 0, To: int64(v.Layout().Pieces())})
		n.torrent.AddPeers(addrs[:i+1]) // each pair meets once
	}
	for _, n := range nodes[1:] {
		select {
		case <-n.file.Completed():
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return time.Since(began), nil
}

func (r rawRun) path(i int) string { return filepath.Join(r.dir, strconv.Itoa(i)) }

// start brings one node up; 0 is the seeder.
func (r rawRun) start(i int, v swarmcache.Version, rec *swarmcache.Record) (n rawNode, err error) {
	n.swarm, err = swarm.New(swarm.Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Node: swarmcache.NodeID(strconv.Itoa(i)),
		Secret: func() []byte { return nil }, Tracker: func() string { return "" }, Logger: r.log,
	})
	if err != nil {
		return n, err
	}
	if n.file, err = swarmcache.OpenFile(r.path(i), v, rec); err == nil {
		n.torrent, err = n.swarm.Sealed(n.file)
	}
	if err != nil {
		n.swarm.Close()
	}
	return n, err
}

// writeBody writes random bytes and returns the hashes of their pieces.
func writeBody(path string, l layout.Layout) (hashes []byte, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	random := rand.NewChaCha8([32]byte{})
	for i := range l.Pieces() {
		sum := sha1.New()
		if _, err := io.CopyN(io.MultiWriter(f, sum), random, l.Piece(i).Len()); err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
		hashes = sum.Sum(hashes)
	}
	return hashes, nil
}
