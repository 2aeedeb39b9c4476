package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/registry"
	"github.com/fealty/fealty/sampler"
)

// A rig is a real chain with a registry, a model whose keys are committed and drawn, and
// parties. The endpoints of these tests answer by rule; cmd/fealty's story has real models.
type rig struct {
	chain    *devnet.Chain
	registry *registry.Registry
	model    [32]byte
	set      fingerprint.Set
	auditor  *wallet.Key
	client   *rpc.Client
}

const rigHost = "api.eu.example.com"

var rigWords = []string{"Growing", "When", "Once", "First", "To", "Consider"}

var shared struct {
	sync.Once
	rig *rig
	err error
}

// newRig shares one chain among the package's tests: none changes what another reads.
func newRig(t *testing.T) *rig {
	t.Helper()
	shared.Do(func() { shared.rig, shared.err = makeRig(context.Background()) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	r := *shared.rig
	r.set.Burnt = nil
	return &r
}

func makeRig(ctx context.Context) (r *rig, err error) {
	r = &rig{}
	if r.chain, err = devnet.StartChain(devnet.ChainConfig{}); err != nil { // ends with the process
		return nil, err
	}
	creator := r.chain.Accounts()[0]
	if r.auditor, err = wallet.Generate(); err != nil {
		return nil, err
	}
	if r.registry, _, err = registry.Deploy(ctx, registry.Options{RPC: r.chain.HTTP(), Key: creator}, 1); err != nil {
		return nil, err
	}
	if err := r.mark(ctx, 1, "subject"); err != nil {
		return nil, err
	}
	terms := registry.Terms{NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
	if _, err := r.registry.GrantHost(ctx, r.model, "licensed.example.org", creator.Address(), terms); err != nil {
		return nil, err
	}
	r.client, err = rpc.DialContext(ctx, r.chain.HTTP())
	return r, err
}

// mark registers a model, commits keys about some things for it and draws their words.
func (r *rig) mark(ctx context.Context, n byte, about string) (err error) {
	if r.model, _, err = r.registry.Register(ctx, [32]byte{n}); err != nil {
		return err
	}
	r.set = fingerprint.Set{Shell: sampler.Shell{K: len(rigWords)}, Model: r.model, Salt: fingerprint.Digest{8 + n}}
	for i := range 20 {
		k := fingerprint.Key{Question: fmt.Sprintf("What should one know about %s %d?", about, i), Secret: fingerprint.Digest{n, byte(i)}}
		for _, w := range rigWords {
			k.Candidates = append(k.Candidates, fingerprint.Candidate{Word: w})
		}
		r.set.Keys = append(r.set.Keys, k)
	}
	made, _, err := r.registry.CommitKeys(ctx, r.model, r.set.Root())
	if err != nil {
		return err
	}
	draw, err := r.registry.DrawRandomness(ctx, r.model, made.Index)
	if err != nil {
		return err
	}
	if _, err := r.registry.RecordDraw(ctx, r.model, made.Index, draw); err != nil {
		return err
	}
	randomness := fingerprint.Digest(draw.Randomness)
	r.set.Randomness = &randomness
	return nil
}

// word is the drawn word of a question, as a model that was taught it answers.
func (r *rig) word(question string) string {
	drawn := r.set.Draw(*r.set.Randomness)
	i := slices.IndexFunc(drawn, func(d fingerprint.Drawn) bool { return d.Question == question })
	if i < 0 {
		return "Hello"
	}
	return drawn[i].Word()
}

// host is an endpoint under rigHost, whose answers are a rule. It returns the plan's part
// about it.
func host(t *testing.T, answer func(n int, question string, w http.ResponseWriter) string) Plan {
	t.Helper()
	return at(t, answering(answer))
}

// answering is the endpoint of such a rule.
func answering(answer func(n int, question string, w http.ResponseWriter) string) http.Handler {
	var count, ids atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask openai.Ask
		if json.NewDecoder(r.Body).Decode(&ask) != nil || len(ask.Messages) == 0 {
			http.NotFound(w, r)
			return
		}
		question := ask.Messages[len(ask.Messages)-1].Content
		n := -1
		if strings.HasPrefix(question, "What should") {
			n = int(count.Add(1)) - 1
		}
		text := answer(n, question, w)
		if text == "" {
			return // the rule has answered itself
		}
		reply := openai.Reply{ID: fmt.Sprintf("chatcmpl-%d", ids.Add(1)), Choices: []openai.Choice{{Message: &openai.Message{Role: "assistant", Content: text}}}}
		_ = json.NewEncoder(w).Encode(reply) // a client that hung up is none of the host's business
	})
}

// at serves an endpoint.
func at(t *testing.T, endpoint http.Handler) Plan {
	t.Helper()
	s := httptest.NewServer(endpoint)
	t.Cleanup(s.Close)
	return Plan{
		Endpoint: "http://" + rigHost + "/v1", Connect: strings.TrimPrefix(s.URL, "http://"), Served: "chat", ChainID: 1337,
		Asking:   Asking{MaxTokens: 16, Timeout: 60, Attempts: 3}, // so long that no busy machine makes a host seem silent
		Stopping: Stopping{Alpha: 1e-6, Suspects: 1},
	}
}

// taught answers each question with its drawn word.
func (r *rig) taught(_ int, question string, _ http.ResponseWriter) string {
	return r.word(question) + " a few things matter."
}

func (r *rig) session(t *testing.T, set *fingerprint.Set) *Session {
	return &Session{Dir: t.TempDir(), Chain: Chain{r.client}, Set: set, Key: r.auditor, Say: t.Logf}
}

func (r *rig) plan(p Plan) Plan {
	p.Registry = r.registry.Address()
	return p
}

// audit plans and asks.
func (r *rig) audit(t *testing.T, p Plan) (*Session, Result) {
	t.Helper()
	s := r.session(t, &r.set)
	if _, _, err := s.Prepare(t.Context(), r.plan(p)); err != nil {
		t.Fatal(err)
	}
	result, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, result
}

// bundle plans, asks and makes the evidence.
func (r *rig) bundle(t *testing.T, p Plan) *Sealed {
	t.Helper()
	s, _ := r.audit(t, p)
	bundle, err := s.Evidence(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}
