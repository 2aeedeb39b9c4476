package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// named finds commands in prose, where they stand in quotes, and in indented examples.
var named = regexp.MustCompile("(?m)(?:['`]|^    |: )fealty ([a-z][^'`\n$#&|;()]*)")

// formats are names of formats, which begin as commands do.
var formats = map[string]bool{"host statement 1": true, "answer": true}

// Commands and flags that the documents and the k6 scripts name exist.
func TestDocumentsNameCommands(t *testing.T) {
	var files []string
	for _, pattern := range []string{"README.md", "docs/*.md", "k6/*.md", "k6/*.js", "k6/lib/*.js"} {
		found, err := filepath.Glob(filepath.Join(root(), pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		files = append(files, found...)
	}
	count := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range named.FindAllStringSubmatch(string(text), -1) {
			if problem := misnamed(strings.Fields(match[1])); problem != "" && !formats[match[1]] {
				t.Errorf("%s: 'fealty %s': %s", filepath.Base(path), match[1], problem)
			}
			count++
		}
	}
	if count < 40 {
		t.Errorf("only %d commands are found", count)
	}
	for _, wrong := range []string{"audit stealth --plan", "audit stealht", "audit verify URL --keyz x"} {
		if misnamed(strings.Fields(wrong)) == "" {
			t.Errorf("'fealty %s' is taken for a command", wrong)
		}
	}
}

// misnamed says what a command line names that does not exist; "" if nothing.
func misnamed(words []string) string {
	cmd := newRoot()
walk:
	for len(words) > 0 && cmd.HasSubCommands() {
		for _, sub := range cmd.Commands() {
			if sub.Name() == words[0] {
				cmd, words = sub, words[1:]
				continue walk
			}
		}
		break
	}
	if len(words) > 0 && cmd.HasSubCommands() && words[0][0] >= 'a' && words[0][0] <= 'z' {
		return "no command " + words[0]
	}
	for _, word := range words {
		name, isFlag := strings.CutPrefix(strings.TrimRight(word, ",.:]"), "--")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && name != "" && cmd.Flags().Lookup(name) == nil && cmd.InheritedFlags().Lookup(name) == nil && name != "help" {
			return cmd.CommandPath() + " has no flag --" + name
		}
	}
	return ""
}
