package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"hash"

	"github.com/fealty/fealty/internal/wallet"
)

// seal collects what the host signs of an answer.
type seal struct {
	request [32]byte
	answer  hash.Hash
}

// seal is nil unless the client asks for a signature and the operator gives them.
func (x *exchange) seal(body []byte) *seal {
	if !x.svc.cfg.Host.SignAnswers || x.svc.deps.Proof.Key == nil || string(x.http.Request.Header.Peek(wallet.SignHeader)) != "1" {
		return nil
	}
	return &seal{sha256.Sum256(body), sha256.New()}
}

// addEvents takes whole lines of a stream. Comments do not count: heartbeats come
// between them unforeseen, and what stands between may drop or add some.
func (s *seal) addEvents(lines []byte) {
	for line := range bytes.Lines(lines) {
		if line[0] != ':' {
			s.answer.Write(line)
		}
	}
}

// signature is what the host says of the answer's bytes: nil if nobody asked, or if
// the key speaks for the host no longer. An answer without one is an answer still.
func (a *answer) signature() []byte {
	proof, now := a.svc.deps.Proof, a.s.clock()
	if a.seal == nil || !proof.Until.IsZero() && !now.Before(proof.Until) {
		return nil
	}
	text, err := a.signed(proof, uint64(now.Unix()))
	if err != nil {
		a.s.log.Error("an answer was not signed", "request", a.id, "cause", err)
		return nil
	}
	return text
}

func (a *answer) signed(proof HostProof, now uint64) ([]byte, error) {
	l := a.pass.model.cfg.License
	registry, err := wallet.ParseAddress(l.Registry)
	if err != nil {
		return nil, err
	}
	domain, err := wallet.HostName(a.svc.cfg.Host.Domain)
	if err != nil {
		return nil, err
	}
	s, err := proof.Key.SignAnswer(domain, wallet.Answer{
		ChainID: a.svc.chainID(l.Chain), Registry: registry, Model: a.pass.model.id, Host: a.svc.deps.Host,
		Request: a.seal.request, Answer: [32]byte(a.seal.answer.Sum(nil)), Time: now,
	})
	if err != nil {
		return nil, err
	}
	s.Delegation = proof.Delegation
	return json.Marshal(s)
}
