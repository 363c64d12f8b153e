package main

import (
	"bytes"
	"strings"
	"sync"

	"shatabdi/tracker/wire"
)

// proofs tells the tracker whether an announce comes from the node that it names.
// To find out costs half of what the announce does, so what was found is kept; of
// who proves nothing, nothing is.
type proofs struct {
	secret func() []byte // the cluster's, of now

	mu   sync.Mutex // guards the fields below
	of   []byte     // the secret that the keys were made with
	keys map[string]string
}

func (p *proofs) hold(node, key string) bool {
	secret := p.secret()
	if p.known(secret, node, key) {
		return true
	}
	if !wire.Proves(key, secret, node) { // without the lock: those who prove nothing hold up nobody
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !bytes.Equal(p.of, secret) {
		p.of, p.keys = bytes.Clone(secret), map[string]string{}
	}
	p.keys[strings.Clone(node)] = strings.Clone(key) // they may be part of a whole query
	return true
}

func (p *proofs) known(secret []byte, node, key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.keys[node]
	return ok && known == key && bytes.Equal(p.of, secret)
}
