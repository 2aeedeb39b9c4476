package gateway

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/policy"
)

// Peeker is a Licenses that can say what it holds in memory. *licensecheck.Checker is one.
type Peeker interface {
	// Peek asks nobody. age is the time since the chain last confirmed the grant.
	Peek(model, subject [32]byte) (grant policy.Grant, age time.Duration, found bool)
}

// showLicense answers the second listener's GET /license?model=...&subject=0x...: what
// this process holds in memory of a grant. 'fealty license show' asks it.
func (x *exchange) showLicense() error {
	if err := x.admitted(); err != nil {
		return err
	}
	name := string(x.http.QueryArgs().Peek("model"))
	m := x.svc.modelCalled(name)
	if m == nil {
		return unknownModel(name)
	}
	raw, err := hex.DecodeString(strings.TrimPrefix(string(x.http.QueryArgs().Peek("subject")), "0x"))
	if err != nil || len(raw) != 32 {
		return openai.Invalid("subject", "subject must be 0x and 64 hexadecimal digits.")
	}
	memory, ok := m.Licenses.(Peeker)
	if !ok {
		return x.reply(map[string]any{"found": false})
	}
	grant, age, found := memory.Peek(m.id, [32]byte(raw))
	if !found {
		return x.reply(map[string]any{"found": false})
	}
	return x.reply(map[string]any{
		"found": true, "age_seconds": age.Seconds(), "final": grant.Final, "latest": grant.Latest, "plan": grant.Plan,
	})
}

// modelCalled is the model with this name, alias or id in the registry.
func (s *service) modelCalled(name string) *model {
	if m := s.models[name]; m != nil {
		return m
	}
	for _, m := range s.listed {
		if strings.EqualFold(name, "0x"+hex.EncodeToString(m.id[:])) {
			return m
		}
	}
	return nil
}
