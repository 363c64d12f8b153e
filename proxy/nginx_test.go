package proxy

import (
	"testing"
	"time"

	"shatabdi/policy"
)

// texts reads configured values, as the configuration file does.
func texts[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](t *testing.T, words ...string) (values []T) {
	t.Helper()
	for _, w := range words {
		var v T
		if err := P(&v).UnmarshalText([]byte(w)); err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	return values
}

// nginx's directives, by nginx's names, through the proxy.
func TestNginxDirectives(t *testing.T) {
	yes, no := true, false
	cached := act{want: "200 one MISS", saw: "GET"}
	bare := []change{silent("Cache-Control"), silent("Etag")}
	perform(t, []play{
		{name: "none configured: no lifetime, no validator, not stored", first: bare, acts: []act{
			{want: "200 one MISS", says: "detail=not-reusable", saw: "GET"},
		}},
		{name: "cache_valid", rule: policy.Rule{CacheValid: texts[policy.Validity](t, "200 10m")}, first: bare, acts: []act{
			cached,
			{after: 599 * time.Second, want: "200 one HIT", says: "ttl=1"},
			{after: time.Second, want: "200 one EXPIRED", says: "fwd=stale", saw: "GET"},
		}},
		{name: "cache_valid yields to the response", rule: policy.Rule{CacheValid: texts[policy.Validity](t, "any 10m")}, acts: []act{
			cached,
			{after: 60 * time.Second, want: "200 one REVALIDATED", saw: "GET If-None-Match"},
		}},
		{name: "ignore_headers: Cache-Control", rule: policy.Rule{CacheValid: texts[policy.Validity](t, "10m"), IgnoreHeaders: texts[policy.Ignored](t, "Cache-Control")},
			first: []change{says("Cache-Control", "private, no-store")}, acts: []act{
				cached,
				{after: 599 * time.Second, want: "200 one HIT", says: "Cache-Control: private, no-store"},
			}},
		{name: "ignore_headers: Set-Cookie", rule: policy.Rule{IgnoreHeaders: texts[policy.Ignored](t, "Set-Cookie")}, first: []change{says("Set-Cookie", "a=b")}, acts: []act{
			{want: "200 one MISS", says: "Set-Cookie: a=b", saw: "GET"},
			{want: "200 one HIT", says: "Set-Cookie: "},
		}},
		{name: "ignore_headers: Vary", rule: policy.Rule{IgnoreHeaders: texts[policy.Ignored](t, "Vary")}, first: []change{says("Vary", "Accept-Language")}, acts: []act{
			cached,
			{ask: "GET /x\nAccept-Language: de", want: "200 one HIT"},
		}},
		{name: "cache_bypass", rule: policy.Rule{CacheBypass: texts[policy.Predicate](t, "$arg_fresh", "$cookie_nocache")}, alone: true, acts: []act{
			cached,
			{ask: "GET /x\nCookie: nocache=1", want: "200 one BYPASS", says: "fwd=bypass; fwd-status=200", saw: "GET Cookie"},
			{want: "200 one HIT"},
		}},
		{name: "no_cache, by the response", rule: policy.Rule{NoCache: texts[policy.Predicate](t, "$upstream_http_x_no")}, first: []change{says("X-No", "1")}, acts: []act{
			{want: "200 one MISS", says: "detail=no_cache", saw: "GET"},
			{want: "200 one MISS", at: []change{says("X-No", "0")}, says: "stored", saw: "GET"},
			{want: "200 one HIT"},
		}},
		{name: "cache_min_uses", rule: policy.Rule{CacheMinUses: 2}, alone: true, acts: []act{
			{want: "200 one MISS", says: "detail=cache_min_uses", saw: "GET"},
			{want: "200 one MISS", says: "stored", saw: "GET"},
			{after: 60 * time.Second, want: "200 one REVALIDATED", saw: "GET If-None-Match"},
			{want: "200 one HIT"},
		}},
		{name: "cache_use_stale", rule: policy.Rule{CacheUseStale: texts[policy.Failures](t, "error", "http_503", "http_404")}, alone: true, acts: []act{
			cached,
			{after: time.Hour, at: []change{away}, want: "200 one STALE", says: "hit; detail=stale-if-error"},
			{at: []change{fails(503)}, want: "200 one STALE", says: "fwd=stale; fwd-status=503", saw: "GET If-None-Match"},
			{at: []change{fails(404)}, want: "200 one STALE", saw: "GET If-None-Match"},
			{at: []change{fails(500)}, want: "500 error EXPIRED", saw: "GET If-None-Match"},
		}},
		{name: "cache_use_stale yields to must-revalidate", rule: policy.Rule{CacheUseStale: texts[policy.Failures](t, "error")}, alone: true,
			first: []change{says("Cache-Control", "max-age=60, must-revalidate")}, acts: []act{
				cached,
				{after: time.Hour, at: []change{away}, want: "502"},
			}},
		{name: "cache_background_update", rule: policy.Rule{CacheUseStale: texts[policy.Failures](t, "updating"), CacheBackgroundUpdate: &yes}, alone: true, acts: []act{
			cached,
			{after: time.Hour, at: []change{becomes("three", `"2"`)}, want: "200 one UPDATING", says: "hit; detail=updating", saw: "GET If-None-Match"},
			{want: "200 three HIT"},
		}},
		{name: "x_accel_expires", rule: policy.Rule{XAccelExpires: &yes}, alone: true, first: []change{says("Cache-Control", "no-store"), says("X-Accel-Expires", "10")}, acts: []act{
			cached,
			{after: 9 * time.Second, want: "200 one HIT", says: "ttl=1"},
			{after: time.Second, at: []change{says("X-Accel-Expires", "0"), says("Cache-Control", "max-age=60")}, want: "200 one REVALIDATED", saw: "GET If-None-Match"},
			{want: "200 one MISS", says: "detail=x-accel-expires", saw: "GET"},
		}},
		{name: "X-Accel-Expires means nothing unless configured", first: []change{says("X-Accel-Expires", "0")}, acts: []act{
			cached,
			{after: 59 * time.Second, want: "200 one HIT"},
		}},
		{name: "cdn_cache_control: false", rule: policy.Rule{CDNCacheControl: &no}, first: []change{says("CDN-Cache-Control", "no-store")}, acts: []act{
			cached,
			{want: "200 one HIT"},
		}},
		{name: "a rule on the content type", rule: policy.Rule{ContentType: "text/*", CacheValid: texts[policy.Validity](t, "10m")}, first: bare, acts: []act{
			cached,
			{after: 599 * time.Second, want: "200 one HIT", says: "ttl=1"},
		}},
	})
}
