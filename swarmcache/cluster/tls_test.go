package cluster_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"shatabdi/swarmcache/cluster"
	"shatabdi/swarmcache/cluster/embedded"
)

// certificates writes a CA and a certificate for this machine that it signed.
func certificates(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		noErr(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return file
	}
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	noErr(t, err)
	root := template(1, "test CA")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &caKey.PublicKey, caKey)
	noErr(t, err)

	ownKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	noErr(t, err)
	own := template(2, "node")
	own.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	own.KeyUsage = x509.KeyUsageDigitalSignature
	own.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	ownDER, err := x509.CreateCertificate(rand.Reader, own, root, &ownKey.PublicKey, caKey)
	noErr(t, err)
	keyDER, err := x509.MarshalECPrivateKey(ownKey)
	noErr(t, err)
	return write("ca.pem", "CERTIFICATE", rootDER), write("cert.pem", "CERTIFICATE", ownDER), write("key.pem", "EC PRIVATE KEY", keyDER)
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca, cert, key := certificates(t)
	s, err := embedded.Start(embedded.Config{
		Dir: t.TempDir(), ListenClient: "https://127.0.0.1:0",
		ClientTLS: embedded.TLS{CA: ca, Cert: cert, Key: key},
	})
	noErr(t, err)
	t.Cleanup(s.Stop)
	with := join(t, cluster.Config{Endpoints: s.Endpoints(), CA: ca, Cert: cert, Key: key, Self: node(1)})
	noErr(t, with.Publish(t.Context(), version("k", `"1"`)))
	without := run(t, cluster.Config{Endpoints: s.Endpoints(), CA: ca, Self: node(2)})
	answersUnavailable(t, without, 500*time.Millisecond)
	select {
	case <-without.FirstContact():
		t.Fatal("let in without a certificate")
	case <-time.After(500 * time.Millisecond):
	}
}
