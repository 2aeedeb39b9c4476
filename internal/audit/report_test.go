package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The report shows each question and answer, escaped, and loads nothing.
func TestReport(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := host(t, r.taught)
	p.Served = `<script src="http://evil.example/x.js"></script>`
	bundle := r.bundle(t, p)
	var out bytes.Buffer
	if err := Report(&out, bundle, Check(bundle, Trust{})); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{"The endpoint answers as the model.", "chain state claimed", "reseller", "subject 19?", "20 of 20 answers match", "a claim needs: 14<", "&lt;script", "<polyline"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if strings.Contains(text, "<script") || regexp.MustCompile(`(src|href)=|url\(|@import`).MatchString(strings.ReplaceAll(text, "&#34;", "")) && !strings.Contains(text, "&lt;script src=") {
		t.Error("the report loads something")
	}
	if to := os.Getenv("FEALTY_REPORT"); to != "" {
		if err := os.WriteFile(to, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out.Reset()
	bundle.Signature = strings.Replace(bundle.Signature, "0x", "0x0", 1)
	if err := Report(&out, bundle, Check(bundle, Trust{})); err != nil || !strings.Contains(out.String(), "This file says nothing about any endpoint") {
		t.Errorf("an unsound bundle: %v, %s", err, out.String())
	}
}

// The schema that is published names every member that a bundle has, and no other.
func TestSchema(t *testing.T) {
	t.Parallel()
	plain, signed := newRig(t), newRig(t)
	inSchema(t, plain.bundle(t, host(t, plain.taught)), false)
	inSchema(t, signed.bundle(t, signed.delegate(t).serve(t, licensedHost)), true)
}

// inSchema wants all that is optional if whole, and none of it otherwise.
func inSchema(t *testing.T, bundle *Sealed, whole bool) {
	t.Helper()
	bundle.Statement = bytes.Replace(bundle.Statement, []byte(`"attachments":[]`), []byte(`"attachments":[{"type":"tls attestation x","sha256":"","data":""}]`), 1)
	text, err := json.Marshal(bundle)
	if err != nil {
		t.Fatal(err)
	}
	var schema, value any
	raw, err := os.ReadFile("../../docs/evidence.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	conforms(t, schema.(map[string]any), schema.(map[string]any), value, "bundle", whole)
}

// conforms checks the parts of JSON Schema that ours uses: type, properties, required,
// additionalProperties false, items, pattern, const, $ref.
func conforms(t *testing.T, root, s map[string]any, v any, at string, whole bool) {
	t.Helper()
	if ref, ok := s["$ref"].(string); ok {
		s = root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	if c, ok := s["const"]; ok && c != v {
		t.Errorf("%s is %v, the schema wants %v", at, v, c)
	}
	switch v := v.(type) {
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		required, _ := s["required"].([]any)
		if s["type"] != "object" || s["additionalProperties"] != false {
			t.Fatalf("%s: the schema is loose: %v", at, s["type"])
		}
		for name := range properties {
			if _, ok := v[name]; ok != (whole || slices.Contains(required, any(name))) {
				t.Errorf("%s.%s is there: %v; the schema requires %v", at, name, ok, required)
			}
		}
		for name, member := range v {
			property, ok := properties[name].(map[string]any)
			if !ok {
				t.Errorf("the schema does not know %s.%s", at, name)
				continue
			}
			conforms(t, root, property, member, at+"."+name, whole)
		}
	case []any:
		if s["type"] != "array" {
			t.Errorf("%s is an array, the schema says %v", at, s["type"])
		}
		for _, item := range v {
			conforms(t, root, s["items"].(map[string]any), item, at+"[]", whole)
		}
	case string:
		if pattern, ok := s["pattern"].(string); s["type"] != "string" && s["const"] == nil || ok && v != "" && !regexp.MustCompile(pattern).MatchString(v) {
			t.Errorf("%s is %.80q, the schema says %v %v", at, v, s["type"], s["pattern"])
		}
	case float64:
		if s["type"] != "number" && s["type"] != "integer" {
			t.Errorf("%s is a number, the schema says %v", at, s["type"])
		}
	case bool:
		if s["type"] != "boolean" {
			t.Errorf("%s is a boolean, the schema says %v", at, s["type"])
		}
	}
}
