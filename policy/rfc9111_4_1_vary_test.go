package policy

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// RFC 9111 §4.1, calculating cache keys with Vary.

func TestSelecting(t *testing.T) {
	req := header("Accept-Encoding", " gzip ,br", "Accept-Encoding", "zstd", "User-Agent", "a,b  c", "X-Empty", "")
	sel, ok := Selecting(req, []string{"accept-encoding, User-Agent", "X-Empty, X-Absent"})
	if !ok {
		t.Fatal("not ok")
	}
	for name, want := range map[string][]string{
		"Accept-Encoding": {"br, gzip, zstd"}, // white space, lines and the order of codings mean nothing
		"User-Agent":      {"a,b  c"},         // no list: as it is
		"X-Empty":         {""},               // present
		"X-Absent":        nil,
	} {
		if got := sel[name]; !slices.Equal(got, want) {
			t.Errorf("§4.1: %s: got %q, want %q", name, got, want)
		}
	}
	if sel, ok := Selecting(req, nil); sel != nil || !ok {
		t.Errorf("without Vary: %v %v", sel, ok)
	}
	for _, vary := range [][]string{{"*"}, {"*, *"}, {"*", "*"}, {", *"}, {"", "*"}, {"*, Foo"}, {"Foo, *"}, {"a b"}} {
		if _, ok := Selecting(req, vary); ok {
			t.Errorf("§4.1: Vary %q selects nothing", vary)
		}
		if std.SelectedBy(Stored{Header: map[string][]string{"Vary": vary}}, req) {
			t.Errorf("§4.1: Vary %q is selected", vary)
		}
	}
}

