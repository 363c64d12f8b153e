package api

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Choice is which objects are meant, by what is known of them here. What is left
// out chooses all.
type Choice struct {
	Key       policy.Key    // that selects them, all variants
	Match     string        // glob on the key: * and ? stand for any characters
	State     string        // complete, partial, pinned or suspect
	OlderThan time.Duration // since they came
	UnusedFor time.Duration
	Tag       string // one of Surrogate-Key or Cache-Tag
}

// chooser reports whether a record is meant.
func (c Choice) chooser(now time.Time) func(*swarmcache.Record) bool {
	match := regexp.MustCompile("(?s)^" + strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(c.Match)) + "$")
	return func(r *swarmcache.Record) bool {
		used := time.Unix(max(r.LastUsed, r.Added), 0)
		switch {
		case c.Key != "" && r.Version.Key.Base() != c.Key.Base(),
			c.Match != "" && !match.MatchString(string(r.Version.Key.Base())),
			c.State == "complete" && !r.Complete, c.State == "partial" && r.Complete,
			c.State == "pinned" && !r.Pinned, c.State == "suspect" && !r.Suspect,
			now.Sub(time.Unix(r.Added, 0)) < c.OlderThan, now.Sub(used) < c.UnusedFor,
			c.Tag != "" && !slices.Contains(tags(r), c.Tag):
			return false
		}
		return true
	}
}

// tags are those that an origin gave a response: Surrogate-Key, apart by spaces, and
// Cache-Tag, by commas.
func tags(r *swarmcache.Record) (all []string) {
	h := r.Version.Stored.Header
	for _, line := range h["Surrogate-Key"] {
		all = append(all, strings.Fields(line)...)
	}
	for _, line := range h["Cache-Tag"] {
		for tag := range strings.SplitSeq(line, ",") {
			all = append(all, strings.TrimSpace(tag))
		}
	}
	return all
}

// chosen are the records that are meant.
func (s *service) chosen(c Choice) (all []swarmcache.Record, err error) {
	is := c.chooser(time.Now())
	var after swarmcache.ObjectID
	for {
		some, err := s.Cache.List(after, 1000)
		if err != nil || len(some) == 0 {
			return all, err
		}
		for _, r := range some {
			if is(&r) {
				all = append(all, r)
			}
		}
		after = some[len(some)-1].Version.ID
	}
}

// sorted lists up to limit of those that are meant, in the given order, from behind
// the place that cursor names.
func (s *service) sorted(c Choice, order, cursor string, limit int) (Objects, error) {
	order, descending := strings.CutPrefix(order, "-")
	type placed struct {
		place string
		r     swarmcache.Record
	}
	records, err := s.chosen(c)
	if err != nil {
		return Objects{}, err
	}
	var all []placed
	for _, r := range records {
		all = append(all, placed{place(order, &r), r})
	}
	direction := 1
	if descending {
		direction = -1
	}
	slices.SortFunc(all, func(a, b placed) int { return direction * cmp.Compare(a.place, b.place) })
	if cursor != "" {
		from, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil {
			return Objects{}, invalid("query.cursor", "is none of this listing's")
		}
		i := slices.IndexFunc(all, func(p placed) bool { return direction*cmp.Compare(p.place, string(from)) > 0 })
		if i < 0 {
			i = len(all)
		}
		all = all[i:]
	}
	page := Objects{Objects: []Object{}}
	if len(all) > limit {
		all = all[:limit]
		page.Next = base64.RawURLEncoding.EncodeToString([]byte(all[limit-1].place))
	}
	for _, p := range all {
		page.Objects = append(page.Objects, object(p.r))
	}
	return page, nil
}

// place is where a record stands in an order; no two stand at the same.
func place(order string, r *swarmcache.Record) string {
	var by string
	switch v := r.Version; order {
	case "url":
		by = string(v.Key)
	case "size":
		by = fmt.Sprintf("%020d", v.Length)
	case "added":
		by = fmt.Sprintf("%020d", r.Added)
	case "used":
		by = fmt.Sprintf("%020d", r.LastUsed)
	}
	return by + "\x00" + string(r.Version.ID)
}
