// Package manifests holds the deployment manifests to the schemas of those who will read
// them: Compose's, Kustomize's and Kubernetes' own types, with no field unknown. What the
// manifests mean is held by cmd/fealty's tests. It is a module of its own, so that none of
// these libraries is linked into fealty.
package manifests

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

var deploy = filepath.Join("..", "..", "configs", "deploy")

func TestCompose(t *testing.T) {
	project, err := compose(t, filepath.Join(deploy, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Services) < 5 {
		t.Errorf("the project has %d services", len(project.Services))
	}
}

func compose(t *testing.T, path string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{path}, cli.WithEnv([]string{"FEALTY_RPC=http://127.0.0.1:8545"}))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(t.Context())
}

func TestKustomize(t *testing.T) {
	strict := strict(t)
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(deploy, "base"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, r := range built.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := strict.Decode(text, nil, nil); err != nil {
			t.Errorf("%s %s: %v", r.GetKind(), r.GetName(), err)
		}
		if r.GetNamespace() != "fealty" {
			t.Errorf("%s %s lies in namespace %q", r.GetKind(), r.GetName(), r.GetNamespace())
		}
		kinds[r.GetKind()]++
	}
	for _, kind := range []string{"Deployment", "StatefulSet", "Service", "NetworkPolicy", "ConfigMap", "PodDisruptionBudget", "Job"} {
		if kinds[kind] == 0 {
			t.Errorf("the base builds no %s", kind)
		}
	}
}

// strict reads the kinds of Kubernetes that the base uses, and no field that they lack.
func strict(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{core.AddToScheme, apps.AddToScheme, batch.AddToScheme, networking.AddToScheme, policy.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
}

// The checks above can fail: a field that nobody knows is noticed.
func TestUnknownFields(t *testing.T) {
	if _, _, err := strict(t).Decode([]byte("apiVersion: v1\nkind: Service\nspec: {port: 1}\n"), nil, nil); err == nil {
		t.Error("a Service with spec.port is taken")
	}
	path := filepath.Join(t.TempDir(), "compose.yaml")
	if err := os.WriteFile(path, []byte("name: x\nservices: {a: {image: b, secret: [c]}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := compose(t, path); err == nil {
		t.Error("a service with the field secret is taken")
	}
}
