package main

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// printer writes a configuration as YAML that can be read back.
type printer struct {
	w      io.Writer
	above  func(key string) string // lines of comment above a key; may be nil
	beside func(key string) string // comment beside its value; may be nil
	mute   []string                // keys to comment out
}

// printEffective writes c with the place each value came from; passwords are hidden.
func printEffective(w io.Writer, l *loaded) {
	p := printer{w: w, beside: l.source}
	p.fields(reflect.ValueOf(l.Config), "", "")
}

// printExample writes every key with its meaning and default.
func printExample(w io.Writer, c Config) {
	help := map[string]string{}
	for _, s := range settings {
		help[s.key] = s.help
		if s.flag != "" {
			help[s.key] += "\n--" + s.flag + ", " + s.env()
		} else if s.arg != "RULES" {
			help[s.key] += "\n" + s.env()
		}
	}
	fmt.Fprintln(w, "# Shatabdi: every key with its default. Leave out what you do not change.")
	fmt.Fprintln(w, "# A flag wins over the environment, the environment over this file.")
	p := printer{w: w, above: func(key string) string { return help[key] }}
	p.mute = []string{"data_dir", "node.name"} // their defaults are this machine's
	p.fields(reflect.ValueOf(c), "", "")
	fmt.Fprint(w, exampleRules)
}

const exampleRules = `# - name: public datasets
#   host: "*.cdn.example.com"
#   path: /public/**
#   methods: [GET, HEAD]
#   route: swarm            # swarm, pass or deny
#   upgrade: https          # clients ask http://, the origin is asked https://
#   key:
#     ignore_query: true    # presigned URLs of public objects
# - host: private.example.com
#   auth: probe             # shared, but the origin is asked for one byte with each client's own credentials
# - host: intranet.example.com
#   route: pass
# - content_type: video/*
#   min_size: 1GiB
#   streams: 8              # connections to the origin for one object
# - name: nginx's directives, under their names without proxy_
#   host: "*.example.net"
#   cache_valid: [200 302 10m, 404 1m]    # fresh for so long, where the response does not say it
#   ignore_headers: [Set-Cookie, Vary]    # without a say; or Cache-Control, Expires, X-Accel-Expires
#   cache_bypass: [$arg_fresh]            # ask the origin if one of these is neither empty nor 0
#   no_cache: [$upstream_http_x_private]  # do not store if one is
#   cache_min_uses: 2                     # requests before a response is stored
#   cache_use_stale: [error, timeout, updating, http_503]
#   cache_background_update: true         # what is stale is served while it is updated
#   x_accel_expires: true                 # obey X-Accel-Expires
#   cdn_cache_control: true               # obey CDN-Cache-Control; the default
`

func (p printer) fields(v reflect.Value, key, indent string) {
	for i := range v.NumField() {
		name := keyOf(v.Type().Field(i))
		path := join(key, name)
		if p.above != nil {
			p.comment(path, indent)
		}
		if f := v.Field(i); f.Kind() == reflect.Struct && !isScalar(f.Type()) {
			fmt.Fprintf(p.w, "%s%s:\n", indent, name)
			p.fields(f, path, indent+"  ")
			continue
		}
		if slices.Contains(p.mute, path) {
			name = "# " + name
		}
		line := indent + name + ":" + value(v.Field(i), indent+"  ")
		if p.beside != nil {
			head, rest, several := strings.Cut(line, "\n")
			line = fmt.Sprintf("%-44s # %s", head, p.beside(path))
			if several {
				line += "\n" + rest
			}
		}
		fmt.Fprintln(p.w, line)
	}
}

func (p printer) comment(key, indent string) {
	if indent == "" {
		fmt.Fprintln(p.w)
	}
	for line := range strings.SplitSeq(p.above(key), "\n") {
		if line != "" {
			fmt.Fprintf(p.w, "%s# %s\n", indent, line)
		}
	}
}

// value prints what stands after "key:".
func value(v reflect.Value, indent string) string {
	switch {
	case v.Kind() == reflect.Pointer:
		return value(v.Elem(), indent)
	case isScalar(v.Type()):
		return " " + quote(v)
	case v.Len() == 0 && v.Kind() == reflect.Map:
		return " {}"
	case v.Len() == 0:
		return " []"
	case v.Kind() == reflect.Map:
		var b strings.Builder
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			elem := reflect.New(v.Type().Elem()).Elem()
			elem.Set(v.MapIndex(k))
			fmt.Fprintf(&b, "\n%s%s:%s", indent, quote(k), value(elem, indent+"  "))
		}
		return b.String()
	case isScalar(v.Type().Elem()):
		var items []string
		for i := range v.Len() {
			items = append(items, quote(v.Index(i)))
		}
		return " [" + strings.Join(items, ", ") + "]"
	}
	var b strings.Builder
	for i := range v.Len() {
		lines := strings.Join(given(v.Index(i), indent+"  "), "\n")
		fmt.Fprintf(&b, "\n%s- %s", indent, strings.TrimLeft(lines, " "))
	}
	return b.String()
}

// given prints the fields of a struct that are set, a line each.
func given(v reflect.Value, indent string) []string {
	var lines []string
	for i := range v.NumField() {
		f, name := v.Field(i), keyOf(v.Type().Field(i))
		switch {
		case f.IsZero():
		case f.Kind() == reflect.Struct && !isScalar(f.Type()):
			lines = append(lines, indent+name+":")
			lines = append(lines, given(f, indent+"  ")...)
		default:
			lines = append(lines, indent+name+":"+value(f, indent+"  "))
		}
	}
	return lines
}

// quote prints a scalar, in quotes where YAML or a flow list would read it differently.
func quote(v reflect.Value) string {
	text := redact(scalarText(v))
	if v.Kind() != reflect.String && v.Kind() != reflect.Struct {
		return text
	}
	if text == "" || strings.ContainsAny(text, ",[]{}") {
		return fmt.Sprintf("%q", text)
	}
	b, err := yaml.Marshal(text)
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(b))
}
