package gateway

import (
	"errors"
	"net/http"
	"time"

	"github.com/fealty/fealty/gateway/identity"
	"github.com/fealty/fealty/gateway/usage"
	"github.com/fealty/fealty/internal/openai"
)

func (x *exchange) challenge() error {
	var ask struct {
		Address string `json:"address"`
	}
	if err := x.read(&ask); err != nil {
		return err
	}
	message, err := x.svc.deps.Identities.Challenge(ask.Address)
	if err != nil {
		return openai.Invalid("address", "%v.", err)
	}
	return x.reply(map[string]string{"message": message})
}

func (x *exchange) token() error {
	var ask struct {
		Message   string `json:"message"`
		Signature string `json:"signature"`
	}
	if err := x.read(&ask); err != nil {
		return err
	}
	t, err := x.svc.deps.Identities.Redeem(x.ctx, ask.Message, ask.Signature)
	switch {
	case errors.Is(err, identity.ErrSignIn):
		e := unauthorized("sign_in_refused", err.Error()+".")
		return e
	case errors.Is(err, identity.ErrUnavailable):
		return stateUnavailable(err)
	case err != nil:
		return err
	}
	return x.reply(map[string]any{
		"access_token": t.Text, "token_type": "Bearer", "expires_in": int(t.TTL.Seconds()), "account": t.Account,
	})
}

// revokeToken ends the very token that the request comes with: no one can revoke
// another's.
func (x *exchange) revokeToken() error {
	c, err := x.walletCaller()
	if err != nil {
		return err
	}
	if err := x.svc.deps.Identities.RevokeToken(x.ctx, c); err != nil {
		return stateUnavailable(err)
	}
	return x.reply(map[string]any{"revoked": true, "account": c.Account})
}

func (x *exchange) jwks() error { return x.replyJSON(x.svc.deps.Identities.JWKS()) }

// apiKey is an API key on the wire. Key is only set in the answer to its making.
type apiKey struct {
	ID           string     `json:"id"`
	Object       string     `json:"object"`
	Key          string     `json:"key,omitempty"`
	Name         string     `json:"name"`
	Models       []string   `json:"models"`
	RPM          uint32     `json:"rpm"`
	TokensPerDay uint64     `json:"tokens_per_day"`
	Created      time.Time  `json:"created"`
	Expires      *time.Time `json:"expires"`
	Revoked      bool       `json:"revoked"`
}

func keyOnWire(k identity.Key, text string) apiKey {
	out := apiKey{
		ID: k.ID, Object: "api_key", Key: text, Name: k.Name, Models: k.Models, RPM: k.RPM,
		TokensPerDay: k.TokensPerDay, Created: k.Created, Revoked: k.Revoked,
	}
	if !k.Expires.IsZero() {
		out.Expires = &k.Expires
	}
	return out
}

func (x *exchange) createKey() error {
	c, ask, err := x.keyRequest()
	if err != nil {
		return err
	}
	k, text, err := x.svc.deps.Identities.CreateKey(x.ctx, c, ask)
	if err != nil {
		return refuseKey(err)
	}
	return x.reply(keyOnWire(k, text))
}

// narrowKey takes from what a key may do: fewer models, lower limits, an earlier end.
func (x *exchange) narrowKey() error {
	c, ask, err := x.keyRequest()
	if err != nil {
		return err
	}
	if ask.Name != "" {
		return openai.Invalid("name", "name cannot be changed.")
	}
	k, err := x.svc.deps.Identities.NarrowKey(x.ctx, c.Subject, x.tail, ask)
	if err != nil {
		return refuseKey(err)
	}
	return x.reply(keyOnWire(k, ""))
}

// keyRequest is who asks, and what for.
func (x *exchange) keyRequest() (c *identity.Caller, r identity.KeyRequest, err error) {
	if c, err = x.walletCaller(); err != nil {
		return nil, r, err
	}
	var ask struct {
		Name         string    `json:"name"`
		Models       []string  `json:"models"`
		RPM          uint32    `json:"rpm"`
		TokensPerDay uint64    `json:"tokens_per_day"`
		Expires      time.Time `json:"expires"`
	}
	if err := x.read(&ask); err != nil {
		return nil, r, err
	}
	models, err := x.svc.ownNames(ask.Models)
	return c, identity.KeyRequest{
		Name: ask.Name, Models: models, RPM: ask.RPM, TokensPerDay: ask.TokensPerDay, Expires: ask.Expires,
	}, err
}

// ownNames turns aliases into names: keys are bound to models, and outlive aliases.
func (s *service) ownNames(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		m := s.models[name]
		if m == nil {
			return nil, openai.Invalid("models", "models names %q, which is not served here.", name)
		}
		out = append(out, m.cfg.Name)
	}
	return out, nil
}

func refuseKey(err error) error {
	switch {
	case errors.Is(err, identity.ErrUnavailable):
		return stateUnavailable(err)
	case errors.Is(err, identity.ErrKeyRequest):
		return openai.Invalid("", "%v.", err)
	case errors.Is(err, identity.ErrNoKey):
		return &openai.Error{Status: http.StatusNotFound, Code: "key_not_found", Message: "This account has no such API key."}
	}
	return err
}

func (x *exchange) listKeys() error {
	c, err := x.walletCaller()
	if err != nil {
		return err
	}
	keys, err := x.svc.deps.Identities.ListKeys(x.ctx, c.Subject)
	if err != nil {
		return refuseKey(err)
	}
	out := make([]apiKey, 0, len(keys))
	for _, k := range keys {
		out = append(out, keyOnWire(k, ""))
	}
	return x.reply(map[string]any{"object": "list", "data": out})
}

func (x *exchange) revokeKey() error {
	c, err := x.walletCaller()
	if err != nil {
		return err
	}
	if err := x.svc.deps.Identities.RevokeKey(x.ctx, c.Subject, x.tail); err != nil {
		return refuseKey(err)
	}
	return x.reply(map[string]any{"id": x.tail, "object": "api_key", "revoked": true})
}

// showUsage sums the caller's own consumption: of the last seven days, or from one
// day to another.
func (x *exchange) showUsage() error {
	c, err := x.caller()
	if err != nil {
		return err
	}
	to, err := x.day("to", x.now)
	if err != nil {
		return err
	}
	from, err := x.day("from", to.AddDate(0, 0, -6))
	if err != nil {
		return err
	}
	if to.Before(from) || to.Sub(from) >= usage.MaxDays*24*time.Hour {
		return openai.Invalid("from", "from and to must cover 1 to %d days.", usage.MaxDays)
	}
	if err := x.svc.deps.Ledger.Flush(x.ctx); err != nil { // what the caller just used is to be in it
		return stateUnavailable(err)
	}
	totals, err := x.svc.deps.Ledger.Totals(x.ctx, c.Subject, from, to)
	if err != nil {
		return stateUnavailable(err)
	}
	return x.reply(map[string]any{"object": "usage", "account": c.Account, "data": totals})
}

func (x *exchange) day(name string, otherwise time.Time) (time.Time, error) {
	text := string(x.http.QueryArgs().Peek(name))
	if text == "" {
		return otherwise.UTC().Truncate(24 * time.Hour), nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return day, openai.Invalid(name, "%s must be a day such as 2026-01-31.", name)
	}
	return day, nil
}
