package main

import (
	"bytes"
	"fmt"
	"net"
)

// parrot answers whatever comes with the same, in as many bytes as a tracker does:
// what the network alone costs.
func parrot(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	body := fmt.Sprintf("d8:completei0e10:downloadedi0e10:incompletei1000e8:intervali120e5:peers%d:%se", *numWant*6, make([]byte, *numWant*6))
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go repeat(c, answer)
	}
}

func repeat(c net.Conn, answer []byte) {
	defer c.Close()
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}
}