func TestSelectedBy(t *testing.T) {
	ae := func(s string) []string { return []string{"Accept-Encoding", s} }
	al := func(s string) []string { return []string{"Accept-Language", s} }
	ac := func(s string) []string { return []string{"Accept", s} }
	for _, tc := range []struct {
		clause     string
		vary       string
		then, now_ []string
		want       bool
	}{
		{"equal", "Accept", ac("a, b"), ac("a, b"), true},
		{"white space", "Accept", ac("a, b"), ac("a ,b"), true},
		{"empty members", "Accept", ac("a, b"), ac("a,,b,"), true},
		{"lines", "Accept", ac("a, b"), []string{"Accept", "a", "Accept", "b"}, true},
		{"lines of any field", "Foo", []string{"Foo", "1, 2"}, []string{"Foo", "1", "Foo", "2"}, true},
		{"white space in an unknown field may mean something", "Foo", []string{"Foo", "1,2"}, []string{"Foo", "1, 2"}, false},
		{"case in an unknown field too", "Foo", []string{"Foo", "a"}, []string{"Foo", "A"}, false},
		{"around it none", "Foo", []string{"Foo", "1"}, []string{"Foo", " 1\t"}, true},
		{"case of types", "Accept", ac("text/HTML"), ac("Text/html"), true},
		{"case of languages", "Accept-Language", al("EN-us"), al("en-US"), true},
		{"case of codings", "Accept-Encoding", ae("GZIP"), ae("gzip"), true},
		{"order of codings", "Accept-Encoding", ae("gzip, deflate, br"), ae("br, gzip, deflate"), true},
		{"order of charsets", "Accept-Charset", []string{"Accept-Charset", "a, b"}, []string{"Accept-Charset", "b, a"}, true},
		{"order of equal types: servers rank by it", "Accept", ac("a, b"), ac("b, a"), false},
		{"order of equal languages: servers rank by it", "Accept-Language", al("en, de"), al("de, en"), false},
		{"order of languages whose weights rank", "Accept-Language", al("de;q=0.5, en"), al("en, de;q=0.5"), true},
		{"order of types whose weights rank", "Accept", ac("*/*;q=0.1, a/b"), ac("a/b,*/*;q=0.1"), true},
		{"spelling of weights", "Accept-Language", al("en;q=0.5"), al("en ; Q=0.500"), true},
		{"spelling of weights: 1 need not be said", "Accept-Language", al("en;q=1.000, de"), al("en, de;q=1"), true},
		{"other weights", "Accept-Encoding", ae("gzip;q=0.5"), ae("gzip;q=0.6"), false},
		{"no weight is not 0", "Accept-Encoding", ae("gzip;q=0"), ae("gzip"), false},
		{"no coding at all is not identity", "Accept-Encoding", ae(""), ae("identity"), false},
		{"an invalid weight is left alone", "Accept-Encoding", ae("gzip;q=2, br"), ae("br, gzip;q=2"), false},
		{"an invalid weight equals itself", "Accept-Encoding", ae("gzip;q=2, br"), ae("gzip;q=2, br"), true},
		{"an invalid weight is left alone", "Accept-Encoding", ae("gzip;q=0.x, br"), ae("br, gzip;q=0.x"), false},
		{"types with parameters are ranked too", "Accept", ac("c;q=0.5, A/b;x=1"), ac("a/B;x=1, c;q=0.5"), true},
		{"parameters of codings are not understood", "Accept-Encoding", ae("gzip;x=1, br"), ae("br, gzip;x=1"), false},
		{"parameters of types", "Accept", ac("a/b;x=1"), ac("a/b;x=2"), false},
		{"parameters of types: case may matter", "Accept", ac("a/b;x=Y"), ac("a/b;x=y"), false},
		{"what follows the weight is not understood", "Accept", ac("a;q=0.5;e=1, b"), ac("b, a;q=0.5;e=1"), false},
		{"quoted strings are left alone", "Accept", ac(`a;x="1,2"`), ac(`a;x="1, 2"`), false},
		{"absent then and now", "Accept", nil, nil, true},
		{"absent then", "Accept", nil, ac("a"), false},
		{"absent now", "Accept", ac("a"), nil, false},
		{"absent is not empty", "Accept", nil, ac(""), false},
		{"one of two differs", "Accept, X-A", []string{"Accept", "a", "X-A", "1"}, []string{"Accept", "a", "X-A", "2"}, false},
		{"three agree, one of them absent", "Foo, Bar, Baz", []string{"Foo", "1", "Baz", "3"}, []string{"Baz", "3", "Foo", "1"}, true},
		{"fields that Vary does not name", "Accept", []string{"X-A", "1"}, []string{"X-A", "2"}, true},
		{"names in any case, twice", "aCCept, Accept", ac("a"), ac("a"), true},
	} {
		s := stored("Vary", tc.vary)
		s.Selecting, _ = Selecting(header(tc.then...), s.Header["Vary"])
		if got := std.SelectedBy(s, header(tc.now_...)); got != tc.want {
			t.Errorf("§4.1: %s: got %v", tc.clause, got)
		}
	}
}

// What an older version of us stored was normalised less.
func TestSelectedByWhatIsStoredAsReceived(t *testing.T) {
	s := stored("Vary", "Accept-Encoding")
	s.Selecting = header("Accept-Encoding", "gzip, deflate, br")
	if !std.SelectedBy(s, header("Accept-Encoding", "gzip, deflate, br")) {
		t.Error("not selected by the very same value")
	}
}

func TestSelectTheMostRecent(t *testing.T) {
	variant := func(date time.Duration, fields ...string) Stored {
		s := stored("Date", at(date), "Vary", "Accept, Accept-Language")
		s.Selecting, _ = Selecting(header(fields...), s.Header["Vary"])
		return s
	}
	plain := func(date time.Duration) Stored { return stored("Date", at(date)) }
	late := variant(0, "Accept", "a")
	late.ResponseTime = t0.Add(time.Second)
	for _, tc := range []struct {
		clause string
		stored []Stored
		req    []string
		want   int
	}{
		{"nothing", nil, nil, -1},
		{"none matches", []Stored{variant(0, "Accept", "b")}, []string{"Accept", "a"}, -1},
		{"one matches", []Stored{variant(0, "Accept", "b"), variant(0, "Accept", "a"), variant(0)}, []string{"Accept", "a"}, 1},
		{"§4: the most recent by Date", []Stored{variant(-3, "Accept", "a"), variant(0, "Accept", "a"), variant(-time.Hour, "Accept", "a")}, []string{"Accept", "a"}, 1},
		{"§4: of one Date the last to arrive", []Stored{variant(0, "Accept", "a"), late}, []string{"Accept", "a"}, 1},
		{"§4.1: one with Vary before one without", []Stored{plain(0), variant(-time.Hour, "Accept", "a")}, []string{"Accept", "a"}, 1},
		{"§4.1: one without before none", []Stored{plain(0), variant(0, "Accept", "a")}, []string{"Accept", "b"}, 0},
		{"§4.1: the latest without", []Stored{plain(-time.Hour), plain(0)}, nil, 1},
		{"§4.1: Vary *", []Stored{stored("Vary", "*")}, nil, -1},
	} {
		if got := std.Select(header(tc.req...), tc.stored); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.clause, got, tc.want)
		}
	}
}

