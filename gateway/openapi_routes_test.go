package gateway

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The document names every public route with its methods, and no other.
func TestOpenAPINamesTheRoutes(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	var described, served []string
	parameter := regexp.MustCompile(`\{[a-z]+\}$`)
	for path, methods := range doc.Paths {
		for method := range methods {
			described = append(described, strings.ToUpper(method)+" "+parameter.ReplaceAllString(path, ""))
		}
	}
	for path, methods := range routes {
		for method := range maps.Keys(methods) {
			served = append(served, method+" "+path)
		}
	}
	slices.Sort(described)
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("described: %q\nserved:    %q", described, served)
	}
}
