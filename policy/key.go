package policy

import (
	"net/url"
	"path"
	"slices"
	"strings"
)

// KeyRule says which parts of the query do not select the object.
type KeyRule struct {
	// IgnoreQuery leaves the whole query out of the key: for presigned URLs of
	// objects that are public anyway.
	IgnoreQuery bool `yaml:"ignore_query"`
	// IgnoreParams leaves out these parameters; a name may end in "*".
	IgnoreParams []string `yaml:"ignore_params"`
	// OnlyParams leaves out all but these; a name may end in "*".
	OnlyParams []string `yaml:"only_params"`
	// SortParams: the order of the parameters does not select. Parameters of one
	// name keep theirs.
	SortParams bool `yaml:"sort_params"`
}

func (k KeyRule) isZero() bool {
	return !k.IgnoreQuery && !k.SortParams && len(k.IgnoreParams) == 0 && len(k.OnlyParams) == 0
}

// KeyOf returns the cache key of an absolute URL (RFC 9111 §2), of http or https,
// or of another scheme that has objects,
// normalised where RFC 3986 §6.2.2 and RFC 9110 §4.2.3 call two spellings
// equivalent and no origin tells them apart: case of scheme and host, default
// port, empty path, percent-encoding. Dot segments and the order of the query
// stay, because object stores do tell those apart. Fragment and userinfo go.
func KeyOf(u *url.URL, k KeyRule) Key {
	query, hasQuery := keyQuery(u, k)
	p := normalisePercent(u.EscapedPath())
	scheme := strings.ToLower(u.Scheme)
	host := hostPort(u, scheme)

	var b strings.Builder
	b.Grow(len(scheme) + len(host) + len(p) + len(query) + 5)
	b.WriteString(scheme)
	b.WriteString("://")
	b.WriteString(host)
	if !strings.HasPrefix(p, "/") {
		b.WriteByte('/')
	}
	b.WriteString(p)
	if hasQuery {
		b.WriteByte('?')
		b.WriteString(normalisePercent(query))
	}
	return Key(b.String())
}

