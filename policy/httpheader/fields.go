package httpheader

import "slices"

// ConnectionFields returns the field names that Connection lists (RFC 9110
// §7.6.1), canonical and each once. Members that are no token are skipped.
func ConnectionFields(lines []string) []string {
	names, _ := fieldNames(lines)
	return names
}

// ParseVary returns the request fields that Vary names (RFC 9110 §12.5.5),
// canonical and each once. ok is false when the response varies on what nobody
// can compare: "*", or a value that does not follow the grammar.
func ParseVary(lines []string) (fields []string, ok bool) {
	fields, ok = fieldNames(lines)
	if !ok || slices.Contains(fields, "*") {
		return nil, false
	}
	return fields, true
}
