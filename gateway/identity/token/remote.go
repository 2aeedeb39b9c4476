package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// RemoteOptions describe another issuer. Name, URL, Audience and Algorithms are
// required.
type RemoteOptions struct {
	Name       string   // the iss of its tokens, exactly
	URL        string   // of its JWKS: https, or http on a loopback address
	Audience   string   // must be among the aud of its tokens
	Algorithms []string // from [Algorithms]

	// Refresh is how often the keys are fetched. Zero: 5 minutes.
	Refresh time.Duration
	// MaxAge is how long keys are believed that cannot be fetched again. Beyond it
	// tokens are neither valid nor invalid: ErrUnavailable. Zero: 1 hour.
	MaxAge time.Duration
	// Timeout bounds one fetch. Zero: 5 seconds.
	Timeout time.Duration
	// Again is the least time between two fetches, however many tokens name unknown
	// keys. Zero: 10 seconds.
	Again time.Duration

	Transport http.RoundTripper // nil: http.DefaultTransport
	Changed   func()            // called after the keys changed; nil: nobody is told
	Log       *slog.Logger      // nil: discards
}

// Remote verifies the tokens of another issuer. It is safe for concurrent use. Close
// it.
type Remote struct {
	o    RemoteOptions
	http *http.Client

	mu     sync.Mutex
	keys   map[string]publicKey
	sum    [32]byte // of the JWKS that keys came from
	read   time.Time
	tried  time.Time
	failed error         // of the last try
	under  chan struct{} // closed at the end of a fetch that is under way; nil: none is

	stop context.CancelFunc
	done sync.WaitGroup
	ctx  context.Context // of fetches, which outlive the request that asked
}

const (
	maxSet        = 256 << 10 // bytes of a JWKS
	longestRemote = 24 * time.Hour
)

