package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// TLSConfig is the certificate of the public listener. Without one it speaks plain HTTP.
type TLSConfig struct {
	Certificate string `yaml:"certificate"` // file: PEM, the chain after the server's own
	Key         Secret `yaml:"key"`         // PEM
}

// On reports whether there is one.
func (t TLSConfig) On() bool { return t.Certificate != "" }

func (t TLSConfig) validate(errs *problems) {
	errs.need("tls", t.On() == t.Key.Set(), "certificate and key, or neither")
}

// load reads both files.
func (t TLSConfig) load() (*certificate, error) {
	chain, err := os.ReadFile(t.Certificate)
	if err != nil {
		return nil, fmt.Errorf("tls.certificate: %w", err)
	}
	key, err := t.Key.Resolve()
	if err != nil {
		return nil, fmt.Errorf("tls.key: %w", err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("tls: %s and %s do not make a pair: %w", t.Certificate, t.Key, err)
	}
	return &certificate{pair: pair, chain: chain, key: key}, nil
}

// certificate is a pair and the files' contents.
type certificate struct {
	pair       tls.Certificate
	chain, key []byte
}

// certificates is the one that new connections get.
type certificates struct{ now atomic.Pointer[certificate] }

func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if own := c.now.Load(); own != nil {
				return &own.pair, nil
			}
			return nil, errors.New("no certificate is configured")
		},
	}
}

// left is how long the certificate is still good for; negative once it has expired.
func (c *certificates) left() time.Duration {
	own := c.now.Load()
	if own == nil || own.pair.Leaf == nil {
		return 0
	}
	return time.Until(own.pair.Leaf.NotAfter)
}

// renewEvery is how often the files are looked at, since what renews certificates often
// tells nobody.
const renewEvery = time.Minute

func (s *Server) renew(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(renewEvery):
			s.renewNow()
		}
	}
}

// renewNow takes the files' certificate, if it is another one and whole.
func (s *Server) renewNow() {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	cfg, own := s.current.Load().cfg.TLS, s.certificates.now.Load()
	if !cfg.On() {
		return
	}
	next, err := cfg.load()
	if err != nil {
		s.log.Error("the TLS certificate was not renewed; the one before goes on", "cause", err)
		return
	}
	if !bytes.Equal(next.chain, own.chain) || !bytes.Equal(next.key, own.key) {
		s.certificates.now.Store(next)
		s.log.Info("the TLS certificate was renewed", "until", next.pair.Leaf.NotAfter)
	}
}
