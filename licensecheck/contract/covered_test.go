package contract

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
)

// covered is what of the registry's interface the tests of this package saw happen.
var covered = coverage{seen: map[string]bool{}}

type coverage struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (c *coverage) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[what] = true
}

func (c *coverage) failure(name string) { c.note("error " + name) }
func (c *coverage) event(name string)   { c.note("event " + name) }

// function notes a call that succeeded.
func (c *coverage) function(data []byte) {
	if len(data) < 4 {
		return
	}
	parsed := bindings.GetABI()
	if m, err := parsed.MethodById(data); err == nil {
		c.note("function " + m.Name)
	}
}

// unreachable is what the libraries declare and the registry cannot do.
var unreachable = map[string]string{
	"error InvalidShortString":  "EIP712 decodes its short name and version, which were made by itself",
	"error StringTooLong":       "EIP712's name and version are constants that fit",
	"error InsufficientBalance": "the registry passes on what the same call brought",
	"event EIP712DomainChanged": "the domain never changes",
}

// missing lists what the ABI has and no test saw, and what is on the list of the
// unreachable although it is not in the ABI, or was seen.
func (c *coverage) missing() []string {
	parsed := bindings.GetABI()
	all := map[string]bool{}
	for name := range parsed.Errors {
		all["error "+name] = true
	}
	for name := range parsed.Events {
		all["event "+name] = true
	}
	for name := range parsed.Methods {
		all["function "+name] = true
	}
	var out []string
	for _, what := range slices.Sorted(maps.Keys(all)) {
		if !c.seen[what] && unreachable[what] == "" {
			out = append(out, what+" was never seen")
		}
	}
	for what := range unreachable {
		if !all[what] || c.seen[what] {
			out = append(out, what+" is listed as unreachable; it is not in the ABI, or was seen")
		}
	}
	return out
}

// TestMain holds a run of all tests to the whole interface.
func TestMain(m *testing.M) {
	code := m.Run()
	whole := true
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.bench"} {
		whole = whole && flag.Lookup(name).Value.String() == ""
	}
	if whole && code == 0 {
		for _, what := range covered.missing() {
			fmt.Fprintln(os.Stderr, "FAIL: the registry's", what)
			code = 1
		}
	}
	os.Exit(code)
}
