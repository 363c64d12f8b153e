package wire

import "testing"

func TestProof(t *testing.T) {
	secret, other := []byte("secret"), []byte("another")
	key := Proof(secret, "n1")
	if !Proves(key, secret, "n1") {
		t.Error("a node's own proof was refused")
	}
	if len(key) > maxText || key == Proof(other, "n1") || key == Proof(secret, "n2") {
		t.Errorf("%q", key)
	}
	for _, wrong := range []string{"", key[1:], key + "0", Proof(other, "n1"), Proof(secret, "n2")} {
		if Proves(wrong, secret, "n1") {
			t.Errorf("%q proves n1", wrong)
		}
	}
}

func BenchmarkProves(b *testing.B) {
	secret := make([]byte, 32)
	key := Proof(secret, "01234567890123456789012345")
	b.ReportAllocs()
	for b.Loop() {
		Proves(key, secret, "01234567890123456789012345")
	}
}
