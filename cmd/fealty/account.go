package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/internal/wallet"
)

// account talks to a gateway as the owner of a wallet: it signs in, and manages
// API keys with the short token that it gets.
type account struct {
	gateway string // origin, such as https://api.example.com
	http    *http.Client
	token   string
	login   savedToken // where token comes from
}

func newAccount(gateway string) (*account, error) {
	u, err := url.Parse(gateway)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
		return nil, usagef("--gateway: need the gateway's URL, such as https://api.example.com")
	}
	if u.Scheme == "http" && !loopbackURL(gateway) {
		return nil, usagef("--gateway: a token would cross the network in the clear; use https")
	}
	return &account{gateway: u.Scheme + "://" + u.Host, http: &http.Client{Timeout: 30 * time.Second}}, nil
}

// openAccount signs a wallet in at the gateway.
func openAccount(ctx context.Context, gateway string, key *wallet.Key) (*account, error) {
	a, err := newAccount(gateway)
	if err != nil {
		return nil, err
	}
	return a, a.signIn(ctx, key)
}

// signIn proves who holds the wallet (EIP-4361), from a new challenge as long as the
// gateway cannot find out.
func (a *account) signIn(ctx context.Context, key *wallet.Key) error {
	return patiently(ctx, func() error { return a.signInOnce(ctx, key) })
}

// signInOnce signs only a message that is for the very gateway it talks to: another one
// could otherwise pass its own challenge on and sign in as this wallet.
func (a *account) signInOnce(ctx context.Context, key *wallet.Key) error {
	var challenge struct {
		Message string `json:"message"`
	}
	address := wallet.AddressText(key.Address())
	if err := a.send(ctx, http.MethodPost, "/auth/challenge", map[string]string{"address": address}, &challenge); err != nil {
		return fmt.Errorf("sign-in: %w", err)
	}
	host := a.host()
	want := host + " wants you to sign in with your Ethereum account:\n" + address + "\n"
	if !strings.HasPrefix(challenge.Message, want) {
		return fmt.Errorf("sign-in: the gateway asks to sign a message that is not for %s and %s; nothing was signed", host, address)
	}
	signature, err := key.SignPersonal(challenge.Message)
	if err != nil {
		return fmt.Errorf("sign-in: %w", err)
	}
	var token struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"` // seconds
	}
	body := map[string]string{"message": challenge.Message, "signature": "0x" + hex.EncodeToString(signature)}
	if err := a.send(ctx, http.MethodPost, "/auth/token", body, &token); err != nil {
		return fmt.Errorf("sign-in: %w", err)
	}
	if token.AccessToken == "" {
		return errors.New("sign-in: the gateway answered without a token")
	}
	expires := time.Now().Add(time.Duration(token.ExpiresIn) * time.Second)
	a.token, a.login = token.AccessToken, savedToken{Gateway: a.gateway, Address: address, AccessToken: token.AccessToken, Expires: expires}
	return nil
}

func (a *account) host() string { return strings.SplitN(a.gateway, "://", 2)[1] }

// keyInfo is an API key as the gateway shows it. Key is only there once.
type keyInfo struct {
	ID           string     `json:"id"`
	Key          string     `json:"key,omitempty"`
	Name         string     `json:"name"`
	Models       []string   `json:"models,omitempty"`
	RPM          uint32     `json:"rpm,omitempty"`
	TokensPerDay uint64     `json:"tokens_per_day,omitempty"`
	Created      time.Time  `json:"created"`
	Expires      *time.Time `json:"expires,omitempty"`
	Revoked      bool       `json:"revoked"`
}

// keyRequest is what a new API key shall be allowed; it only narrows the license.
type keyRequest struct {
	Name         string     `json:"name,omitempty"`
	Models       []string   `json:"models,omitempty"`
	RPM          uint32     `json:"rpm,omitempty"`
	TokensPerDay uint64     `json:"tokens_per_day,omitempty"`
	Expires      *time.Time `json:"expires,omitempty"`
}

func (a *account) createKey(ctx context.Context, r keyRequest) (keyInfo, error) {
	var k keyInfo
	err := a.call(ctx, http.MethodPost, "/v1/keys", r, &k)
	if err == nil && k.Key == "" {
		err = errors.New("the gateway answered without a key")
	}
	return k, err
}

func (a *account) listKeys(ctx context.Context) ([]keyInfo, error) {
	var list struct {
		Data []keyInfo `json:"data"`
	}
	err := a.call(ctx, http.MethodGet, "/v1/keys", nil, &list)
	return list.Data, err
}

func (a *account) narrowKey(ctx context.Context, id string, r keyRequest) (keyInfo, error) {
	var k keyInfo
	err := a.call(ctx, http.MethodPatch, "/v1/keys/"+url.PathEscape(id), r, &k)
	return k, err
}

