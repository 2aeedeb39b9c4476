package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/openai"
)

func newAudit() *cobra.Command {
	return group("audit", "Find out whether an endpoint answers as a model", newAuditVerify())
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
	Seconds   float64 `json:"seconds"`
}

func newAuditVerify() *cobra.Command {
	var a auditFlags
	cmd := &cobra.Command{
		Use:   "verify URL",
		Short: "Ask an endpoint the fingerprint questions and count the matches",
		Long: `Verify asks any OpenAI-style endpoint the questions of a key file and counts how many
answers begin with the drawn word. An endpoint that does not serve the fingerprinted model
matches each with probability 1/k; the p-value is exact. A match says that the endpoint
answers as the model. It does not say how it came by it: resellers, a tenant's deployment
and licensed hosts answer alike. Every question asked is burnt.`,
		Example: "  fealty audit verify https://suspect.example.com/v1 --model chat --api-key env:SUSPECT_KEY --keys keys.age --passphrase-file keys.pass",
		Args:    exactArgs("URL"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.run(cmd, args[0]) },
	}
	cmd.Flags().StringVar(&a.model, "model", "", "the model's name at the endpoint; its first one if not given")
	cmd.Flags().StringVar(&a.apiKey, "api-key", "", "env:NAME or file:PATH of the key for the endpoint")
	a.keys.add(cmd)
	cmd.Flags().BoolVar(&a.sequential, "sequential", false, "stop as soon as the evidence suffices (e-value) instead of asking all")
	cmd.Flags().IntVar(&a.suspects, "suspects", 1, "endpoints and attempts so far, this one included; the sequential test pays for them")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print one JSON object")
	return cmd
}

type auditFlags struct {
	model, apiKey string
	keys          keyFileFlags
	sequential    bool
	suspects      int
	asJSON        bool
}

func (a *auditFlags) run(cmd *cobra.Command, url string) error {
	set, err := a.keys.load()
	if err != nil {
		return err
	}
	if set.Randomness == nil {
		return errors.New("the key file's responses are not drawn yet: commit the keys, wait for the draw block, train")
	}
	client := &openai.Client{BaseURL: url}
	if a.apiKey != "" {
		if client.Key, err = secretFlag("--api-key", a.apiKey); err != nil {
			return err
		}
	}
	if a.model == "" {
		if a.model, err = firstModel(cmd.Context(), client); err != nil {
			return err
		}
	}
	p := newProgress(cmd.ErrOrStderr())
	v, err := auditEndpoint(cmd.Context(), client, a.model, set, fingerprint.Design{Sequential: a.sequential, Suspects: a.suspects}, p)
	if err != nil {
		return err
	}
	return a.report(cmd, v)
}

func (a *auditFlags) report(cmd *cobra.Command, v verdict) error {
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
		fmt.Fprintln(out, "the key file does not prove when its keys were committed; 'grindable' until checked against the chain")
	}
	if !v.Held {
		return fmt.Errorf("%w: too few answers match to say that %s answers as this model", errNotHeld, v.Endpoint)
	}
	return nil
}

// auditEndpoint asks the endpoint every planned question.
func auditEndpoint(ctx context.Context, c *openai.Client, model string, set *fingerprint.Set, d fingerprint.Design, p *progress) (verdict, error) {
	start := time.Now()
	p.step("asking")
	e := &endpoint{client: c, model: model, asked: func(n int) { p.update(n, len(set.Keys)) }}
	outcome, err := fingerprint.Verify(ctx, e, set.Draw(*set.Randomness), d)
	if err != nil {
		return verdict{}, err
	}
	held := outcome.Chance.P <= claimAlpha
	if d.Sequential {
		held = outcome.Claimed
	}
	return verdict{
		Outcome: outcome, Endpoint: c.BaseURL, Model: model, Alpha: claimAlpha, Held: held, Grindable: true,
		Seconds: time.Since(start).Seconds(),
	}, nil
}

// endpoint is an OpenAI-style server as an outsider sees it.
type endpoint struct {
	client *openai.Client
	model  string
	asked  func(n int)
	count  int
}

// answerTokens is long enough that a serving sampler treats the question like any
// other; shorter requests it leaves alone.
const answerTokens = 16

// Answer implements fingerprint.Answerer.
func (e *endpoint) Answer(ctx context.Context, question string) (string, error) {
	greedy := 0.0
	reply, err := e.client.Chat(ctx, openai.Ask{
		Model: e.model, MaxTokens: answerTokens, Temperature: &greedy,
		Messages: []openai.Message{{Role: "user", Content: question}},
	})
	e.count++
	e.asked(e.count)
	if err != nil {
		return "", err
	}
	if len(reply.Choices) == 0 || reply.Choices[0].Message == nil {
		return "", errors.New("the answer has no message")
	}
	return reply.Choices[0].Message.Content, nil
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

// keyFileFlags say where a fingerprint key file is and what opens it.
type keyFileFlags struct{ path, passphrase, flag string }

func (f *keyFileFlags) add(cmd *cobra.Command) { f.addAs(cmd, "passphrase-file") }

// addAs is for commands whose wallet has a passphrase file too.
func (f *keyFileFlags) addAs(cmd *cobra.Command, flag string) {
	f.flag = "--" + flag
	cmd.Flags().StringVar(&f.path, "keys", "", "the encrypted key file")
	cmd.Flags().StringVar(&f.passphrase, flag, "", "file with the key file's passphrase")
}

func (f *keyFileFlags) load() (*fingerprint.Set, error) {
	if f.path == "" || f.passphrase == "" {
		return nil, usagef("name the key file: --keys FILE with %s FILE", f.flag)
	}
	text, err := os.ReadFile(f.passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.flag, err)
	}
	id, err := age.NewScryptIdentity(strings.TrimRight(string(text), "\r\n"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.flag, err)
	}
	return fingerprint.LoadSet(f.path, id)
}
