package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// Proof is the Key by which an announce proves to be node's: only who knows the
// cluster's secret can tell it.
func Proof(secret []byte, node string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("announce\x00" + node))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// Proves reports whether key is that proof.
func Proves(key string, secret []byte, node string) bool {
	return hmac.Equal([]byte(key), []byte(Proof(secret, node)))
}
