package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fealty/fealty/internal/openai"
)

// service is what a config and its dependencies make: requests that began under one end
// under it, whatever is loaded meanwhile.
type service struct {
	*Server
	cfg       Config
	deps      Deps
	models    map[string]*model // by name and alias
	listed    []*model          // in the order of the config
	tls       *certificate      // nil: plain HTTP
	statement statement

	users   atomic.Int64 // requests and answers
	retired atomic.Bool
	once    sync.Once
	unused  func() // called once, when retired and without users
}

// service checks that config and dependencies fit.
func (s *Server) service(deps Deps, cfg Config) (*service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if deps.Identities == nil || deps.Limits == nil || deps.Ledger == nil {
		return nil, errors.New("gateway: identities, limits and ledger are required")
	}
	svc := &service{Server: s, cfg: cfg.filled(), deps: deps, models: map[string]*model{}, unused: func() {}}
	for _, cfg := range svc.cfg.Models {
		dep, ok := deps.Models[cfg.Name]
		if !ok || dep.Backend == nil || dep.Licenses == nil {
			return nil, fmt.Errorf("gateway: model %q has no backend or no license checker", cfg.Name)
		}
		def(&cfg.DefaultTokens, min(1024, orMax(cfg.MaxTokens)))
		m := &model{Model: dep, cfg: cfg, id: cfg.License.ID()}
		svc.listed = append(svc.listed, m)
		for _, name := range append([]string{cfg.Name}, cfg.Aliases...) {
			svc.models[name] = m
		}
	}
	if cfg.TLS.On() {
		var err error
		if svc.tls, err = cfg.TLS.load(); err != nil {
			return nil, err
		}
	}
	return svc, nil
}

// install makes a service the current one and returns the one before. It cannot fail.
func (s *Server) install(svc *service) *service {
	for _, m := range svc.listed {
		if s.lanes[m.cfg.Name].queue == nil {
			q := newQueue()
			s.lanes[m.cfg.Name] = lane{q, s.metrics.model(m.cfg.Name, q)}
		}
		m.lane = s.lanes[m.cfg.Name]
		m.queue.bound(m.cfg.Admission)
	}
	s.metrics.allow(svc.cfg.Metrics.Keys)
	s.certificates.now.Store(svc.tls)
	return s.current.Swap(svc)
}

// Reload replaces config and dependencies for all requests to come, or, with an error,
// nothing. unused is called once no request uses the earlier dependencies any more. What
// the listeners and the state stand on cannot be changed.
func (s *Server) Reload(deps Deps, cfg Config, unused func()) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	svc, err := s.service(deps, cfg)
	if err != nil {
		return err
	}
	if err := s.current.Load().keeps(svc.cfg); err != nil {
		return err
	}
	old := s.install(svc)
	old.unused = unused
	old.retired.Store(true)
	old.idle()
	s.LicenseChanged()
	return nil
}

// OnReload sets what Trigger does: read the config and call Reload. Call it before
// serving.
func (s *Server) OnReload(f func() error) { s.reload = f }

// Trigger reloads as an operator asked for; the log says what came of it.
func (s *Server) Trigger() error {
	err := s.reload()
	if err != nil {
		s.metrics.reloads[0].Inc()
		s.log.Error("not reloaded; the gateway goes on as it was", "cause", err)
		return err
	}
	s.metrics.reloads[1].Inc()
	s.log.Info("reloaded")
	return nil
}

// reloadNow answers the second listener's POST /reload once all is as the config says.
func (x *exchange) reloadNow() error {
	if err := x.admitted(); err != nil {
		return err
	}
	if x.s.reload == nil {
		return unknownURL()
	}
	if err := x.s.Trigger(); err != nil {
		return &openai.Error{
			Status: http.StatusConflict, Code: "not_reloaded", Cause: err,
			Message: "The gateway goes on as it was: " + err.Error(),
		}
	}
	return x.reply(map[string]any{"reloaded": true})
}

// keeps refuses a config that only a restart can bring about.
func (s *service) keeps(next Config) error {
	var errs problems
	same := func(field string, yes bool) { errs.need(field, yes, "a restart of the gateway to change") }
	same("listen", s.cfg.Listen == next.Listen)
	same("admin.listen", s.cfg.Admin.Listen == next.Admin.Listen)
	same("deployment", s.cfg.Deployment == next.Deployment)
	same("redis.state", s.cfg.Redis.State == next.Redis.State)
	same("redis.seen", s.cfg.Redis.Seen == next.Redis.Seen)
	same("tls", s.cfg.TLS.On() == next.TLS.On()) // which certificate may change
	same("log.level", s.cfg.Log.Level == next.Log.Level)
	same("log.format", s.cfg.Log.Format == next.Log.Format)
	same("limits.body", s.cfg.Limits.Body == next.Limits.Body)
	same("limits.connections", s.cfg.Limits.Connections == next.Limits.Connections)
	same("timeouts.read", s.cfg.Timeouts.Read == next.Timeouts.Read)
	same("timeouts.idle", s.cfg.Timeouts.Idle == next.Timeouts.Idle)
	same("timeouts.write", s.cfg.Timeouts.Write == next.Timeouts.Write)
	return errors.Join(errs...)
}

// ShutdownTime is how long Shutdown takes at most, if its context allows that.
func (s *Server) ShutdownTime() time.Duration {
	t := s.timeouts()
	return t.Unready + t.Drain
}

func (s *Server) timeouts() TimeoutsConfig { return s.current.Load().cfg.Timeouts }

// acquire is the current service, until release.
func (s *Server) acquire() *service {
	for {
		svc := s.current.Load()
		svc.users.Add(1)
		if s.current.Load() == svc {
			return svc
		}
		svc.release() // it was replaced in between, and may be unused already
	}
}

func (s *service) release() {
	if s.users.Add(-1) == 0 {
		s.idle()
	}
}

func (s *service) idle() {
	if s.retired.Load() && s.users.Load() == 0 {
		s.once.Do(s.unused)
	}
}
