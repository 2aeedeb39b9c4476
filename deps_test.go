package fealty_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/fealty/fealty/"

// A boundary says which packages of the tree may import what it guards.
type boundary struct {
	guards  string   // import path or its prefix
	allowed []string // folders of this module, each with all below it
	why     string
}

var boundaries = []boundary{
	{"github.com/gomlx/", []string{"internal/llama", "internal/engine", "embed"}, "one place owns the graphs and their panics"},
	{"github.com/redis/go-redis/", []string{"internal/redisurl", "licensecheck", "gateway/identity", "gateway/limit", "gateway/usage"}, "Redis is an edge"},
	{"github.com/ethereum/go-ethereum", []string{"licensecheck", "internal/wallet", "internal/audit", "internal/devnet"}, "the chain is an edge"},
	{"go.opentelemetry.io/", []string{"gateway", "cmd"}, "traces begin and end at the edge"},
	{"github.com/cedar-policy/", []string{"gateway/rules"}, "one place owns the operator's rules"},
	{"go.k6.io/", nil, "k6 is licensed under the AGPL: k6/ is a Go module of its own"},
	{"github.com/valyala/fasthttp", []string{"gateway"}, "HTTP is an edge"},
	{module + "cmd", []string{"cmd"}, "cmd wires; nothing stands on it"},
	{module + "gateway", []string{"gateway", "cmd"}, "data flows one way: cmd, gateway, then what it asks"},
}

// stdlibOnly may import nothing but Go's own library.
var stdlibOnly = []string{"policy", "sampler", "internal/openai"}

// strangers never import one another, directly or through others.
var strangers = [][2]string{
	{"embed", "gateway"}, {"embed", "licensecheck"},
	{"gateway", "embed"}, {"licensecheck", "embed"},
}

type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

func TestWhoMayImportWhom(t *testing.T) {
	standard := map[string]bool{}
	var ours []pkg
	for _, p := range list(t) {
		standard[p.ImportPath] = p.Standard
		if strings.HasPrefix(p.ImportPath, module) {
			ours = append(ours, p)
		}
	}
	if len(ours) < 10 {
		t.Fatalf("found %d packages of ours, want the whole tree", len(ours))
	}
	for _, p := range ours {
		folder := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range p.Imports {
			for _, b := range boundaries {
				if within(imported, b.guards) && !anyWithin(folder, b.allowed) {
					t.Errorf("%s imports %s: only %v may (%s)", folder, imported, b.allowed, b.why)
				}
			}
			if anyWithin(folder, stdlibOnly) && !standard[imported] {
				t.Errorf("%s imports %s: it may import the standard library only", folder, imported)
			}
		}
		for _, pair := range strangers {
			for _, dep := range p.Deps {
				if within(folder, pair[0]) && within(dep, module+pair[1]) {
					t.Errorf("%s depends on %s: %s and %s stay strangers", folder, dep, pair[0], pair[1])
				}
			}
		}
	}
}

// within reports whether path is the folder, lies below it, or starts with a prefix that ends in a slash.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

func anyWithin(path string, folders []string) bool {
	for _, folder := range folders {
		if within(path, folder) {
			return true
		}
	}
	return false
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
