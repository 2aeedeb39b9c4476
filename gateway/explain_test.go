package gateway_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/policy"
)

// Peek implements gateway.Peeker: this chain remembers all that it holds, for 3 s.
func (g *grants) Peek(_, subject [32]byte) (policy.Grant, time.Duration, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	grant, found := g.held[subject]
	return grant, 3 * time.Second, found
}

// The second listener says what memory holds of a grant, to who has its token.
func TestShowLicense(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(path, []byte("admin-token"), 0o600))
	token, err := gateway.ParseSecret("file:" + path)
	must(t, err)
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Admin.Token = token })
	ask := func(query, token string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.admin+"/license?"+query, nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(req)
		must(t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		must(t, err)
		return answer.StatusCode, string(text)
	}
	subject := "&subject=0x" + hex.EncodeToString(r.subject[:])
	for _, c := range []struct {
		name, query, token string
		status             int
		says               string
	}{
		{"held", "model=echo" + subject, "admin-token", 200, `"age_seconds":3`},
		{"not held", "model=echo&subject=" + strings.Repeat("ab", 32), "admin-token", 200, `{"found":false}`},
		{"no token", "model=echo" + subject, "", 401, "invalid_admin_token"},
		{"wrong token", "model=echo" + subject, "guess", 401, "invalid_admin_token"},
		{"another model", "model=gpt-5" + subject, "admin-token", 404, "model_not_found"},
		{"no subject", "model=echo", "admin-token", 400, "64 hexadecimal digits"},
		{"a short subject", "model=echo&subject=0x12", "admin-token", 400, "64 hexadecimal digits"},
	} {
		if status, body := ask(c.query, c.token); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s, want %d and %q", c.name, status, body, c.status, c.says)
		}
	}
	if got := r.do("GET", "/license?model=echo"+subject, r.key, ""); got.status != 404 {
		t.Errorf("the public listener answers %d %s", got.status, got.body)
	}
}
