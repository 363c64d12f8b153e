package policy

import (
	"fmt"
	"strings"

	"shatabdi/policy/httpheader"
)

// RouteKind is what becomes of a request.
type RouteKind string

const (
	Swarm RouteKind = "swarm" // through the cache: look up, and fill when storable and large
	Pass  RouteKind = "pass"  // to the origin and back, without touching the cache
	Deny  RouteKind = "deny"  // refused with 403
)

// Probe is what a rule can say about credentials.
const Probe = "probe"

// What an unset default means.
const (
	DefaultThreshold = 4 * MiB
	DefaultStreams   = 4 // more land late together: 16 took 1.09 x as long
)

// Rules are an operator's wishes. The zero value caches everything that may be.
//
// Every setting of a request is decided on its own: by the first rule that
// matches and sets it, else by Default.
type Rules struct {
	Default Defaults `yaml:"default"`
	Rules   []Rule   `yaml:"rules"`
	// Schemes are those beside http and https under which there are objects.
	Schemes []string `yaml:"-"`
}

// Defaults hold for what no rule decides.
type Defaults struct {
	Route     RouteKind `yaml:"route"`     // unset: swarm
	Threshold Size      `yaml:"threshold"` // unset: DefaultThreshold
	Streams   int       `yaml:"streams"`   // unset: DefaultStreams
}

// Rule sets something for the requests that meet all its conditions. An unset
// condition is met by all, an unset setting says nothing.
type Rule struct {
	Name string `yaml:"name"` // for logs and people

	Host    string   `yaml:"host"`    // "example.org", "*.example.org" (its subdomains), "*"; may end in ":port"
	Path    string   `yaml:"path"`    // glob on the decoded path: "?", "*" within a segment, "**" across, "**/" any segments
	Methods []string `yaml:"methods"` // such as [GET, HEAD]

	// Conditions known only at the response.
	ContentType string `yaml:"content_type"` // glob on the media type: "video/*"
	MinSize     Size   `yaml:"min_size"`     // bytes of the whole body, at least
	MaxSize     Size   `yaml:"max_size"`     // bytes of the whole body, at most

	Route     RouteKind `yaml:"route"`
	Threshold Size      `yaml:"threshold"` // smaller bodies are not cached; 1 for all
	Streams   int       `yaml:"streams"`   // parallel origin streams for one object
	Replicas  int       `yaml:"replicas"`  // complete copies that the cluster keeps; unset: none are made
	Priority  Priority  `yaml:"priority"`  // low, normal or high: its share of limited links; unset: normal
	// Public says that what needs Authorization, a cookie or a signed URL to be
	// fetched may be given to everybody all the same, Set-Cookie aside. Response
	// directives that forbid storing still forbid it.
	Public bool `yaml:"public"`
	// Auth "probe" says so too, but who asks gets it only if the origin would give it to
	// him: it is asked for one byte with his own credentials, and the answer counts for a
	// minute.
	Auth string `yaml:"auth"`

	// What the rule adds to HTTP; see Caching, which holds them once decided.
	CacheValid            []Validity  `yaml:"cache_valid"`             // for how long responses are fresh that do not say it, by status
	IgnoreHeaders         []Ignored   `yaml:"ignore_headers"`          // response fields without a say
	CacheBypass           []Predicate `yaml:"cache_bypass"`            // ask the origin if one is true
	NoCache               []Predicate `yaml:"no_cache"`                // do not store if one is true
	CacheMinUses          int         `yaml:"cache_min_uses"`          // requests before a response is stored
	CacheUseStale         []Failures  `yaml:"cache_use_stale"`         // failures on which what is stale is served; off for none
	CacheBackgroundUpdate *bool       `yaml:"cache_background_update"` // what is stale is served while it is updated; unset: false
	XAccelExpires         *bool       `yaml:"x_accel_expires"`         // obey X-Accel-Expires; unset: false
	CDNCacheControl       *bool       `yaml:"cdn_cache_control"`       // obey CDN-Cache-Control (RFC 9213); unset: true

	// Settings that must be known before the request is sent.
	Upgrade     string  `yaml:"upgrade"` // "https": asked by http://, fetched by https://
	Key         KeyRule `yaml:"key"`
	ExpectLarge *bool   `yaml:"expect_large"` // claim before the first GET; unset: guess by the path
}

// needsResponse reports whether r has a condition that only a response settles.
func (r *Rule) needsResponse() bool {
	return r.ContentType != "" || r.MinSize != 0 || r.MaxSize != 0
}

// subject is what rules are matched against.
type subject struct {
	method     string
	host, port string
	path       string // decoded

	response    bool // the fields below are known
	contentType string
	length      int64 // bytes; -1: not told
}

// matches reports whether r applies to s; maybe, whether it may yet apply when
// the response is known.
func (r *Rule) matches(s *subject) (yes, maybe bool) {
	switch {
	case r.Host != "" && !matchHost(r.Host, s.host, s.port),
		r.Path != "" && !matchPath(r.Path, s.path),
		len(r.Methods) > 0 && !containsFold(r.Methods, s.method):
		return false, false
	case !r.needsResponse():
		return true, false
	case !s.response:
		return false, true
	case r.ContentType != "" && !matchContentType(r.ContentType, s.contentType),
		r.MinSize != 0 && s.length < int64(r.MinSize),
		r.MaxSize != 0 && (s.length < 0 || s.length > int64(r.MaxSize)):
		return false, false
	}
	return true, false
}

func containsFold(list []string, s string) bool {
	for _, l := range list {
		if strings.EqualFold(l, s) {
			return true
		}
	}
	return false
}

