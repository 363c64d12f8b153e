package policy

import (
	"strings"
	"testing"
)

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	yes := true
	r := Rules{
		Default: Defaults{Route: "swam", Threshold: -1, Streams: -1},
		Rules: []Rule{
			{Host: "*.example.org", Path: "/a/**", Methods: []string{"GET"}, Route: Swarm},
			{Host: "http://example.org", Path: "a", Methods: []string{"G T"}, Route: "cache"},
			{Host: "a.*.org", ContentType: "video", MinSize: 9, MaxSize: 8, Threshold: -5, Streams: -5, Priority: "urgent"},
			{ContentType: "video/*", Route: Deny, Upgrade: "https", Key: KeyRule{IgnoreQuery: true}, ExpectLarge: &yes},
			{Host: "o.test:x", Upgrade: "http", Key: KeyRule{IgnoreParams: []string{"a*b", ""}}},
			{Host: "o.test"},
			{Key: KeyRule{OnlyParams: []string{"*a"}}, CacheMinUses: -1, CacheBypass: []Predicate{predicate("$upstream_status")},
				CacheUseStale: []Failures{none, Updating}},
		},
	}
	want := []string{
		"default.route:", "default.threshold:", "default.streams:",
		"rules[1].host:", "rules[1].path:", "rules[1].methods:", "rules[1].route:",
		"rules[2].host:", "rules[2].content_type:", "rules[2].max_size:", "rules[2].threshold:", "rules[2].streams:", "rules[2].priority:",
		"rules[3].route:", "rules[3].upgrade:", "rules[3].key:", "rules[3].expect_large:",
		"rules[4].host:", "rules[4].upgrade:", "rules[4].key.ignore_params:", "rules[4].key.ignore_params:",
		"rules[5]:",
		"rules[6].key.only_params:", "rules[6].cache_min_uses:", "rules[6].cache_bypass:", "rules[6].cache_use_stale:",
	}
	errs := r.Validate()
	for i, err := range errs {
		if i >= len(want) || !strings.HasPrefix(err.Error(), want[i]) {
			t.Fatalf("problem %d: %v; want %s...\nall: %v", i, err, want[min(i, len(want)-1)], errs)
		}
	}
	if len(errs) != len(want) {
		t.Errorf("%d problems, want %d: %v", len(errs), len(want), errs)
	}
}

func TestValidateAccepts(t *testing.T) {
	no := false
	for _, r := range []Rules{
		{},
		{Default: Defaults{Route: Pass, Threshold: MiB, Streams: 1}},
		{Rules: []Rule{{Host: "*", Route: Deny}, {Host: "*.a.test:80", Route: Pass}, {Host: "[::1]:80", Route: Pass}, {Host: "::1", Route: Pass}}},
		{Rules: []Rule{{Path: "**.iso", ExpectLarge: &no}, {ContentType: "video/*", MinSize: 1, Threshold: 1, Public: true}, {Priority: PriorityLow}}},
		{Rules: []Rule{{Upgrade: "https", Key: KeyRule{IgnoreParams: []string{"utm_*", "*"}}}}},
		{Rules: []Rule{{Key: KeyRule{SortParams: true}}, {CacheValid: []Validity{{}}}, {IgnoreHeaders: []Ignored{IgnoreVary}}, {CDNCacheControl: &no},
			{XAccelExpires: &no}, {CacheBackgroundUpdate: &no}, {CacheMinUses: 1}, {NoCache: []Predicate{predicate("$upstream_status")}},
			{CacheBypass: []Predicate{predicate("$args")}}, {CacheUseStale: []Failures{none}}, {CacheUseStale: []Failures{Unreachable, Updating}}}},
	} {
		if errs := r.Validate(); len(errs) != 0 {
			t.Errorf("%+v: %v", r, errs)
		}
	}
}
