package gateway

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"time"

	"github.com/fealty/fealty/gateway/identity"
)

// credentialGrace is how long an answer goes on while nobody can say whether its
// credential still stands: as long as licenses are believed by default (hard).
const credentialGrace = 5 * time.Minute

// recheck cuts running answers whose license, or whose host's, no longer stands. A chain
// that is slow to answer for one of them keeps none of the others from being cut.
func (s *Server) recheck(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.timeouts().Recheck):
		case <-s.changed:
		}
		for i, a := range s.running.all() {
			if a.looks.Add(1) == 1 {
				s.wait.Go(func() { a.look(ctx) })
			}
			if i%64 == 63 {
				runtime.Gosched() // most are answered from memory: of thousands, few goroutines are there at once
			}
		}
	}
}

// look asks for one answer, and once more if that was wanted meanwhile.
func (a *answer) look(ctx context.Context) {
	a.svc.users.Add(1) // what it asks stays open
	defer a.svc.release()
	for {
		wanted := a.looks.Load()
		if err := a.standing(ctx); err != nil {
			a.cancel(err)
			return
		}
		if a.looks.CompareAndSwap(wanted, 0) {
			return
		}
	}
}

// LicenseChanged says that some license may have changed: running answers are looked
// at now rather than at the next tick. It does not wait.
func (s *Server) LicenseChanged() {
	select {
	case s.changed <- struct{}{}:
	default: // it is known already
	}
}

// standing asks again what admit asked.
func (a *answer) standing(ctx context.Context) error {
	_, err := a.svc.admit(ctx, a.s.clock(), a.pass.caller, a.pass.model.cfg.Name, a.scope)
	return err
}

// recheckCallers cuts running answers whose API key or token was revoked. It runs beside
// recheck, which must not wait for the state store.
func (s *Server) recheckCallers(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.timeouts().Recheck):
			s.askCallers(ctx)
		}
	}
}

// word is what identity says of a credential now.
type word struct {
	caller *identity.Caller
	err    error
}

// askCallers asks once for each credential that has answers running, not for each
// answer.
func (s *Server) askCallers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	svc := s.acquire()
	defer svc.release()
	said := map[string]word{}
	for _, a := range s.running.all() {
		w, asked := said[string(a.credential)]
		if !asked {
			w.caller, w.err = svc.identify(ctx, s.clock(), a.credential)
			said[string(a.credential)] = w
		}
		if err := a.stillCalledBy(w); err != nil {
			a.cancel(err)
		}
	}
}

// stillCalledBy says why an answer may not go on. A token that has expired since it
// was shown has done its duty; a store that cannot be asked is believed to have said yes
// for a while.
func (a *answer) stillCalledBy(w word) error {
	model := a.pass.model.cfg.Name
	switch {
	case w.err == nil && w.caller.May(model):
		a.confirmed = time.Now()
		return nil
	case w.err == nil:
		return keyScope()
	case errors.Is(w.err, identity.ErrExpired) && a.pass.caller.KeyID == "":
		return nil
	case asError(w.err).Status == http.StatusUnauthorized:
		return w.err
	case time.Since(a.confirmed) > credentialGrace:
		return w.err
	}
	return nil
}