func TestManyVariants(t *testing.T) {
	var all []Stored
	for i := range 100 {
		s := stored("Vary", "Accept-Language")
		s.Selecting, _ = Selecting(header("Accept-Language", fmt.Sprintf("x%d, en;q=0.1", i)), s.Header["Vary"])
		all = append(all, s)
	}
	for i := range all {
		if got := std.Select(header("Accept-Language", fmt.Sprintf("en;q=0.100,X%d", i)), all); got != i {
			t.Fatalf("variant %d: got %d", i, got)
		}
	}
}

func TestIgnoredVarySelectsEverything(t *testing.T) {
	c := &Caching{Ignore: IgnoreVary}
	s := minute("Vary", "*, Accept")
	if !c.SelectedBy(s, header("Accept", "a")) {
		t.Error("not selected")
	}
	if sel, ok := c.Selecting(header("Accept", "a"), s.Header["Vary"]); sel != nil || !ok {
		t.Errorf("selecting %v %v", sel, ok)
	}
}

func TestNormalFormsAreNormal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"Accept", "Accept-Encoding", "Accept-Language", "Accept-Charset", "Foo"}).Draw(t, "name")
		member := rapid.SampledFrom([]string{"gzip", "BR", "*", "a/b;x=Y", "de-AT", "x;q=0.5", "y ; q=0.3", "z;q=1.0", "w;q=7", "", " ", `"`, ";", "q=1"})
		line := ""
		for i, m := range rapid.SliceOfN(member, 0, 6).Draw(t, "members") {
			if i > 0 {
				line += rapid.SampledFrom([]string{",", ", ", " ,"}).Draw(t, "comma")
			}
			line += m
		}
		once := string(appendSelecting(nil, name, []string{line}))
		if twice := string(appendSelecting(nil, name, []string{once})); twice != once {
			t.Fatalf("%s: %q becomes %q, and that %q", name, line, once, twice)
		}
		s := stored("Vary", name)
		s.Selecting, _ = Selecting(header(name, line), s.Header["Vary"])
		if !std.SelectedBy(s, header(name, line)) {
			t.Fatalf("%s: %q does not select what it selected", name, line)
		}
	})
}

func TestSameVariant(t *testing.T) {
	variant := func(vary, language string) *Stored {
		s := &Stored{Header: http.Header{}}
		if vary != "" {
			s.Header["Vary"] = []string{vary}
			s.Selecting = http.Header{"Accept-Language": {language}}
		}
		return s
	}
	for _, tt := range []struct {
		name string
		a, b *Stored
		same bool
	}{
		{"none varies", variant("", ""), variant("", ""), true},
		{"one varies", variant("", ""), variant("Accept-Language", "de"), false},
		{"the same value", variant("Accept-Language", "de"), variant("accept-language", "DE;q=1"), true},
		{"another value", variant("Accept-Language", "de"), variant("Accept-Language", "fr"), false},
		{"another field too", variant("Accept-Language", "de"), variant("Accept-Language, Origin", "de"), false},
		{"on everything", variant("*", "de"), variant("*", "de"), false},
	} {
		if SameVariant(tt.a, tt.b) != tt.same || SameVariant(tt.b, tt.a) != tt.same {
			t.Errorf("%s: want %v", tt.name, tt.same)
		}
	}
}
