package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"shatabdi/swarmcache"
)

// A node that has too much to do says so, and when to come again (RFC 9110
// §15.6.4), instead of letting all wait for each other.

// comeAgain is when those may try again to whom 503 is said.
const comeAgain = 5 * time.Second

var errCrowded = busy("too many clients are connected; the operator can allow more with proxy.max_connections")

// busy is a refusal that is not the client's fault. RFC 9209 §2.3 has no word for
// a limit on those who ask; this is the one for those who are asked.
func busy(hint string) error {
	return refused(http.StatusServiceUnavailable, "connection_limit_reached", hint)
}

// tooBusy is err as the client is told it, if it means that this node transfers as
// much as it may; else nil.
func tooBusy(err error) error {
	if errors.Is(err, swarmcache.ErrBusy) {
		return busy("too many objects are being transferred; the operator can allow more with cache.max_transfers")
	}
	return nil
}

type crowdedKey struct{}

// noteCrowd marks what comes on a connection beyond the listener's limit. It is
// the http.Server's ConnContext.
func noteCrowd(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(interface{ Crowded() bool }); ok && c.Crowded() {
		return context.WithValue(ctx, crowdedKey{}, true)
	}
	return ctx
}

// crowded reports whether x came on such a connection, which ends with its answer.
func (x *exchange) crowded() bool { return x.r.Context().Value(crowdedKey{}) != nil }

// sayWhen adds to the head of an error what a client needs to come again.
func (x *exchange) sayWhen(h http.Header, status int) {
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", strconv.Itoa(int(comeAgain/time.Second)))
	}
	if x.crowded() {
		h.Set("Connection", "close")
	}
}
