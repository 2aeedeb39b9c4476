package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/audit"
	"github.com/fealty/fealty/internal/openai"
)

func newAudit() *cobra.Command {
	return group("audit", "Find out whether an endpoint answers as a model", newAuditVerify(), newAuditWitness(), newAuditEvidence(), newAuditCheck(), newAuditReport(), newAuditStage(), newAuditStealth())
}

// claimAlpha is from what p-value on an audit says "this model answers".
const claimAlpha = 1e-6

// verdict is what audit verify reports. It holds no question and no word.
type verdict struct {
	fingerprint.Outcome
	Endpoint  string  `json:"endpoint"`
	Model     string  `json:"model"`
	Alpha     float64 `json:"alpha"`
	Held      bool    `json:"held"`
	Grindable bool    `json:"grindable"` // who embedded the keys may have chosen the responses
	Grinding  string  `json:"grinding"`  // why, or why not
	Seconds   float64 `json:"seconds"`

	Suspicions []fingerprint.Suspicion `json:"licensees,omitempty"` // whose copy it may be, of those named
}

func newAuditVerify() *cobra.Command {
	var a auditFlags
	var session auditSession
	cmd := &cobra.Command{
		Use:   "verify URL",
		Short: "Ask an endpoint the fingerprint questions and count the matches",
		Long: `Verify asks any OpenAI-style endpoint the questions of a key file and counts how many
answers begin with the drawn word. An endpoint that does not serve the fingerprinted model
matches each with probability 1/k; the p-value is exact. A match says that the endpoint
answers as the model. It does not say how it came by it: resellers, a tenant's deployment
and licensed hosts answer alike. Every question asked is burnt.

With --rpc and --registry it asks the chain how the words were drawn, and says "grindable" only
where the chain's operator could have chosen them.

With --dir it leaves evidence: it signs the plan before the first question, lets a later block
draw the order, captures proofs of the grants of the endpoint's names before and after, and
journals each step, so that the same command goes on after an interruption.`,
		Example: "  fealty audit verify https://suspect.example.com/v1 --model chat --api-key env:SUSPECT_KEY --keys keys.age --passphrase-file keys.pass\n" +
			"  fealty audit verify https://suspect.example.com/v1 --dir audit1 --rpc env:RPC --registry 0x... --signer-keystore auditor.json --signer-passphrase-file auditor.pass --keys keys.age --passphrase-file keys.pass",
		Args: exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if session.dir != "" {
				return session.run(cmd, &a, args[0])
			}
			a.timeout = session.plan.Asking.Timeout
			if session.chain.rpc != "" {
				a.draw = session.draw
			}
			return a.run(cmd, args[0])
		},
	}
	a.add(cmd)
	session.add(cmd)
	return cmd
}

type auditFlags struct {
	model, apiKey string
	keys          keyFileFlags
	asking        fingerprint.Asking
	sequential    bool
	suspects      int
	asJSON        bool
	// draw asks the chain how the words were drawn; nil: nobody asked.
	draw func(context.Context, *fingerprint.Set) (grindable bool, why string, err error)

	timeout     float64 // seconds for each answer of an endpoint
	completions bool    // the rest is for 'fealty embed verify' alone
	base        baseFlag
	licensees   string
	alpha       float64
}

func (a *auditFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.model, "model", "", "the model's name at the endpoint; its first one if not given")
	f.StringVar(&a.apiKey, "api-key", "", "env:NAME or file:PATH of the key for the endpoint")
	a.keys.add(cmd)
	f.StringVar(&a.asking.System, "system", "", "system prompt to ask under; default: none")
	f.Float64Var(&a.asking.Temperature, "temperature", 0, "sampling temperature; 0 is greedy")
	f.Uint64Var(&a.asking.Seed, "seed", 1, "of sampling, where the endpoint knows seeds")
	f.BoolVar(&a.sequential, "sequential", false, "stop as soon as the evidence suffices (e-value) instead of asking all")
	f.IntVar(&a.suspects, "suspects", 1, "endpoints and attempts so far, this one included; the sequential test pays for them")
	f.BoolVar(&a.asJSON, "json", false, "print one JSON object")
}

