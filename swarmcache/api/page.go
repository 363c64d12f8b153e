package api

import (
	"cmp"
	"slices"
)

// paged is one page of all: up to limit of those behind the cursor, in the order of
// their ids, and the cursor of the next page; empty: there is none.
func paged[T any](all []T, id func(T) string, cursor string, limit int) (page []T, next string) {
	page = slices.DeleteFunc(slices.Clone(all), func(v T) bool { return id(v) <= cursor })
	slices.SortFunc(page, func(a, b T) int { return cmp.Compare(id(a), id(b)) })
	if len(page) > limit {
		page = page[:limit]
		next = id(page[limit-1])
	}
	return page, next
}
