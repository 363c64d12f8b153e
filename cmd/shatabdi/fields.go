package main

import (
	"encoding"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file reads and writes the fields of Config as text: the one way in for
// the file, the environment and the flags.

// keyOf is the name of a field in the file.
func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}

// fieldAt finds the field that a key such as "proxy.listen" names.
func fieldAt(v reflect.Value, key string) (reflect.Value, bool) {
	head, rest, nested := strings.Cut(key, ".")
	if v.Kind() != reflect.Struct {
		return reflect.Value{}, false
	}
	for i := range v.NumField() {
		if keyOf(v.Type().Field(i)) != head {
			continue
		}
		if nested {
			return fieldAt(v.Field(i), rest)
		}
		return v.Field(i), true
	}
	return reflect.Value{}, false
}

// isScalar reports whether values of type t are written as one text.
func isScalar(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return true
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Slice, reflect.Map, reflect.Pointer:
		return false
	}
	return true
}

// setScalar reads text into v. Its errors say what would be accepted.
func setScalar(v reflect.Value, text string) error {
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration; want something like 10s, 2m or 500ms", text)
		}
		*p = d
		return nil
	case *netip.Addr:
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("%q is not an IP address; want something like 10.0.0.7 or fd00::7", text)
		}
		*p = a
		return nil
	case *netip.Prefix:
		n, err := parseNetwork(text)
		if err != nil {
			return fmt.Errorf("%q is not a network; want CIDR such as 10.0.0.0/8 or fd00::/8, or one address", text)
		}
		*p = n
		return nil
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		v.SetInt(n)
	case reflect.Uint16:
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a port; want 1 to 65535", text)
		}
		v.SetUint(n)
	default:
		panic("no text form for " + v.Type().String())
	}
	return nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(text)
}

// setTexts reads what the environment or flags gave: one text for a scalar,
// several or a comma-separated list for a list, NAME=VALUE for a map.
func setTexts(v reflect.Value, given []string) error {
	if isScalar(v.Type()) {
		return setScalar(v, given[len(given)-1])
	}
	var items []string
	for _, text := range given {
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
	}
	if v.Kind() == reflect.Map {
		return setMap(v, items)
	}
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if err := setScalar(list.Index(i), item); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

func setMap(v reflect.Value, items []string) error {
	v.Set(reflect.MakeMap(v.Type()))
	for _, item := range items {
		name, text, ok := strings.Cut(item, "=")
		if !ok {
			return fmt.Errorf("%q has no =; want NAME=VALUE", item)
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		if err := setScalar(elem, text); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(name), elem)
	}
	return nil
}

// texts is the inverse of setTexts.
func texts(v reflect.Value) []string {
	switch {
	case isScalar(v.Type()):
		return []string{scalarText(v)}
	case v.Kind() == reflect.Slice:
		var all []string
		for i := range v.Len() {
			all = append(all, texts(v.Index(i))...)
		}
		return all
	case v.Kind() == reflect.Map:
		var all []string
		for key, elem := range v.Seq2() {
			all = append(all, key.String()+"="+scalarText(elem))
		}
		slices.Sort(all)
		return all
	}
	return nil
}

func scalarText(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return shortDuration(d)
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			panic(err) // none of ours can fail
		}
		return string(text)
	}
	return fmt.Sprint(v.Interface())
}

// shortDuration drops the zero units of Duration.String: 2m, not 2m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// sortedKeys returns the keys of a map in order, for output that does not change.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
