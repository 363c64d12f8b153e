// Command origin is a test origin; see package testorigin for what it can be
// ordered to do.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/dustin/go-humanize"

	"shatabdi/e2e/testorigin"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to serve on")
	limit := flag.String("rate", "0", "`bytes` a second for all responses together; 0: no limit")
	flag.Parse()
	if err := serve(*listen, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "origin: error:", err)
		os.Exit(1)
	}
}

func serve(listen, limit string) error {
	bytesPerSecond, err := humanize.ParseBytes(limit)
	if err != nil {
		return fmt.Errorf("-rate %q: %w", limit, err)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Printf("origin: http://%s/size=64MiB/file.bin\n", l.Addr())
	return http.Serve(l, testorigin.New(int64(bytesPerSecond)))
}
