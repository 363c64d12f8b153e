package policy

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestMatchPath(t *testing.T) {
	for _, tc := range []struct {
		pattern, path string
		want          bool
	}{
		{"/a", "/a", true}, {"/a", "/a/", false}, {"/a", "/A", false},
		{"/*", "/a", true}, {"/*", "/", true}, {"/*", "/a/b", false},
		{"/a/*.iso", "/a/b.iso", true}, {"/a/*.iso", "/a/b/c.iso", false},
		{"/a?c", "/abc", true}, {"/a?c", "/a/c", false},
		{"/**", "/", true}, {"/**", "/a/b/c", true},
		{"**.iso", "/a/b.iso", true}, {"/a**z", "/a/b/z", true},
		{"/**/x", "/x", true}, {"/**/x", "/a/x", true}, {"/**/x", "/a/b/x", true}, {"/**/x", "/ax", false},
		{"/a/**/b", "/a/b", true}, {"/a/**/b", "/a/c/d/b", true}, {"/a/**/b", "/ab", false},
		{"/**/*.iso", "/b.iso", true}, {"/**/dist/*", "/a/dist/b/dist/c", true}, {"/**/dist/*", "/a/dist/b/c", false},
		{"/*/*/b", "/x/y/b", true}, {"/*a*b", "/xaxbxb", true}, {"/*a*b", "/xaxb/b", false},
		{"", "", true}, {"*", "", true}, {"**", "", true},
	} {
		if got := matchPath(tc.pattern, tc.path); got != tc.want {
			t.Errorf("%q on %q: got %v", tc.pattern, tc.path, got)
		}
	}
}

// naiveMatch tries everything.
func naiveMatch(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case strings.HasPrefix(p, "**"):
		for i := 0; i <= len(s); i++ {
			if naiveMatch(p[2:], s[i:]) {
				return true
			}
		}
		return false
	case p[0] == '*':
		for i := 0; i <= len(s); i++ {
			if naiveMatch(p[1:], s[i:]) {
				return true
			}
			if i < len(s) && s[i] == '/' {
				return false
			}
		}
		return false
	}
	return s != "" && (p[0] == s[0] || p[0] == '?' && s[0] != '/') && naiveMatch(p[1:], s[1:])
}

func TestMatchPathFindsWhatTryingEverythingFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Without "**/", which means more than its characters; the table has it.
		pattern := rapid.StringMatching(`(/|a|b|\?|\*|\*\*a|\*\*b)*`).Draw(t, "pattern")
		pattern = strings.ReplaceAll(pattern, "**/", "**a")
		path := rapid.StringMatching(`[/ab]{0,12}`).Draw(t, "path")
		if got, want := matchPath(pattern, path), naiveMatch(pattern, path); got != want {
			t.Fatalf("%q on %q: got %v, want %v", pattern, path, got, want)
		}
	})
}

func TestMatchPathDoubleStarSlashIsAnySegments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.StringMatching(`(/[ab*]{0,2}){0,2}/`).Draw(t, "before")
		after := rapid.StringMatching(`[ab*]{0,3}`).Draw(t, "after")
		before, after = strings.ReplaceAll(before, "**", "*"), strings.ReplaceAll(after, "**", "*")
		path := rapid.StringMatching(`(/[ab]{0,2}){0,5}`).Draw(t, "path")
		want := naiveMatch(before+after, path) || naiveMatch(before+"**/"+after, path)
		if got := matchPath(before+"**/"+after, path); got != want {
			t.Fatalf("%q on %q: got %v, want %v", before+"**/"+after, path, got, want)
		}
	})
}

func TestMatchPathDoesNotExplode(t *testing.T) {
	start := time.Now()
	pattern := "/" + strings.Repeat("*a", 20) + strings.Repeat("**a", 20) + "x"
	if matchPath(pattern, "/"+strings.Repeat("a", 8<<10)) {
		t.Error("matched")
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestMatchHost(t *testing.T) {
	for _, tc := range []struct {
		pattern, host, port string
		want                bool
	}{
		{"example.org", "example.org", "80", true}, {"Example.ORG", "example.org", "80", true},
		{"example.org", "example.org.", "80", true}, {"example.org", "www.example.org", "80", false},
		{"*.example.org", "www.example.org", "80", true}, {"*.example.org", "a.b.example.org", "80", true},
		{"*.example.org", "example.org", "80", false}, {"*.example.org", "xexample.org", "80", false},
		{"*", "anything", "80", true}, {"*:8080", "anything", "8080", true}, {"*:8080", "anything", "80", false},
		{"o.test:8080", "o.test", "8080", true}, {"o.test:8080", "o.test", "80", false},
		{"[::1]:80", "::1", "80", true}, {"[::1]", "::1", "80", true}, {"::1", "::1", "80", true}, {"[::1]:80", "::1", "81", false},
	} {
		if got := matchHost(tc.pattern, tc.host, tc.port); got != tc.want {
			t.Errorf("%q on %q %q: got %v", tc.pattern, tc.host, tc.port, got)
		}
	}
}

func TestMatchContentType(t *testing.T) {
	for _, tc := range []struct {
		pattern, contentType string
		want                 bool
	}{
		{"video/*", "video/mp4", true}, {"video/*", "Video/MP4; codecs=x", true}, {"text/html", "text/html;charset=utf-8", true},
		{"video/*", "audio/mp4", false}, {"video/*", "", false}, {"*/*", "", false}, {"*/*", "a/b", true},
	} {
		if got := matchContentType(tc.pattern, tc.contentType); got != tc.want {
			t.Errorf("%q on %q: got %v", tc.pattern, tc.contentType, got)
		}
	}
}
