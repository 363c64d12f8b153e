package origin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// Kind says what went wrong between us and an origin. Its values are the error
// types of Proxy-Status (RFC 9209 §2.3) where there is one.
type Kind string

const (
	KindDNS           Kind = "dns_error"
	KindDNSTimeout    Kind = "dns_timeout"
	KindRefused       Kind = "connection_refused"
	KindUnroutable    Kind = "destination_ip_unroutable"
	KindUnavailable   Kind = "destination_unavailable" // could not connect, for another reason
	KindDenied        Kind = "destination_ip_prohibited"
	KindDialTimeout   Kind = "connection_timeout"
	KindTerminated    Kind = "connection_terminated" // closed before the response header ended
	KindHeaderTimeout Kind = "http_response_timeout"
	KindHeaderSize    Kind = "http_response_header_section_size"
	KindIncomplete    Kind = "http_response_incomplete"
	KindStalled       Kind = "connection_read_timeout" // in mid-body
	KindCoding        Kind = "http_response_transfer_coding"
	KindProtocol      Kind = "http_protocol_error"
	KindTLS           Kind = "tls_protocol_error"
	KindCertificate   Kind = "tls_certificate_error"
	KindAlert         Kind = "tls_alert_received"
	KindLoop          Kind = "proxy_loop_detected"
	KindScheme        Kind = "http_request_error" // nothing we can fetch
	KindCanceled      Kind = "canceled"           // by our side, when the client went away
)

// Error is a failed exchange with an origin.
type Error struct {
	Kind Kind
	Host string
	Err  error
}

func (e *Error) Error() string {
	if e.Host == "" {
		return string(e.Kind) + ": " + e.Err.Error()
	}
	return e.Host + ": " + string(e.Kind) + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the Kind of an error of a Client, or of reading a body it gave.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return kindOf(err)
}

func (c *Client) failed(host string, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Kind: e.Kind, Host: host, Err: e.Err}
	}
	return &Error{Kind: kindOf(err), Host: host, Err: err}
}

// dialKind tells apart what can happen before a connection stands.
func dialKind(err error) Kind {
	var (
		own *Error
		dns *net.DNSError
	)
	switch {
	case errors.As(err, &own):
		return own.Kind
	case errors.Is(err, context.Canceled):
		return KindCanceled
	case errors.As(err, &dns) && dns.IsTimeout:
		return KindDNSTimeout
	case errors.As(err, &dns):
		return KindDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return KindRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return KindUnroutable
	case isTimeout(err):
		return KindDialTimeout
	}
	return KindUnavailable
}

// kindOf tells apart what can happen on a connection. net/http has no types for
// some of its errors, hence the words; they stand in its transport.go.
func kindOf(err error) Kind {
	var (
		cert    *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		text    = err.Error()
	)
	switch {
	case errors.Is(err, context.Canceled):
		return KindCanceled
	case errors.As(err, &cert), errors.As(err, &unknown):
		return KindCertificate
	case errors.As(err, &alert):
		return KindAlert
	case errors.As(err, &record), strings.Contains(text, "tls: "), strings.Contains(text, "gave HTTP response to HTTPS client"):
		return KindTLS
	case strings.Contains(text, "TLS handshake timeout"):
		return KindDialTimeout
	case strings.Contains(text, "server response headers exceeded"):
		return KindHeaderSize
	case isTimeout(err):
		return KindHeaderTimeout
	case strings.Contains(text, "unsupported transfer encoding"):
		return KindCoding
	case strings.Contains(text, "malformed"), strings.Contains(text, "bad Content-Length"):
		return KindProtocol
	case errors.Is(err, io.ErrUnexpectedEOF):
		return KindIncomplete
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		strings.Contains(text, "server closed"), strings.Contains(text, "connection broken"):
		return KindTerminated
	}
	return KindProtocol
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout() || errors.Is(err, context.DeadlineExceeded)
}
