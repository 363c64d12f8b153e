package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each command that the README's guide shows is run by a script, with the flags that
// it shows there.
func TestGuideIsRun(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var scripts strings.Builder
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		scripts.Write(b)
	}
	shown := regexp.MustCompile(`(?m)^    shatabdi ([a-z]+)([^#\n]*)`).FindAllStringSubmatch(string(readme), -1)
	if len(shown) < 20 {
		t.Fatalf("only %d commands", len(shown))
	}
	for _, command := range shown {
		name, _, _ := strings.Cut(command[1]+command[2], "|")
		pattern := `shatabdi ` + command[1] + `\b`
		if !regexp.MustCompile(pattern).MatchString(scripts.String()) {
			t.Errorf("no script runs `shatabdi %s`", command[1])
		}
		for _, flag := range regexp.MustCompile(`(^| )(--?[a-z][a-z-]*)`).FindAllStringSubmatch(name, -1) {
			if !regexp.MustCompile(pattern + `[^\n]* ` + regexp.QuoteMeta(flag[2]) + `\b`).MatchString(scripts.String()) {
				t.Errorf("no script runs `shatabdi %s %s`", command[1], flag[2])
			}
		}
	}
}

// The help of every command that is listed teaches by example, but for those that only
// have subcommands.
func TestHelpTeaches(t *testing.T) {
	root, _ := rootCommand()
	for _, cmd := range root.Commands() {
		if !cmd.Hidden && !cmd.HasSubCommands() && cmd.Name() != "version" && cmd.Name() != "help" && cmd.Example == "" {
			t.Errorf("%s has no example", cmd.Name())
		}
	}
}