func (a *account) revokeKey(ctx context.Context, id string) error {
	return a.call(ctx, http.MethodDelete, "/v1/keys/"+url.PathEscape(id), nil, nil)
}

// createShortLived makes a key that ends within seconds, and returns when: as soon as it
// can be made before that moment, which a machine that stands still may miss.
func (a *account) createShortLived(ctx context.Context, name string) (k keyInfo, ends time.Time, err error) {
	for lives := 2 * time.Second; lives <= time.Minute; lives *= 2 {
		ends = time.Now().Add(lives).UTC().Truncate(time.Second)
		if k, err = a.createKey(ctx, keyRequest{Name: name, Expires: &ends}); err == nil || time.Now().Before(ends) {
			break
		}
	}
	return k, ends, err
}

// patience bounds how often a gateway is asked that could not find out, each second once.
const patience = 10

// patiently asks again while the gateway says that it could not find out (503): that is
// neither yes nor no.
func patiently(ctx context.Context, ask func() error) error {
	for tries := 1; ; tries++ {
		err := ask()
		var refusal *openai.Error
		if !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable || !refusal.Retry || tries == patience {
			return err
		}
		if sleepUntil(ctx, time.Now().Add(time.Second)) != nil {
			return err
		}
	}
}

func (a *account) call(ctx context.Context, method, path string, body, into any) error {
	return patiently(ctx, func() error { return a.send(ctx, method, path, body, into) })
}

func (a *account) send(ctx context.Context, method, path string, body, into any) error {
	var payload bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&payload).Encode(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, a.gateway+path, &payload)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return openai.ReadError(resp)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(into)
}

// accountFlags are what the commands of a gateway's customer share.
type accountFlags struct {
	gateway string
	key     keyFlags
	asJSON  bool
}

func (f *accountFlags) add(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&f.gateway, "gateway", "", "the gateway's URL, such as https://api.example.com")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object")
	f.key.add(cmd)
	return cmd
}

func (f *accountFlags) signIn(ctx context.Context) (*account, error) {
	a, err := newAccount(f.gateway)
	if err != nil {
		return nil, err
	}
	key, err := f.key.load()
	if err != nil {
		return nil, err
	}
	return a, a.signIn(ctx, key)
}

// signedIn uses the wallet that the flags name, or else the token of an earlier login.
func (f *accountFlags) signedIn(ctx context.Context) (*account, error) {
	if f.key.source != (wallet.Source{}) {
		return f.signIn(ctx)
	}
	a, err := newAccount(f.gateway)
	if err != nil {
		return nil, err
	}
	return a, a.recall(time.Now())
}

func newLogin() *cobra.Command {
	var f accountFlags
	cmd := &cobra.Command{
		Use: "login", Short: "Sign in with a wallet, for some minutes", Args: noArgs,
		Long: `Login signs the gateway's challenge with the wallet's key and gets a token that lasts minutes.
It prints the token and keeps it, for the key commands, in a file that only you may read, in
your configuration directory. 'fealty logout' ends it early, on every gateway.`,
		Example: "  fealty login --gateway https://api.example.com --keystore me.json --passphrase-file me.pass > /dev/null\n  fealty key list --gateway https://api.example.com",
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := f.signIn(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.login.save(); err != nil { // the token is good all the same
				fmt.Fprintf(cmd.ErrOrStderr(), "the token is not kept: %v\n", err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "signed in to %s as %s until %s\n", a.host(), a.login.Address, a.login.Expires.Local().Format(time.TimeOnly))
			if f.asJSON {
				return printJSON(cmd, map[string]any{"access_token": a.token, "token_type": "Bearer", "address": a.login.Address, "expires": a.login.Expires})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), a.token)
			return err
		},
	}
	return f.add(cmd)
}

func newLogout() *cobra.Command {
	var f accountFlags
	cmd := &cobra.Command{
		Use: "logout", Short: "End the token of the last login, on every gateway", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := newAccount(f.gateway)
			if err != nil {
				return err
			}
			if err := a.recall(time.Now()); err != nil {
				return err
			}
			if err := a.call(cmd.Context(), http.MethodPost, "/auth/revoke", nil, nil); err != nil {
				return fmt.Errorf("logout: %w; the token is kept, and expires at %s", err, a.login.Expires.Local().Format(time.TimeOnly))
			}
			if err := a.login.forget(); err != nil {
				return err
			}
			if f.asJSON {
				return printJSON(cmd, map[string]any{"revoked": true, "address": a.login.Address})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "signed out of %s; API keys stay as they are\n", a.host())
			return err
		},
	}
	cmd.Flags().StringVar(&f.gateway, "gateway", "", "the gateway's URL, such as https://api.example.com")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object")
	return cmd
}

func newKey() *cobra.Command {
	return group("key", "Make, list, narrow and revoke API keys of a wallet", newKeyCreate(), newKeyList(), newKeyNarrow(), newKeyRevoke())
}

