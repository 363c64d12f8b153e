package policy

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestKey(t *testing.T) {
	drop := func(names ...string) KeyRule { return KeyRule{IgnoreParams: names} }
	for _, tc := range []struct {
		clause, in string
		rule       KeyRule
		want       Key
	}{
		{"RFC 3986 §6.2.2.1: case of scheme and host", "HTTP://Origin.TEST/A", KeyRule{}, "http://origin.test/A"},
		{"RFC 9110 §4.2.3: default port", "http://origin.test:80/", KeyRule{}, "http://origin.test/"},
		{"RFC 9110 §4.2.3: default port of https", "https://origin.test:443/", KeyRule{}, "https://origin.test/"},
		{"RFC 3986 §6.2.3: empty port", "http://origin.test:/", KeyRule{}, "http://origin.test/"},
		{"another port stays", "https://origin.test:80/", KeyRule{}, "https://origin.test:80/"},
		{"RFC 9110 §4.2.3: empty path", "http://origin.test", KeyRule{}, "http://origin.test/"},
		{"RFC 9110 §4.2.3: empty path with a query", "http://origin.test?a", KeyRule{}, "http://origin.test/?a"},
		{"RFC 3986 §6.2.2.1: case of triplets", "http://o.test/a%2fb%c3%a4", KeyRule{}, "http://o.test/a%2Fb%C3%A4"},
		{"RFC 3986 §6.2.2.2: unreserved characters", "http://o.test/%7Euser/%61%2D%2e%5f", KeyRule{}, "http://o.test/~user/a-._"},
		{"RFC 3986 §6.2.2.2: reserved ones stay", "http://o.test/a%3Bb;c%2B+", KeyRule{}, "http://o.test/a%3Bb;c%2B+"},
		{"raw bytes are those that would be sent", "http://o.test/ä", KeyRule{}, "http://o.test/%C3%A4"},
		{"dot segments stay", "http://o.test/a/../b/./c//d", KeyRule{}, "http://o.test/a/../b/./c//d"},
		{"the query keeps its order", "http://o.test/?b=2&a=1&b=1", KeyRule{}, "http://o.test/?b=2&a=1&b=1"},
		{"RFC 3986 §6.2.2: triplets in the query", "http://o.test/?a=%7e%2f", KeyRule{}, "http://o.test/?a=~%2F"},
		{"a query that does not decode stays as it is", "http://o.test/?a=%7e%zz%%37", KeyRule{}, "http://o.test/?a=%7e%zz%%37"},
		{"RFC 3986 §6.2.3: an empty query is one", "http://o.test/?", KeyRule{}, "http://o.test/?"},
		{"RFC 9110 §4.2.5: fragment", "http://o.test/?a#b", KeyRule{}, "http://o.test/?a"},
		{"RFC 9110 §4.2.4: userinfo", "http://me:pw@o.test/", KeyRule{}, "http://o.test/"},
		{"IPv6", "http://[2001:DB8::1]:80/", KeyRule{}, "http://[2001:db8::1]/"},
		{"IPv6 and port", "http://[::1]:81/", KeyRule{}, "http://[::1]:81/"},
		{"IDNA is left alone", "http://XN--4CA.test/", KeyRule{}, "http://xn--4ca.test/"},
		{"ignore_query", "http://o.test/a?b=1", KeyRule{IgnoreQuery: true}, "http://o.test/a"},
		{"ignore_query", "http://o.test/a?", KeyRule{IgnoreQuery: true}, "http://o.test/a"},
		{"ignore_params", "http://o.test/a?b=1&c=2&d=3", drop("c"), "http://o.test/a?b=1&d=3"},
		{"ignore_params: all", "http://o.test/a?b=1", drop("b"), "http://o.test/a"},
		{"ignore_params: repeated, without value, encoded", "http://o.test/a?b=1&b&%62=2&c", drop("b"), "http://o.test/a?c"},
		{"ignore_params: prefix", "http://o.test/a?utm_x=1&utm=2&b", drop("utm_*"), "http://o.test/a?utm=2&b"},
		{"ignore_params: names are case-sensitive", "http://o.test/a?B=1", drop("b"), "http://o.test/a?B=1"},
		{"ignore_params: not the value", "http://o.test/a?c=b", drop("b"), "http://o.test/a?c=b"},
		{"only_params", "http://o.test/a?b=1&c=2&d=3&vx", KeyRule{OnlyParams: []string{"c", "v*"}}, "http://o.test/a?c=2&vx"},
		{"only_params: none of them", "http://o.test/a?b=1", KeyRule{OnlyParams: []string{"c"}}, "http://o.test/a"},
		{"only_params less ignore_params", "http://o.test/a?b1=1&b2=2", KeyRule{OnlyParams: []string{"b*"}, IgnoreParams: []string{"b2"}}, "http://o.test/a?b1=1"},
		{"sort_params", "http://o.test/a?c&b=2&a=3&b=1", KeyRule{SortParams: true}, "http://o.test/a?a=3&b=2&b=1&c"},
		{"sort_params: by the decoded name", "http://o.test/a?%62=1&a", KeyRule{SortParams: true}, "http://o.test/a?a&b=1"},
		{"sort_params: an empty query is one", "http://o.test/a?", KeyRule{SortParams: true}, "http://o.test/a?"},
	} {
		if got := KeyOf(mustURL(t, tc.in), tc.rule); got != tc.want {
			t.Errorf("%s: %q: got %q, want %q", tc.clause, tc.in, got, tc.want)
		}
	}
}

