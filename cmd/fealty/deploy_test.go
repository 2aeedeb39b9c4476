package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fealty/fealty/gateway"
)

// The deployment manifests are held, offline, to what they name: configs that load,
// files and secrets that are there, servers at the names and ports that others ask.

func deployPath(parts ...string) string {
	return filepath.Join(append([]string{root(), "configs", "deploy"}, parts...)...)
}

// documents reads every YAML document of a file.
func documents[T any](t *testing.T, path string) (all []T) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var one T
		if err := d.Decode(&one); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, one)
	}
}

// deployed is what a gateway's config wants of the place it runs in.
type deployed struct {
	cfg     gateway.Config
	secrets []string          // names below /run/secrets
	env     map[string]string // what the manifest gives it
	ports   map[string]bool   // host:port of everything that listens
}

func loadDeployed(t *testing.T) *deployed {
	t.Helper()
	path := deployPath("base", "serve.yaml")
	cfg, err := gateway.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := &deployed{cfg: cfg, env: map[string]string{}, ports: map[string]bool{}}
	for _, m := range regexp.MustCompile(`file:/run/secrets/([a-z-]+)`).FindAllSubmatch(text, -1) {
		d.secrets = append(d.secrets, string(m[1]))
	}
	return d
}

// check holds what the manifest gives to what the config wants.
func (d *deployed) check(t *testing.T, secrets []string, grace time.Duration) {
	t.Helper()
	for _, name := range d.secrets {
		if !slices.Contains(secrets, name) {
			t.Errorf("the config wants the secret %s; the manifest gives %v", name, secrets)
		}
	}
	for _, s := range []gateway.Secret{d.cfg.Redis.State, d.cfg.Redis.Cache, d.cfg.Chains[0].RPC[0]} {
		if name := strings.TrimPrefix(s.String(), "env:"); d.env[name] == "" {
			t.Errorf("the config wants %s in the environment; the manifest does not set it", name)
		}
	}
	for _, name := range []string{"FEALTY_STATE_REDIS", "FEALTY_CACHE_REDIS"} {
		hosts, _, _ := strings.Cut(strings.TrimPrefix(d.env[name], "redis://"), "?")
		for _, host := range strings.Split(hosts, ",") {
			d.reaches(t, name, host)
		}
	}
	for _, m := range d.cfg.Models {
		for _, u := range m.Backend.Upstreams {
			at, err := url.Parse(u.URL)
			if err != nil {
				t.Fatal(err)
			}
			d.reaches(t, m.Name, at.Host)
		}
	}
	if want := d.cfg.Timeouts.Unready + d.cfg.Timeouts.Drain + 5*time.Second; grace < want {
		t.Errorf("a gateway is killed %s after it was told to stop; unready, drain and five seconds are %s", grace, want)
	}
}

