//go:build !linux

package swarm

import "net"

// Elsewhere the kernel is not asked, and an upload limit is used as it was told.

func limitUnsent(*net.TCPConn) {}

func (k *socket) progress() (progress, bool) { return progress{}, false }