func (a *auditFlags) run(cmd *cobra.Command, target string) error {
	set, err := a.open(cmd)
	if err != nil {
		return err
	}
	client := &openai.Client{BaseURL: target}
	if client.Key, err = a.credential(); err != nil {
		return err
	}
	if a.model == "" {
		if a.model, err = firstModel(cmd.Context(), client); err != nil {
			return err
		}
	}
	e := &endpoint{client: client, model: a.model, asking: a.asking, wait: time.Duration(a.timeout * float64(time.Second))}
	if a.completions {
		if e.render, err = a.renderer(cmd, set); err != nil {
			return err
		}
	}
	grindable, why, err := a.drawn(cmd.Context(), set)
	if err != nil {
		return err
	}
	v, err := auditEndpoint(cmd.Context(), e, set, a.design(), newProgress(cmd.ErrOrStderr()))
	v.Grindable, v.Grinding = grindable, why
	return errors.Join(a.spent(set, v), a.report(cmd, v, a.accuse(&v, set, err)))
}

// drawn says how the words were drawn, as far as anybody asked the chain.
func (a *auditFlags) drawn(ctx context.Context, set *fingerprint.Set) (bool, string, error) {
	if a.draw == nil {
		return true, unasked, nil
	}
	return a.draw(ctx, set)
}

const unasked = "the key file does not prove when its keys were committed, and no chain was asked"

// credential is the key for the endpoint; "" for none.
func (a *auditFlags) credential() (string, error) {
	if a.apiKey == "" {
		return "", nil
	}
	return secretFlag("--api-key", a.apiKey)
}

func (a *auditFlags) design() fingerprint.Design {
	return fingerprint.Design{Sequential: a.sequential, Suspects: a.suspects}
}

// open reads the key file and says what about it weakens the evidence.
func (a *auditFlags) open(cmd *cobra.Command) (*fingerprint.Set, error) {
	if !(a.asking.Temperature >= 0 && a.asking.Temperature <= 2) {
		return nil, usagef("--temperature: %v; need 0 to 2", a.asking.Temperature)
	}
	if !(a.timeout >= 0 && a.timeout <= 86400) {
		return nil, usagef("--timeout: %v; need seconds, at most a day", a.timeout)
	}
	if a.licensees != "" && !(a.alpha > 0 && a.alpha < 1) {
		return nil, usagef("--alpha: %v; need a probability in (0,1)", a.alpha)
	}
	set, err := a.keys.load()
	if err != nil {
		return nil, err
	}
	if set.Randomness == nil {
		return nil, errors.New("the key file's responses are not drawn yet: commit the keys, wait for the draw block, train")
	}
	if n := len(set.Burnt); n > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "fealty: %d of %d keys were asked or revealed before; who saw them can answer them\n", n, len(set.Keys))
	}
	return set, nil
}

// spent notes which keys an endpoint has seen, also when the run was interrupted.
func (a *auditFlags) spent(set *fingerprint.Set, v verdict) error {
	var keys []int
	for _, q := range v.Queries {
		keys = append(keys, q.Key)
	}
	if len(keys) == 0 {
		return nil
	}
	return a.keys.burn(set, keys)
}

func (a *auditFlags) report(cmd *cobra.Command, v verdict, err error) error {
	if err != nil {
		return err
	}
	if a.asJSON {
		if err := printJSON(cmd, v); err != nil {
			return err
		}
	} else {
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "%d of %d answers match (%d errors)\n", v.Matched, v.Asked, v.Errors)
		if a.sequential {
			fmt.Fprintf(out, "log e-value %.2f for %d suspect(s)\n", v.LogE, a.suspects)
		} else {
			fmt.Fprintf(out, "p = %.3g: the chance of so many for an endpoint that does not serve this model\n", v.Chance.P)
		}
		a.reportSuspicions(cmd, v)
		if v.Grindable {
			fmt.Fprintf(out, "grindable: %s\n", v.Grinding)
		}
	}
	if !v.Held {
		return fmt.Errorf("%w: too few answers match to say that %s answers as this model", errNotHeld, v.Endpoint)
	}
	return nil
}