// Validate returns everything that is wrong with r, each error beginning with
// the path of the setting, such as "rules[2].host".
func (r *Rules) Validate() []error {
	var p problems
	p.route("default.route", r.Default.Route)
	p.positive("default.threshold", int64(r.Default.Threshold))
	p.positive("default.streams", int64(r.Default.Streams))
	for i := range r.Rules {
		r.Rules[i].validate(fmt.Sprintf("rules[%d]", i), &p)
	}
	return p
}

func (r *Rule) validate(at string, p *problems) {
	p.host(at+".host", r.Host)
	if r.Path != "" && r.Path[0] != '/' && r.Path[0] != '*' {
		p.add(at+".path", "%q can match no path: begin with / or **", r.Path)
	}
	for _, m := range r.Methods {
		if !httpheader.IsToken(m) {
			p.add(at+".methods", "%q is no method", m)
		}
	}
	if t, sub, ok := strings.Cut(r.ContentType, "/"); r.ContentType != "" && (!ok || t == "" || sub == "") {
		p.add(at+".content_type", "%q is no media type, want one such as video/mp4 or video/*", r.ContentType)
	}
	p.positive(at+".min_size", int64(r.MinSize))
	p.positive(at+".max_size", int64(r.MaxSize))
	if r.MaxSize > 0 && r.MinSize > r.MaxSize {
		p.add(at+".max_size", "%s is less than min_size %s", r.MaxSize, r.MinSize)
	}

	p.route(at+".route", r.Route)
	p.positive(at+".threshold", int64(r.Threshold))
	p.positive(at+".streams", int64(r.Streams))
	p.positive(at+".replicas", int64(r.Replicas))
	if err := r.Priority.Validate(); err != nil {
		p.add(at+".priority", "%v", err)
	}
	if r.Upgrade != "" && r.Upgrade != "https" {
		p.add(at+".upgrade", "%q is not known, want https", r.Upgrade)
	}
	if r.Auth != "" && r.Auth != Probe {
		p.add(at+".auth", "%q is not known, want probe", r.Auth)
	}
	p.params(at+".key.ignore_params", r.Key.IgnoreParams)
	p.params(at+".key.only_params", r.Key.OnlyParams)
	p.positive(at+".cache_min_uses", int64(r.CacheMinUses))
	for _, pr := range r.CacheBypass {
		if pr.ofResponse() {
			p.add(at+".cache_bypass", "%q is decided before there is a response", pr.text)
		}
	}
	if all := union(r.CacheUseStale); all&none != 0 && all != none {
		p.add(at+".cache_use_stale", "off stands alone")
	}
	if r.isSilent() {
		p.add(at, "sets nothing: give it a route, threshold, streams, replicas, priority, public, auth, upgrade, key, expect_large or a setting of caching")
	}
	if r.needsResponse() {
		r.validateLate(at, p)
	}
}

// validateLate finds settings that come too late under conditions on the response.
func (r *Rule) validateLate(at string, p *problems) {
	const why = "is decided before the response is known: not together with content_type, min_size or max_size"
	if r.Route == Deny {
		p.add(at+".route", "deny "+why)
	}
	if r.Upgrade != "" {
		p.add(at+".upgrade", why)
	}
	if r.Auth != "" {
		p.add(at+".auth", why)
	}
	if !r.Key.isZero() {
		p.add(at+".key", why)
	}
	if r.ExpectLarge != nil {
		p.add(at+".expect_large", why)
	}
}

func (r *Rule) isSilent() bool {
	return r.Route == "" && r.Threshold == 0 && r.Streams == 0 && r.Replicas == 0 && r.Priority == "" && !r.Public && r.Auth == "" &&
		r.Upgrade == "" && r.Key.isZero() && r.ExpectLarge == nil &&
		len(r.CacheValid)+len(r.IgnoreHeaders)+len(r.CacheBypass)+len(r.NoCache)+len(r.CacheUseStale)+r.CacheMinUses == 0 &&
		r.CacheBackgroundUpdate == nil && r.XAccelExpires == nil && r.CDNCacheControl == nil
}

// problems collects what Validate finds.
type problems []error

func (p *problems) add(at, format string, args ...any) {
	*p = append(*p, fmt.Errorf(at+": "+format, args...))
}

func (p *problems) route(at string, k RouteKind) {
	switch k {
	case "", Swarm, Pass, Deny:
	default:
		p.add(at, "%q is not known, want swarm, pass or deny", k)
	}
}

func (p *problems) positive(at string, n int64) {
	if n < 0 {
		p.add(at, "%d is negative", n)
	}
}

func (p *problems) params(at string, names []string) {
	for _, name := range names {
		if name == "" || strings.Contains(strings.TrimSuffix(name, "*"), "*") {
			p.add(at, "%q is no parameter name; a * may stand at its end", name)
		}
	}
}

func (p *problems) host(at, pattern string) {
	if pattern == "" {
		return
	}
	host, port := splitPort(pattern)
	rest := strings.TrimPrefix(host, "*")
	switch {
	case strings.ContainsAny(host, "/@? \t"):
		p.add(at, "%q is no host; schemes and paths do not belong here", pattern)
	case strings.Contains(rest, "*"), rest != host && rest != "" && rest[0] != '.', rest == "." || host == "":
		p.add(at, "%q: a * stands alone or as the first label, as in *.example.org", pattern)
	case strings.HasSuffix(pattern, ":") || !digits(port):
		p.add(at, "%q: %q is no port", pattern, port)
	}
}

func digits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}