// net/http reads request targets by ParseRequestURI, which knows no fragments.
func TestKeyDropsFragmentOfRequestTarget(t *testing.T) {
	u, err := url.ParseRequestURI("http://o.test/a?b#c")
	if err != nil {
		t.Fatal(err)
	}
	if got := KeyOf(u, KeyRule{}); got != "http://o.test/a?b" {
		t.Errorf("got %q", got)
	}
}

// anyURL draws URLs with everything that normalisation may trip over.
func anyURL(t *rapid.T) *url.URL {
	host := rapid.SampledFrom([]string{"o.test", "O.TEST:80", "o.test:443", "[::1]", "[::1]:8080", "1.2.3.4", "o.test:", "ä.test"}).Draw(t, "host")
	scheme := rapid.SampledFrom([]string{"http", "https", "HTTP"}).Draw(t, "scheme")
	char := rapid.OneOf(
		rapid.StringOfN(rapid.SampledFrom([]rune("aZ0-._~/;:@!$&'()*+,=?ä \"[]|")), 1, 1, -1),
		rapid.SampledFrom([]string{"%41", "%7e", "%2f", "%2F", "%25", "%C3%a4", "%23", "%3f"}),
		rapid.SampledFrom([]string{"%", "%4", "%zz"}), // a query may hold them
	)
	rest := rapid.SliceOf(char).Filter(func(chars []string) bool {
		_, err := url.Parse(scheme + "://" + host + "/" + strings.Join(chars, ""))
		return err == nil
	}).Draw(t, "rest")
	u, _ := url.Parse(scheme + "://" + host + "/" + strings.Join(rest, ""))
	return u
}

func TestKeyNormalisationIsIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := anyURL(t)
		k := KeyOf(u, KeyRule{})
		again, err := url.Parse(string(k))
		if err != nil {
			t.Fatalf("%q: key %q does not parse: %v", u, k, err)
		}
		if kk := KeyOf(again, KeyRule{}); kk != k {
			t.Fatalf("%q: key %q, its key %q", u, k, kk)
		}
	})
}

func TestKeyNeverMergesWhatDecodesDifferently(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyURL(t), anyURL(t)
		if KeyOf(a, KeyRule{}) == KeyOf(b, KeyRule{}) && (a.Path != b.Path || a.Query().Encode() != b.Query().Encode()) {
			t.Fatalf("%q and %q share the key %q", a, b, KeyOf(a, KeyRule{}))
		}
	})
}

func TestSigned(t *testing.T) {
	for query, want := range map[string]bool{
		"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=f00": true,
		"X-Amz-Security-Token=x":                               true,
		"X-Goog-Signature=x":                                   true,
		"AWSAccessKeyId=x&Signature=y&Expires=1":               true,
		"sv=2020&sig=x":                                        true,
		"access_token=x":                                       true,
		"a=1;sig=2":                                            true,
		"%73ig=x":                                              true,
		"hdnts=exp=1~hmac=2":                                   true,
		"":                                                     false,
		"v=1&design=blue":                                      false,
		"q=signature":                                          false,
		"sigma=1":                                              false,
	} {
		if got := Signed(query); got != want {
			t.Errorf("%q: got %v", query, got)
		}
	}
}

func TestLooksLarge(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	for p, want := range map[string]bool{
		"/debian.iso": true, "/a/MODEL.Safetensors": true, "/x.tar.zst": true,
		"/v2/lib/blobs/sha256:" + hex: true, "/sha256/" + hex: true, "/sha256/0a/" + hex: true,
		"/v2/lib/manifests/sha256:" + hex: false, "/v2/lib/blobs/sha256:" + hex[1:]: false, "/" + hex: false,
		"/": false, "": false, "/index.html": false, "/iso": false, "/.iso/x": false, "/x.": false,
	} {
		if got := looksLarge(p); got != want {
			t.Errorf("%q: got %v", p, got)
		}
	}
}

func FuzzKey(f *testing.F) {
	for _, s := range []string{"http://o.test/a%2fb?c=%7e#d", "HTTP://U:P@[::1]:80?%%34%31", "http://ä.test/%zz", "http://o.test/?a&b&%61"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.ParseRequestURI(s)
		if err != nil || !isWeb(fetchURL(u)) {
			return
		}
		k := KeyOf(u, KeyRule{})
		again, err := url.ParseRequestURI(string(k))
		if err != nil {
			t.Fatalf("%q: key %q does not parse: %v", s, k, err)
		}
		if kk := KeyOf(again, KeyRule{}); kk != k {
			t.Fatalf("%q: key %q, its key %q", s, k, kk)
		}
		if fetched := KeyOf(fetchURL(u), KeyRule{}); fetched != k {
			t.Fatalf("%q: key %q, but what is fetched has %q", s, k, fetched)
		}
	})
}