func (d *deployed) reaches(t *testing.T, what, address string) {
	t.Helper()
	if !d.ports[address] {
		t.Errorf("%s is at %s, where nothing listens", what, address)
	}
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var pinned = regexp.MustCompile(`^[a-z0-9./-]+:(v?[0-9]+\.[0-9]+\.[0-9]+[a-z0-9.-]*|local)$`)

func checkImage(t *testing.T, image string) {
	t.Helper()
	if !pinned.MatchString(image) {
		t.Errorf("image %q has no exact version", image)
	}
}

type composeFile struct {
	Services map[string]struct {
		Image    string
		Command  any
		Build    *struct{ Context, Dockerfile string }
		Env      map[string]string `yaml:"environment"`
		Secrets  []string
		Volumes  []string
		Expose   []string
		Ports    []string
		Depends  []string `yaml:"depends_on"`
		Grace    string   `yaml:"stop_grace_period"`
		Networks map[string]struct{ Aliases []string }
	}
	Secrets map[string]struct{ File string }
	Volumes map[string]any
}

func TestCompose(t *testing.T) {
	all := documents[composeFile](t, deployPath("compose.yaml"))
	d, c := loadDeployed(t), all[0]
	gateways := 0
	for name, s := range c.Services {
		checkImage(t, s.Image)
		for _, p := range append(s.Expose, s.Ports...) {
			_, inside, found := strings.Cut(p, ":")
			if !found {
				inside = p
			}
			d.ports[name+":"+inside] = true
			for _, alias := range s.Networks["default"].Aliases {
				d.ports[alias+":"+inside] = true
			}
		}
		for _, other := range s.Depends {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, other)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			_, named := c.Volumes[from]
			if _, err := os.Stat(deployPath(from)); err != nil && !named && from != "./models" {
				t.Errorf("%s mounts %s: %v", name, from, err)
			}
		}
		if !strings.HasPrefix(name, "gateway-") {
			continue
		}
		gateways++
		if _, err := os.Stat(deployPath(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Error(err)
		}
		for _, address := range []string{d.cfg.Listen, d.cfg.Admin.Listen} {
			if !slices.Contains(s.Expose, port(t, address)) {
				t.Errorf("%s exposes %v, and listens on %s", name, s.Expose, address)
			}
		}
		d.env = s.Env
	}
	if gateways != 3 {
		t.Errorf("%d gateways, want 3", gateways)
	}
	var secrets []string
	for _, name := range c.Services["gateway-1"].Secrets {
		if c.Secrets[name].File != "" {
			secrets = append(secrets, name)
		}
	}
	grace, err := time.ParseDuration(c.Services["gateway-1"].Grace)
	if err != nil {
		t.Fatal(err)
	}
	d.check(t, secrets, grace)
	text, err := os.ReadFile(deployPath("nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`server (gateway-\d:\d+)`).FindAllSubmatch(text, -1) {
		d.reaches(t, "nginx.conf", string(m[1]))
	}
}

type kustomizeObject struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		Replicas    int
		ServiceName string `yaml:"serviceName"`
		Selector    any
		ClusterIP   string `yaml:"clusterIP"`
		Ports       []struct{ Port int }
		Guards      labels   `yaml:"podSelector"`
		Policies    []string `yaml:"policyTypes"`
		Ingress     []struct {
			From []struct {
				Pods labels `yaml:"podSelector"`
			}
			Ports []struct{ Port int }
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     kustomizePod
		}
	}
}

// checkPolicies: each of the pods that know nobody by a credential lets in, at the ports
// it has, its own kind and who is named for it, and nobody else.
func checkPolicies(t *testing.T, objects []kustomizeObject) {
	t.Helper()
	want := map[string][]string{
		"state":    {"gateway:6379", "sentinel:6379", "state:6379"},
		"sentinel": {"gateway:26379", "sentinel:26379", "state:26379"},
		"cache":    {"cache-init:6379", "cache:16379", "cache:6379", "gateway:6379"},
		"vllm":     {"gateway:8000"},
	}
	got, pods := map[string][]string{}, map[string]bool{}
	for _, o := range objects {
		pods[o.Spec.Template.Metadata.Labels["app"]] = true
		if o.Kind != "NetworkPolicy" {
			continue
		}
		if !slices.Equal(o.Spec.Policies, []string{"Ingress"}) {
			t.Errorf("the policy %s is about %v, want Ingress", o.Metadata.Name, o.Spec.Policies)
		}
		for _, guarded := range o.Spec.Guards.apps() {
			got[guarded] = append(got[guarded], o.admits(t)...)
		}
	}
	for app, who := range want {
		slices.Sort(got[app])
		if !slices.Equal(got[app], who) || !pods[app] {
			t.Errorf("%s lets in %v, want %v", app, got[app], who)
		}
	}
	for _, who := range got {
		for _, entry := range who {
			if app, _, _ := strings.Cut(entry, ":"); !pods[app] {
				t.Errorf("a policy lets in %s, and no pod has that label", app)
			}
		}
	}
}

// admits lists what a policy lets in, as app:port.
func (o kustomizeObject) admits(t *testing.T) (all []string) {
	t.Helper()
	for _, rule := range o.Spec.Ingress {
		if len(rule.From) == 0 || len(rule.Ports) == 0 {
			t.Errorf("the policy %s has a rule for everybody or every port", o.Metadata.Name)
		}
		for _, from := range rule.From {
			if len(from.Pods.apps()) == 0 {
				t.Errorf("the policy %s lets in any pod", o.Metadata.Name)
			}
			for _, app := range from.Pods.apps() {
				for _, p := range rule.Ports {
					all = append(all, fmt.Sprintf("%s:%d", app, p.Port))
				}
			}
		}
	}
	return all
}

