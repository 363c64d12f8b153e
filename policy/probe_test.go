package policy

import "testing"

// A rule's `auth: probe` lifts what `public` does, where the origin can be asked about
// a version, and guards what is stored.
func TestAuthProbeStores(t *testing.T) {
	for _, tt := range []struct {
		what   string
		status int
		fields []string
		want   string
	}{
		{"with a strong entity tag", 200, []string{"Etag", `"1"`, "Cache-Control", "max-age=60"}, ""},
		{"with a strong date", 200, []string{"Last-Modified", at(-3600e9), "Cache-Control", "max-age=60"}, ""},
		{"with a weak one", 200, []string{"Etag", `W/"1"`, "Cache-Control", "max-age=60"}, NotProbed},
		{"with none", 200, []string{"Cache-Control", "max-age=60"}, NotProbed},
		{"an error", 404, []string{"Etag", `"1"`, "Cache-Control", "max-age=60"}, NotProbed},
		{"private all the same", 200, []string{"Etag", `"1"`, "Cache-Control", "private"}, NotPrivate},
		{"not to be stored", 200, []string{"Etag", `"1"`, "Cache-Control", "no-store"}, NotNoStore},
		{"varying on the credentials", 200, []string{"Etag", `"1"`, "Vary", "Authorization"}, NotVaryCredentials},
	} {
		rules := &Rules{Rules: []Rule{{Auth: Probe}}}
		req := getURL(t, "http://o/a")
		req.Header = header("Authorization", "me")
		rt := rules.Route(req)
		rt.Store.AnyStatus = true
		s := stored(tt.fields...)
		s.Status = tt.status
		if _, got := rt.Cache.Storable(req, s, rt.Store); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
	if s := stored(); ForOutsiders(Stored{Status: 200, Header: s.Header, Guarded: true}) || !ForOutsiders(s) {
		t.Error("what is guarded is for nodes only")
	}
}
