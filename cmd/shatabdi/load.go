package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// loaded is a configuration and where each of its values came from.
type loaded struct {
	Config
	from     map[string]string // by key: "file x.yaml:12", "env SHATABDI_…", "flag --…"; absent: default
	warnings []string          // facts an operator should know; not problems
}

// load forms the configuration: flags over environment over file over
// defaults. The error tells every problem at once.
func load(f *flags, environ []string) (*loaded, error) {
	l := &loaded{Config: DefaultConfig(), from: map[string]string{}}
	env := environment(environ)
	root := reflect.ValueOf(&l.Config).Elem()
	var problems []problem

	name := f.file
	if name == "" {
		name = env["SHATABDI_CONFIG"]
	}
	read := &file{}
	if name != "" {
		var err error
		if read, err = readFile(name, root); err != nil {
			return nil, usage("`shatabdi config example` prints a file to start from", "configuration: %w", err)
		}
		problems = read.problems
		for key, p := range read.at {
			l.from[key] = fmt.Sprintf("file %s:%d", name, p.Line)
		}
	}
	for _, s := range settings {
		field, ok := fieldAt(root, s.key)
		if !ok {
			panic("settings: no field for " + s.key)
		}
		if text := env[s.env()]; text != "" && s.arg != "RULES" {
			problems = l.override(problems, s.key, field, "env "+s.env(), []string{text})
		}
		if v := f.values[s.key]; v != nil && len(v.given) > 0 {
			problems = l.override(problems, s.key, field, "flag --"+s.flag, v.given)
		}
	}
	l.warnings = append(unknownVariables(env), l.Config.warnings()...)

	for _, p := range l.Validate() {
		// What could not be read keeps its default, which may clash with the rest.
		if !slices.ContainsFunc(problems, func(q problem) bool { return q.key == p.key }) {
			problems = append(problems, p)
		}
	}
	if len(problems) == 0 {
		return l, nil
	}
	return nil, l.complain(problems, read)
}

// override sets field from the environment or a flag; what was wrong with the
// value it replaces no longer matters.
func (l *loaded) override(problems []problem, key string, field reflect.Value, from string, given []string) []problem {
	problems = slices.DeleteFunc(problems, func(p problem) bool {
		return p.key == key || strings.HasPrefix(p.key, key+"[") || strings.HasPrefix(p.key, key+".")
	})
	for k := range l.from {
		if strings.HasPrefix(k, key+"[") || strings.HasPrefix(k, key+".") {
			delete(l.from, k)
		}
	}
	l.from[key] = from
	if err := setTexts(field, given); err != nil {
		problems = append(problems, problem{key, err.Error()})
	}
	return problems
}

// complain makes one error of all problems, in the order of the file.
func (l *loaded) complain(problems []problem, read *file) error {
	line := func(p problem) int {
		if pos := l.inFile(p.key, read); pos != nil {
			return pos.Line
		}
		return 0
	}
	slices.SortStableFunc(problems, func(a, b problem) int { return line(a) - line(b) })
	var all []error
	for _, p := range problems {
		subject := p.key + ": "
		if strings.HasPrefix(p.key, "line ") || p.key == "" {
			subject = ""
		}
		if pos := l.inFile(p.key, read); pos != nil {
			all = append(all, fmt.Errorf("%s:%d:%d: %s%s%s", read.name, pos.Line, pos.Column, subject, p.text, read.excerpt(pos)))
			continue
		}
		if from := l.source(p.key); from != "default" {
			subject = strings.TrimPrefix(strings.TrimPrefix(from, "flag "), "env ") + ": "
		}
		all = append(all, fmt.Errorf("%s%s", subject, p.text))
	}
	return &cliError{exitUsage, errors.Join(all...), "`shatabdi config example` shows every key with its meaning"}
}

// inFile finds the place in the file that a problem is about, unless the value
// came from elsewhere.
func (l *loaded) inFile(key string, read *file) *token.Position {
	if strings.HasPrefix(key, "line ") || strings.HasPrefix(l.source(key), "file ") {
		return read.position(key)
	}
	if _, known := l.from[key]; !known && read.at[key] != nil {
		return read.at[key]
	}
	return nil
}

// source tells where the value of key came from.
func (l *loaded) source(key string) string {
	for key != "" {
		if from, ok := l.from[key]; ok {
			return from
		}
		i := strings.LastIndex(key, "[")
		if i < 0 {
			break
		}
		key = key[:i]
	}
	return "default"
}

func environment(environ []string) map[string]string {
	env := map[string]string{}
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok && strings.HasPrefix(name, "SHATABDI_") {
			env[name] = value
		}
	}
	return env
}

// unknownVariables warns of names nobody reads. They are no error, because
// Kubernetes puts variables such as SHATABDI_SERVICE_HOST into containers.
func unknownVariables(env map[string]string) []string {
	var names []string
	for _, s := range settings {
		if s.arg != "RULES" {
			names = append(names, s.env())
		}
	}
	var warnings []string
	for _, name := range sortedKeys(env) {
		fromKubernetes := strings.HasPrefix(name, "SHATABDI_SERVICE_") || strings.HasPrefix(name, "SHATABDI_PORT")
		if name != "SHATABDI_CONFIG" && !slices.Contains(names, name) && !fromKubernetes {
			warnings = append(warnings, fmt.Sprintf("environment variable %s is not read by anything", name))
		}
	}
	return warnings
}

// environ is the process's environment; commands take it as a value.
func environ() []string { return os.Environ() }
