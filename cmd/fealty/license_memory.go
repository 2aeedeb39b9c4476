package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/policy"
)

// adminFlags name the second listener of a running gateway.
type adminFlags struct{ url, token string }

func (f *adminFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "gateway", "", "the running gateway's admin URL, such as http://127.0.0.1:8081, to look into its memory")
	cmd.Flags().StringVar(&f.token, "admin-token", "", "env:NAME or file:PATH of the admin listener's token, if it wants one")
}

// peeked is the gateway's answer.
type peeked struct {
	Found         bool
	AgeSeconds    float64 `json:"age_seconds"`
	Final, Latest policy.License
	Plan          policy.Plan
}

// memory asks the gateway what it holds; whatever goes wrong is a note.
func (f *adminFlags) memory(ctx context.Context, q question) memoryLayer {
	if f.url == "" {
		return memoryLayer{Note: "not asked: give --gateway"}
	}
	p, err := f.ask(ctx, q)
	if err != nil {
		return memoryLayer{Note: "not known: " + err.Error()}
	}
	if !p.Found {
		return memoryLayer{Note: "no record: the next request asks Redis, then the chain"}
	}
	grant := policy.Grant{Final: p.Final, Latest: p.Latest, Plan: p.Plan}
	return memoryLayer{Decision: policy.Standing(time.Now(), grant, q.want).Reason.String(), Seq: p.Latest.Seq, AgeSeconds: p.AgeSeconds}
}

func (f *adminFlags) ask(ctx context.Context, q question) (p peeked, err error) {
	u, err := url.Parse(f.url)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !loopbackURL(f.url) {
		return p, fmt.Errorf("--gateway must be the admin listener's URL: https, or http on this machine, without a user")
	}
	u.Path = "/license"
	u.RawQuery = url.Values{"model": {hex0x(q.model[:])}, "subject": {hex0x(q.subject[:])}}.Encode()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return p, err
	}
	if f.token != "" {
		token, err := secretFlag("--admin-token", f.token)
		if err != nil {
			return p, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return p, fmt.Errorf("the gateway does not answer at %s", u.Host)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return p, fmt.Errorf("the gateway's admin listener answers %s; is it this version's, does it serve the model, does it want --admin-token?", answer.Status)
	}
	return p, json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&p)
}