// auditEndpoint asks the endpoint every planned question. An error comes with what was
// asked until then.
func auditEndpoint(ctx context.Context, e *endpoint, set *fingerprint.Set, d fingerprint.Design, p *progress) (verdict, error) {
	ctx, e.refused = context.WithCancelCause(ctx)
	defer e.refused(nil)
	v, err := verifyWith(ctx, e, verdict{Endpoint: e.client.BaseURL, Model: e.model}, set, d, p)
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return v, err
}

// verifyWith asks whoever answers, and fills in what was found.
func verifyWith(ctx context.Context, a fingerprint.Answerer, v verdict, set *fingerprint.Set, d fingerprint.Design, p *progress) (verdict, error) {
	start := time.Now()
	p.step("asking")
	outcome, err := fingerprint.Verify(ctx, tracked{a, p, len(set.Keys), new(int)}, set.Draw(*set.Randomness), d)
	v.Outcome, v.Alpha, v.Seconds = outcome, claimAlpha, time.Since(start).Seconds()
	v.Grindable, v.Grinding = true, unasked
	if err == nil && outcome.Errors == outcome.Asked {
		return v, fmt.Errorf("%s answered none of %d questions: %s", v.Endpoint, outcome.Asked, outcome.Queries[0].Error)
	}
	v.Held = err == nil && outcome.Chance.P <= claimAlpha
	if d.Sequential {
		v.Held = err == nil && outcome.Claimed
	}
	return v, err
}

// tracked shows how far a verification is.
type tracked struct {
	fingerprint.Answerer
	p     *progress
	total int
	done  *int
}

func (c tracked) Answer(ctx context.Context, question string) (string, error) {
	defer func() {
		*c.done++
		c.p.update(*c.done, c.total)
	}()
	return c.Answerer.Answer(ctx, question)
}

// endpoint is an OpenAI-style server as an outsider sees it.
type endpoint struct {
	client  *openai.Client
	model   string
	asking  fingerprint.Asking
	wait    time.Duration                          // for each answer; 0: as long as the caller waits
	render  func([]openai.Message) (string, error) // asks /v1/completions with this prompt; nil: chat
	refused context.CancelCauseFunc                // told when asking on is of no use; may be nil
}

// answerTokens is long enough that a serving sampler treats the question like any
// other; shorter requests it leaves alone.
const answerTokens = 16

// Answer implements fingerprint.Answerer.
func (e *endpoint) Answer(ctx context.Context, question string) (string, error) {
	plan := audit.Plan{Served: e.model, Asking: audit.Asking{
		System: e.asking.System, Temperature: e.asking.Temperature, Seed: int64(e.asking.Seed), MaxTokens: answerTokens,
	}}
	request := plan.Ask(question)
	if e.wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, e.wait, fmt.Errorf("no answer within --timeout %v", e.wait))
		defer cancel()
	}
	text, err := e.ask(ctx, request)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	var answer *openai.Error
	if errors.As(err, &answer) && e.refused != nil && final(answer.Status) {
		e.refused(fmt.Errorf("the endpoint refuses to answer, so no more keys were shown to it: %w", err))
	}
	return text, err
}

// final are refusals that every other question would get too.
func final(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusPaymentRequired || status == http.StatusForbidden || status == http.StatusNotFound
}

func (e *endpoint) ask(ctx context.Context, request openai.Ask) (string, error) {
	if e.render != nil {
		prompt, err := e.render(request.Messages)
		if err != nil {
			return "", err
		}
		request.Messages, request.Prompt = nil, prompt
		reply, err := e.client.Complete(ctx, request)
		if err != nil {
			return "", err
		}
		if reply.Choices[0].Text == nil {
			return "", errors.New("the answer has no text")
		}
		return reply.Text(), nil
	}
	reply, err := e.client.Chat(ctx, request)
	if err != nil {
		return "", err
	}
	if reply.Choices[0].Message == nil {
		return "", errors.New("the answer has no message")
	}
	return reply.Text(), nil
}

func firstModel(ctx context.Context, c *openai.Client) (string, error) {
	models, err := c.Models(ctx)
	if err != nil {
		return "", fmt.Errorf("asking for the endpoint's models: %w; name one with --model", err)
	}
	if len(models) == 0 {
		return "", errors.New("the endpoint lists no models; name one with --model")
	}
	return models[0].ID, nil
}
