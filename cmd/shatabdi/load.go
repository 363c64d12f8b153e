package main

import (
	"errors"
	"fmt"
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
		s, _ := settingOf(p.key)
		return s.key == key
	})
	l.from[key] = from
	if err := setTexts(field, given); err != nil {
		problems = append(problems, problem{key, err.Error()})
	}
	return problems
}

// complain makes one error of all problems, in the order of the file.
func (l *loaded) complain(problems []problem, read *file) error {
	line := func(p problem) int {
		if _, pos := l.place(p.key, read); pos != nil {
			return pos.Line
		}
		return 0
	}
	slices.SortStableFunc(problems, func(a, b problem) int { return line(a) - line(b) })
	var all []error
	for _, p := range problems {
		subject, pos := l.place(p.key, read)
		text := p.text
		if subject != "" {
			text = subject + ": " + text
		}
		if pos != nil {
			text = fmt.Sprintf("%s:%d:%d: %s%s", read.name, pos.Line, pos.Column, text, read.excerpt(pos))
		}
		all = append(all, errors.New(text))
	}
	return &cliError{exitUsage, errors.Join(all...), "`shatabdi config example` shows every key with its meaning"}
}

// place tells where to look for the cause of a problem: the flag, the variable,
// or the key and its position in the file.
func (l *loaded) place(key string, read *file) (subject string, pos *token.Position) {
	if s, ok := settingOf(key); ok {
		if flag, ok := strings.CutPrefix(l.from[s.key], "flag "); ok {
			return flag, nil
		}
		if env, ok := strings.CutPrefix(l.from[s.key], "env "); ok {
			return env, nil
		}
	}
	if strings.HasPrefix(key, "line ") {
		return "", read.at[key]
	}
	return key, read.position(key)
}

// source tells where the value of a setting came from.
func (l *loaded) source(key string) string {
	if from, ok := l.from[key]; ok {
		return from
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
		if name != "SHATABDI_CONFIG" && name != adminVariable && !slices.Contains(names, name) && !fromKubernetes {
			warnings = append(warnings, fmt.Sprintf("environment variable %s is not read by anything", name))
		}
	}
	return warnings
}
