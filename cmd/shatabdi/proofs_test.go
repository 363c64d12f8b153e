package main

import (
	"testing"

	"shatabdi/tracker/wire"
)

func TestProofsAreOfTheSecretOfNow(t *testing.T) {
	secret := []byte("one")
	p := &proofs{secret: func() []byte { return secret }}
	one := wire.Proof(secret, "n1")
	for range 2 {
		if !p.hold("n1", one) {
			t.Error("a proof was refused")
		}
		if p.hold("n2", one) || p.hold("n1", "") || p.hold("n3", "guess") {
			t.Error("somebody passed without a proof")
		}
	}
	if len(p.keys) != 1 {
		t.Errorf("%d keys are kept", len(p.keys))
	}
	secret = []byte("two")
	if p.hold("n1", one) || !p.hold("n1", wire.Proof(secret, "n1")) {
		t.Error("what counts is the secret of before")
	}
}
