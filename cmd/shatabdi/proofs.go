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
	p.mu.Lock()
	defer p.mu.Unlock()
	if !bytes.Equal(p.of, secret) {
		p.of, p.keys = bytes.Clone(secret), map[string]string{}
	}
	if known, ok := p.keys[node]; ok && known == key {
		return true
	}
	if !wire.Proves(key, secret, node) {
		return false
	}
	p.keys[strings.Clone(node)] = strings.Clone(key) // they may be part of a whole query
	return true
}