// NewRemote checks the options and starts to keep the issuer's keys. An issuer that
// does not answer yet is no error.
func NewRemote(o RemoteOptions) (*Remote, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("identity: issuer %.100q: %w", o.Name, err)
	}
	r := &Remote{o: o, http: &http.Client{
		Timeout: o.Timeout, Transport: o.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.done.Go(r.keep)
	return r, nil
}

func (o *RemoteOptions) complete() error {
	switch {
	case o.Name == "" || strings.ContainsAny(o.Name, "|"): // it ends the name in the subject
		return errors.New("issuer must be set and hold no '|'")
	case !KeysURL(o.URL):
		return errors.New("jwks_url must be an https URL without a user")
	case o.Audience == "":
		return errors.New("audience must be set: tokens for others must not work here")
	case len(o.Algorithms) == 0:
		return fmt.Errorf("algorithms must name at least one of %v", Algorithms)
	case o.Refresh < 0 || o.MaxAge < 0 || o.Timeout < 0 || o.Again < 0:
		return errors.New("a duration is negative; leave it zero for its default")
	}
	for _, a := range o.Algorithms {
		if !slices.Contains(Algorithms, a) {
			return fmt.Errorf("algorithms: %.20q is not one of %v", a, Algorithms)
		}
	}
	o.Refresh = orDefault(o.Refresh, 5*time.Minute)
	o.MaxAge = orDefault(o.MaxAge, time.Hour)
	o.Timeout = orDefault(o.Timeout, 5*time.Second)
	o.Again = orDefault(o.Again, 10*time.Second)
	if o.MaxAge < o.Refresh {
		return fmt.Errorf("max_age is %s, below refresh (%s); raise it", o.MaxAge, o.Refresh)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// KeysURL reports whether keys may be fetched from the URL: by https, or by http from
// this machine.
func KeysURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	return u.Scheme == "https" || u.Scheme == "http" && local
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// Close stops fetching keys.
func (r *Remote) Close() error {
	r.stop()
	r.done.Wait()
	return nil
}

// Name is the iss of its tokens.
func (r *Remote) Name() string { return r.o.Name }

// plainMembers are what a header may hold. Everything else either asks for something
// that we do not do (crit, b64, zip, enc) or names a key (jwk, jku, x5u, x5c), which
// is not the token's to name.
var plainMembers = []string{"alg", "kid", "typ", "x5t", "x5t#S256"}

// kinds of tokens, in lower case. A logout token or a proof of possession (RFC 9449)
// is no access token, whoever signed it.
var kinds = []string{"", "jwt", "at+jwt", "application/at+jwt"}

// Verify returns nil for a token of this issuer that is for this gateway and valid
// now; else an error that wraps ErrInvalid, ErrExpired, or ErrUnavailable when the
// issuer's keys are not known.
func (r *Remote) Verify(ctx context.Context, t *Token, now time.Time) error {
	for _, m := range t.members {
		if !slices.Contains(plainMembers, m) {
			return fmt.Errorf("%w: unexpected header member", ErrInvalid)
		}
	}
	switch {
	case t.Issuer != r.o.Name, !slices.Contains(kinds, strings.ToLower(t.kind)), t.keyID == "":
		return fmt.Errorf("%w: not an access token of this issuer that names its key", ErrInvalid)
	case !slices.Contains(r.o.Algorithms, t.algorithm):
		return fmt.Errorf("%w: its algorithm is not one of %v", ErrInvalid, r.o.Algorithms)
	case !slices.Contains(t.Audience, r.o.Audience):
		return fmt.Errorf("%w: it is not for %s", ErrInvalid, r.o.Audience)
	case !plainSubject(t.Subject):
		return fmt.Errorf("%w: sub must have 1 to 255 printable ASCII characters", ErrInvalid)
	}
	key, err := r.key(ctx, t.keyID)
	if err != nil {
		return err
	}
	if !key.verifies(t.algorithm, t.signed, t.signature) {
		return fmt.Errorf("%w: the signature is wrong", ErrInvalid)
	}
	return t.inTime(now, longestRemote)
}

// plainSubject holds OpenID Connect's bounds (core 1.0, section 2).
func plainSubject(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

// key finds one of the issuer's keys. A key that is not known may be new: the issuer
// is asked, but not more often than Again allows.
func (r *Remote) key(ctx context.Context, id string) (publicKey, error) {
	if key, ok := r.held(id); ok {
		return key, nil
	}
	if err := r.renew(ctx); err != nil {
		return publicKey{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if key, ok := r.held(id); ok {
		return key, nil
	}
	return publicKey{}, fmt.Errorf("%w: unknown kid", ErrInvalid)
}

func (r *Remote) held(id string) (key publicKey, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read.IsZero() || time.Since(r.read) > r.o.MaxAge {
		return key, false
	}
	key, ok = r.keys[id]
	return key, ok
}

// renew makes sure that the keys are at most Again old, or says why they are not.
func (r *Remote) renew(ctx context.Context) error {
	r.mu.Lock()
	if r.under == nil && !r.tried.IsZero() && time.Since(r.tried) < r.o.Again {
		defer r.mu.Unlock()
		return r.failed
	}
	under := r.fetchOnce()
	r.mu.Unlock()
	select {
	case <-under:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// fetchOnce starts a fetch, unless one is under way. The caller holds mu.
func (r *Remote) fetchOnce() <-chan struct{} {
	if r.under == nil {
		under := make(chan struct{})
		r.under = under
		r.done.Go(func() {
			text, err := r.fetch()
			r.settle(text, err)
			close(under)
		})
	}
	return r.under
}

// keep fetches the keys before anybody waits for them.
func (r *Remote) keep() {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-wait.C:
		}
		next := r.o.Refresh
		if r.renew(r.ctx) != nil {
			next = min(next, r.o.Again)
		}
		wait.Reset(next)
	}
}

func (r *Remote) fetch() ([]byte, error) {
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, r.o.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered with status %d", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxSet+1))
	if err == nil && len(text) > maxSet {
		err = fmt.Errorf("it is larger than %d bytes", maxSet)
	}
	return text, err
}

// settle takes the keys over. Whatever is wrong with them, the last good ones stay.
func (r *Remote) settle(text []byte, err error) {
	var keys map[string]publicKey
	if err == nil {
		keys, err = parseSet(text)
	}
	r.mu.Lock()
	again := r.failed != nil
	r.under, r.tried, r.failed = nil, time.Now(), err
	sum := sha256.Sum256(text)
	changed := err == nil && sum != r.sum
	if err == nil {
		r.keys, r.sum, r.read = keys, sum, r.tried
	}
	r.mu.Unlock()
	if err != nil && !again && r.ctx.Err() == nil {
		r.o.Log.Warn("the keys of an issuer cannot be fetched; the last ones serve until max_age", "issuer", r.o.Name, "error", err)
	}
	if changed && r.o.Changed != nil {
		r.o.Changed()
	}
}