// hostPort is the host in lower case, with the port where it is not the default.
func hostPort(u *url.URL, scheme string) string {
	host, port := lowerASCII(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || port == defaultPort(scheme) {
		return host
	}
	return host + ":" + port
}

// lowerASCII leaves letters beyond ASCII alone: what they fold to is IDNA's business.
func lowerASCII(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// keyQuery is the part of the query that selects. "/a?" is not "/a" (RFC 3986
// §6.2.3), unless leaving out parameters emptied it.
func keyQuery(u *url.URL, k KeyRule) (query string, present bool) {
	query = rawQuery(u)
	switch {
	case k.IgnoreQuery:
		return "", false
	case query == "":
		return "", u.ForceQuery
	case k.isZero():
		return query, true
	}
	var kept []string
	for rest := query; rest != ""; {
		var param string
		param, rest, _ = strings.Cut(rest, "&")
		if !k.ignores(paramName(param)) {
			kept = append(kept, param)
		}
	}
	if k.SortParams {
		slices.SortStableFunc(kept, func(a, b string) int { return strings.Compare(paramName(a), paramName(b)) })
	}
	query = strings.Join(kept, "&")
	return query, query != ""
}

// rawQuery is the query without what a careless client's "#" begins:
// url.ParseRequestURI, by which net/http reads request targets, leaves it in.
func rawQuery(u *url.URL) string {
	q, _, _ := strings.Cut(u.RawQuery, "#")
	return q
}

func (k KeyRule) ignores(name string) bool {
	return listsParam(k.IgnoreParams, name) || len(k.OnlyParams) > 0 && !listsParam(k.OnlyParams, name)
}

func listsParam(list []string, name string) bool {
	for _, p := range list {
		if prefix, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(name, prefix) || p == name {
			return true
		}
	}
	return false
}

// paramName is the decoded name of "name=value"; as it stands when it does not decode.
func paramName(param string) string {
	name, _, _ := strings.Cut(param, "=")
	if decoded, err := url.QueryUnescape(name); err == nil {
		return decoded
	}
	return name
}

// normalisePercent writes triplets in upper case and decodes unreserved
// characters (RFC 3986 §6.2.2.1, §6.2.2.2). A string with a "%" that begins no
// triplet is left alone: what origins make of it differs.
func normalisePercent(s string) string {
	first := strings.IndexByte(s, '%')
	if first < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	b = append(b, s[:first]...)
	for i := first; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
			return s
		}
		c := byte(unhex(s[i+1])<<4 | unhex(s[i+2]))
		if isUnreserved(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
		i += 2
	}
	return string(b)
}

const upperHex = "0123456789ABCDEF"

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// isUnreserved is RFC 3986 §2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// Signed reports whether a query carries a credential: presigned object-store
// and CDN URLs, access tokens. Such a URL is a capability, and what it opens is
// private unless somebody says otherwise. Names err on the side of private.
func Signed(query string) bool {
	for query != "" {
		param := query
		if i := strings.IndexAny(query, "&;"); i >= 0 { // ; separated once, and may still
			param, query = query[:i], query[i+1:]
		} else {
			query = ""
		}
		name := param
		if i := strings.IndexByte(param, '='); i >= 0 {
			name = param[:i]
		}
		if strings.IndexByte(name, '%') >= 0 {
			name = paramName(param)
		}
		if credentialParam(name) {
			return true
		}
	}
	return false
}

// credentialEndings covers X-Amz-Signature, X-Goog-Signature, X-Oss-Signature,
// q-signature, Signature, X-Amz-Security-Token, access_token, X-Amz-Credential, ...
var credentialEndings = [...]string{"signature", "token", "credential", "jwt", "secret", "password", "apikey", "api_key", "api-key"}

// credentialNames holds the short ones: Azure's sig, Akamai's hdnts and hdnea,
// nginx's secure_link md5, Cloudflare's verify.
var credentialNames = [...]string{"sig", "sign", "hmac", "auth", "authorization", "hdnts", "hdnea", "md5", "verify", "key-pair-id", "passwd", "__token__", "session", "sid"}

func credentialParam(name string) bool {
	for _, e := range credentialEndings {
		if n := len(name) - len(e); n >= 0 && strings.EqualFold(name[n:], e) {
			return true
		}
	}
	for _, n := range credentialNames {
		if strings.EqualFold(name, n) {
			return true
		}
	}
	return false
}

// largeExtensions are files that rarely are below the threshold.
var largeExtensions = map[string]bool{
	"iso": true, "img": true, "raw": true, "qcow2": true, "vmdk": true, "vdi": true, "vhd": true, "vhdx": true,
	"ova": true, "wim": true, "dmg": true, "squashfs": true, "snap": true,
	"tar": true, "tgz": true, "tbz2": true, "txz": true, "gz": true, "bz2": true, "xz": true, "zst": true,
	"zip": true, "7z": true, "rar": true,
	"bin": true, "exe": true, "msi": true, "pkg": true, "apk": true, "ipa": true,
	"gguf": true, "ggml": true, "safetensors": true, "onnx": true, "pt": true, "pth": true, "ckpt": true,
	"parquet": true, "arrow": true, "h5": true, "hdf5": true, "npz": true, "tfrecord": true,
	"mp4": true, "mkv": true, "mov": true, "webm": true, "avi": true,
}

// looksLarge guesses from the path whether the object is above the threshold,
// so that its first GET is worth a claim.
func looksLarge(p string) bool {
	ext := path.Ext(p)
	if len(ext) > 1 && largeExtensions[strings.ToLower(ext[1:])] {
		return true
	}
	return digestAddressed(p)
}

// digestAddressed reports whether p names a registry's blob or another file by
// its SHA-256: /v2/x/blobs/sha256:<hex>, /sha256/<hex>, /sha256/ab/<hex>.
func digestAddressed(p string) bool {
	i := strings.LastIndexByte(p, '/')
	dir, last := p[:max(i, 0)], p[i+1:]
	if hex, ok := strings.CutPrefix(last, "sha256:"); ok {
		return strings.HasSuffix(dir, "/blobs") && isSHA256(hex)
	}
	return isSHA256(last) && (strings.HasSuffix(dir, "/sha256") || strings.HasSuffix(path.Dir(dir), "/sha256"))
}

func isSHA256(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if unhex(s[i]) < 0 {
			return false
		}
	}
	return true
}
