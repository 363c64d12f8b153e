package policy

// Why is what a reason means, for people, and where that is written; Clause is
// empty where a rule or a setting of this proxy says so.
type Why struct{ Text, Clause string }

// Explain tells what a reason of a Route, a Verdict or of Storable means. It knows
// them all; of others it returns the word itself.
func Explain(reason string) Why {
	if w, ok := whys[reason]; ok {
		return w
	}
	return Why{Text: reason}
}

var whys = map[string]Why{
	"":        {"it may be stored", "RFC 9111 §3"},
	"default": {"no rule says otherwise", ""},
	"rule":    {"a rule says so", ""},
	"content": {"the request has content", "RFC 9110 §9.3.1"},
	"upgrade": {"the request asks for another protocol", "RFC 9110 §7.8"},
	"scheme":  {"only http and https are cached", ""},

	ReasonFresh:           {"what is stored is fresh", "RFC 9111 §4.2"},
	ReasonMaxStale:        {"what is stored is stale, and the request accepts that", "RFC 9111 §5.2.1.2"},
	ReasonWhileRevalidate: {"what is stored is stale, and may be served while the origin is asked", "RFC 5861 §3"},
	ReasonUpdating:        {"what is stored is stale, and a rule has it served while the origin is asked", ""},
	ReasonMethod:          {"only GET and HEAD are answered from a cache, and only a GET is stored", "RFC 9111 §4"},
	ReasonBypass:          {"the request has content or asks for another protocol, or a rule says so", ""},
	ReasonURIMiss:         {"nothing is stored", "RFC 9111 §4"},
	ReasonVaryMiss:        {"what is stored is for requests with other fields", "RFC 9111 §4.1"},
	ReasonStale:           {"what is stored is stale, or must not be used unasked", "RFC 9111 §4.2.4"},
	ReasonRequest:         {"what is stored is fresh, and the request wants it fresher", "RFC 9111 §5.2.1"},
	ReasonPartial:         {"only a part is stored", "RFC 9111 §3.3"},

	NotStatus:          {"a response of that status is not stored", "RFC 9111 §3"},
	NotUnderstood:      {"must-understand, and the status is not understood here", "RFC 9111 §5.2.2.3"},
	NotNoStore:         {"the response says no-store", "RFC 9111 §5.2.2.5"},
	NotRequestNoStore:  {"the request says no-store", "RFC 9111 §5.2.1.5"},
	NotPrivate:         {"the response is for one user: private", "RFC 9111 §5.2.2.7"},
	NotAuthorization:   {"the request has credentials, and the response does not say that it is for all", "RFC 9111 §3.5"},
	NotCookie:          {"the request has a cookie, and the response does not say that it is for all", "RFC 9111 §7.3"},
	NotSignedQuery:     {"the URL is signed, and neither the response nor a rule says that it is for all", ""},
	NotSetCookie:       {"the response sets a cookie", "RFC 9111 §7.3"},
	NotVary:            {"the response varies on what cannot be compared", "RFC 9111 §4.1"},
	NotVaryCredentials: {"the response varies on a cookie or an authorization", "RFC 9111 §4.1"},
	NotReusable:        {"the response is neither fresh nor can it be validated", "RFC 9111 §3"},
	NotProbed:          {"auth: probe of a rule: not a 200 that has a strong validator, by which the origin could be asked", ""},
	NotValid:           {"cache_valid of a rule gives such a status no time", ""},
	NotNoCache:         {"no_cache of a rule says so", ""},
	NotMinUses:         {"cache_min_uses of a rule: it was not asked for often enough yet", ""},
	NotAccelExpires:    {"the response says X-Accel-Expires: 0", ""},
}
