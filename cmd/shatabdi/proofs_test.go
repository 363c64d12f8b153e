package main

import (
	"sync"
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

// Announces of before and after a new secret, of those who prove it and those who
// do not, come all at once.
func TestProofsAreCheckedTogether(t *testing.T) {
	for range 50 {
		p := &proofs{}
		var mu sync.Mutex
		turn := 0
		secrets := [][]byte{[]byte("one"), []byte("two")}
		p.secret = func() []byte {
			mu.Lock()
			defer mu.Unlock()
			turn++
			return secrets[turn%2]
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if p.hold("n1", "guess") || p.hold("n1", wire.Proof([]byte("three"), "n1")) {
					t.Error("somebody passed without a proof")
				}
				one, two := wire.Proof(secrets[0], "n1"), wire.Proof(secrets[1], "n1")
				p.hold("n1", one)
				p.hold("n1", two)
			})
		}
		wg.Wait()
		p.secret = func() []byte { return secrets[0] }
		if !p.hold("n1", wire.Proof(secrets[0], "n1")) || p.hold("n1", wire.Proof(secrets[1], "n1")) {
			t.Error("what counts is not the secret of now")
		}
	}
}