// limitFlags are what narrows a key.
func (r *keyRequest) limitFlags(cmd *cobra.Command, lasts *time.Duration, otherwise string) {
	cmd.Flags().StringSliceVar(&r.Models, "models", nil, "the only models it may use; if not given, "+otherwise)
	cmd.Flags().Uint32Var(&r.RPM, "rpm", 0, "requests per minute; 0: "+otherwise)
	cmd.Flags().Uint64Var(&r.TokensPerDay, "tokens-per-day", 0, "tokens per UTC day; 0: "+otherwise)
	cmd.Flags().DurationVar(lasts, "expires-in", 0, "how long it lasts from now; 0: "+otherwise)
}

// lasting sets when the key ends.
func (r *keyRequest) lasting(d time.Duration) error {
	if d < 0 {
		return usagef("--expires-in: a key that has expired is of no use")
	}
	if d > 0 {
		at := time.Now().Add(d).UTC().Truncate(time.Second)
		r.Expires = &at
	}
	return nil
}

func newKeyNarrow() *cobra.Command {
	var f accountFlags
	var r keyRequest
	var lasts time.Duration
	cmd := &cobra.Command{
		Use: "narrow ID", Short: "Take from what an API key may do, on every gateway at once", Args: exactArgs("ID"),
		Long: `Narrow lowers the limits of a key, names fewer models or ends it earlier. What it leaves
unsaid stays. A key is never widened: make a new one.`,
		Example: "  fealty key narrow ak3f7qyh2mzl5xwb --rpm 10 --expires-in 24h --gateway https://api.example.com --keystore me.json --passphrase-file me.pass",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.lasting(lasts); err != nil {
				return err
			}
			a, err := f.signedIn(cmd.Context())
			if err != nil {
				return err
			}
			k, err := a.narrowKey(cmd.Context(), args[0], r)
			if err != nil {
				return err
			}
			if f.asJSON {
				return printJSON(cmd, k)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), k.line(time.Now()))
			return err
		},
	}
	r.limitFlags(cmd, &lasts, "as it is")
	return f.add(cmd)
}

func newKeyCreate() *cobra.Command {
	var f accountFlags
	var r keyRequest
	var lasts time.Duration
	cmd := &cobra.Command{
		Use: "create", Short: "Make an API key; it is shown once", Args: noArgs,
		Example: "  fealty key create --name batch --rpm 60 --expires-in 720h --gateway https://api.example.com --keystore me.json --passphrase-file me.pass",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.lasting(lasts); err != nil {
				return err
			}
			a, err := f.signedIn(cmd.Context())
			if err != nil {
				return err
			}
			k, err := a.createKey(cmd.Context(), r)
			if err != nil {
				return err
			}
			if f.asJSON {
				return printJSON(cmd, k)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "key %s; this is the only time that it is shown\n", k.ID)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), k.Key)
			return err
		},
	}
	cmd.Flags().StringVar(&r.Name, "name", "default", "what you call it")
	r.limitFlags(cmd, &lasts, "as the license says")
	return f.add(cmd)
}

func newKeyList() *cobra.Command {
	var f accountFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List the wallet's API keys", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := f.signedIn(cmd.Context())
			if err != nil {
				return err
			}
			keys, err := a.listKeys(cmd.Context())
			if err != nil {
				return err
			}
			if f.asJSON {
				return printJSON(cmd, map[string]any{"data": keys})
			}
			for _, k := range keys {
				fmt.Fprintln(cmd.OutOrStdout(), k.line(time.Now()))
			}
			return nil
		},
	}
	return f.add(cmd)
}

// line shows a key to people, with what narrows it.
func (k keyInfo) line(now time.Time) string {
	state := "active"
	switch {
	case k.Revoked:
		state = "revoked"
	case k.Expires != nil && !now.Before(*k.Expires):
		state = "expired"
	}
	line := fmt.Sprintf("%s  %-8s  %s  %s", k.ID, state, k.Created.UTC().Format(time.RFC3339), k.Name)
	if k.Expires != nil {
		line += "  until " + k.Expires.UTC().Format(time.RFC3339)
	}
	if len(k.Models) > 0 {
		line += "  models " + strings.Join(k.Models, ",")
	}
	if k.RPM > 0 {
		line += fmt.Sprintf("  rpm %d", k.RPM)
	}
	if k.TokensPerDay > 0 {
		line += fmt.Sprintf("  tokens/day %d", k.TokensPerDay)
	}
	return line
}

func newKeyRevoke() *cobra.Command {
	var f accountFlags
	cmd := &cobra.Command{
		Use: "revoke ID", Short: "Revoke an API key", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := f.signedIn(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.revokeKey(cmd.Context(), args[0]); err != nil {
				return err
			}
			if f.asJSON {
				return printJSON(cmd, map[string]any{"id": args[0], "revoked": true})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "key %s revoked\n", args[0])
			return err
		},
	}
	return f.add(cmd)
}
