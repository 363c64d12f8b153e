// Command badpeer is a member of a fill that nobody should trust. It stands in
// the directory like a node, so that the others dial it, says that it has every
// piece, and then sends wrong bytes, or none. It knows of Shatabdi what a stock
// BitTorrent client with access to etcd would know (BEP 3).
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// What stands in etcd; see package swarmcache/cluster.
const (
	prefix = "/shatabdi/v1/"
	fills  = prefix + "fills/"
	self   = "badpeer"
	lease  = 60 // seconds
)

func main() {
	etcd := flag.String("etcd", "", "the directory's `URLS`, with commas")
	listen := flag.String("listen", "", "`ADDR` to listen on, and where others reach it")
	corrupt := flag.Bool("corrupt", false, "answer requests with wrong bytes; without it, never")
	flag.Parse()
	err := run(strings.Split(*etcd, ","), *listen, *corrupt)
	fmt.Fprintln(os.Stderr, "badpeer: error:", err)
	os.Exit(1)
}

// peer is the liar.
type peer struct {
	corrupt bool
	pieces  atomic.Int64 // of the last fill that was opened
	asked   sync.Once
}

// run serves until it cannot.
func run(etcd []string, listen string, corrupt bool) error {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	p := &peer{corrupt: corrupt}
	go p.join(etcd, listen)
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go p.serve(conn)
	}
}

// join takes part in every fill.
func (p *peer) join(etcd []string, addr string) {
	ctx := context.Background()
	client, err := clientv3.New(clientv3.Config{Endpoints: etcd})
	must(err)
	l, err := client.Grant(ctx, lease)
	must(err)
	alive, err := client.KeepAlive(ctx, l.ID)
	must(err)
	go func() {
		for range alive { // or it would block
		}
	}()
	node, err := json.Marshal(map[string]any{"id": self, "peers": []string{addr}})
	must(err)
	_, err = client.Put(ctx, prefix+"nodes/"+self, string(node), clientv3.WithLease(l.ID))
	must(err)
	for changes := range client.Watch(ctx, fills, clientv3.WithPrefix(), clientv3.WithCreatedNotify()) {
		if changes.Created {
			fmt.Println("joined") // before the next fill is opened
		}
		for _, e := range changes.Events {
			fill, isRecord := strings.CutSuffix(string(e.Kv.Key), "/record")
			var r struct {
				Version struct {
					Length   int64 `json:"length"`
					PieceLen int64 `json:"piece_len"`
				} `json:"version"`
			}
			if !isRecord || e.Type != clientv3.EventTypePut || json.Unmarshal(e.Kv.Value, &r) != nil {
				continue
			}
			p.pieces.Store((r.Version.Length + r.Version.PieceLen - 1) / r.Version.PieceLen)
			_, err := client.Put(ctx, fill+"/nodes/"+self, string(node), clientv3.WithLease(l.ID))
			must(err)
		}
	}
}

// Messages of BEP 3.
const (
	unchoke  = 1
	bitfield = 5
	request  = 6
	piece    = 7
)

// serve is one connection of somebody who dialed: the handshake that came goes
// back under another name, so no infohash need be known.
func (p *peer) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	var handshake [68]byte // length and "BitTorrent protocol", 8 reserved, infohash, peer id
	if _, err := io.ReadFull(in, handshake[:]); err != nil {
		return
	}
	clear(handshake[20:28]) // no extensions
	rand.Read(handshake[48:])
	conn.Write(handshake[:])
	all := make([]byte, (p.pieces.Load()+7)/8)
	for i := range p.pieces.Load() {
		all[i/8] |= 0x80 >> (i % 8)
	}
	send(conn, bitfield, all)
	send(conn, unchoke, nil)
	for {
		var size uint32
		if err := binary.Read(in, binary.BigEndian, &size); err != nil {
			return
		}
		message := make([]byte, min(size, 1<<20))
		if _, err := io.ReadFull(in, message); err != nil {
			return
		}
		if len(message) != 13 || message[0] != request {
			continue
		}
		p.asked.Do(func() { fmt.Println("asked") })
		if p.corrupt {
			answer := make([]byte, 8+binary.BigEndian.Uint32(message[9:]))
			rand.Read(answer)
			copy(answer, message[1:9]) // index and begin
			send(conn, piece, answer)
		}
	}
}

// send writes one message. An error shows when the connection is read.
func send(w io.Writer, id byte, payload []byte) {
	head := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)))
	w.Write(append(append(head, id), payload...))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "badpeer: error:", err)
		os.Exit(1)
	}
}