// labels select pods by their app.
type labels struct {
	Match       map[string]string `yaml:"matchLabels"`
	Expressions []struct {
		Key, Operator string
		Values        []string
	} `yaml:"matchExpressions"`
}

// apps are those that are selected; nil: any.
func (l labels) apps() (all []string) {
	if app := l.Match["app"]; app != "" {
		all = append(all, app)
	}
	for _, e := range l.Expressions {
		if e.Key == "app" && e.Operator == "In" {
			all = append(all, e.Values...)
		}
	}
	return all
}

type kustomizePod struct {
	Grace      int `yaml:"terminationGracePeriodSeconds"`
	Containers []struct {
		Image string
		Env   []struct {
			Name, Value string
			ValueFrom   any `yaml:"valueFrom"`
		}
		Ports []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		Readiness struct {
			HTTP struct{ Path, Port string } `yaml:"httpGet"`
		} `yaml:"readinessProbe"`
		Mounts []struct {
			Name string
			Path string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	Volumes []struct {
		Name      string
		ConfigMap struct{ Name string } `yaml:"configMap"`
		Secret    struct{ Items []struct{ Path string } }
	}
}

func TestKustomize(t *testing.T) {
	type kustomization struct {
		Resources []string
		Maps      []struct {
			Name  string
			Files []string
		} `yaml:"configMapGenerator"`
	}
	k := documents[kustomization](t, deployPath("base", "kustomization.yaml"))[0]
	maps := map[string]bool{"": true}
	for _, m := range k.Maps {
		maps[m.Name] = true
		for _, f := range m.Files {
			if _, err := os.Stat(deployPath("base", f)); err != nil {
				t.Error(err)
			}
		}
	}
	d := loadDeployed(t)
	var objects []kustomizeObject
	for _, f := range k.Resources {
		objects = append(objects, documents[kustomizeObject](t, deployPath("base", f))...)
	}
	var served *kustomizePod
	for _, o := range objects {
		pod := o.Spec.Template.Spec
		for _, v := range pod.Volumes {
			if !maps[v.ConfigMap.Name] {
				t.Errorf("%s mounts the config map %q, which nothing makes", o.Metadata.Name, v.ConfigMap.Name)
			}
		}
		for _, c := range pod.Containers {
			checkImage(t, c.Image)
			for _, p := range c.Ports {
				for i := range o.Spec.Replicas { // the names of a StatefulSet's pods
					d.ports[fmt.Sprintf("%s-%d.%s:%d", o.Metadata.Name, i, o.Spec.ServiceName, p.ContainerPort)] = o.Spec.ServiceName != ""
				}
			}
		}
		if o.Kind == "Deployment" && o.Metadata.Name == "gateway" {
			served = &pod
		}
		if name := o.Spec.ServiceName; name != "" && !slices.ContainsFunc(objects, func(s kustomizeObject) bool {
			return s.Kind == "Service" && s.Metadata.Name == name && s.Spec.ClusterIP == "None"
		}) {
			t.Errorf("%s wants the headless service %s, which is not there", o.Metadata.Name, name)
		}
	}
	if served == nil {
		t.Fatal("there is no gateway")
	}
	checkPolicies(t, objects)
	c := served.Containers[0]
	for _, e := range c.Env {
		if d.env[e.Name] = e.Value; e.ValueFrom != nil {
			d.env[e.Name] = "from a secret"
		}
	}
	for i, address := range []string{d.cfg.Listen, d.cfg.Admin.Listen} {
		if fmt.Sprint(c.Ports[i].ContainerPort) != port(t, address) {
			t.Errorf("port %s of the manifest is %d; the config says %s", c.Ports[i].Name, c.Ports[i].ContainerPort, address)
		}
	}
	if p := c.Readiness.HTTP; p.Path != "/readyz" || p.Port != c.Ports[1].Name {
		t.Errorf("the readiness probe asks %s at %s, want /readyz at the admin port", p.Path, p.Port)
	}
	var secrets []string
	for _, v := range served.Volumes {
		for _, item := range v.Secret.Items {
			secrets = append(secrets, item.Path)
		}
	}
	d.check(t, secrets, time.Duration(served.Grace)*time.Second)
}
