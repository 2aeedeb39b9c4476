package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/contract"
)

// Domain says for which registry something is signed.
type Domain struct {
	ChainID  uint64
	Registry [20]byte
}

// Domain is this registry's.
func (r *Registry) Domain() Domain { return Domain{r.identity.ChainID, r.identity.Registry} }

// Voucher is a grant that the owner or an issuer signs without a transaction, for
// anyone to redeem. It is good once, for a subject whose grant was written Seq times.
type Voucher struct {
	Model, Subject [32]byte
	Terms          Terms
	Controller     [20]byte // of a host grant; zero otherwise
	Seq            uint64   // writes to the grant so far; 0: it has none yet
	Epoch          uint64   // how often the model changed hands
	Deadline       time.Time
	Signer         [20]byte // owner or issuer; a contract account decides itself what it accepts (ERC-1271)
}

// Permit is a wallet's consent that somebody else buys for it, on these terms.
type Permit struct {
	Model    [32]byte
	Subject  [20]byte // the wallet that will hold the license
	Plan     uint32
	Price    *big.Int // in the token's smallest unit
	Token    [20]byte // zero: the chain's coin
	Seq      uint64   // writes to the grant so far
	Deadline time.Time
}

// Signed is a voucher or a permit, with its signature. As JSON it is the typed data of
// EIP-712 that wallets sign (eth_signTypedData_v4), with a member "signature" beside.
type Signed struct {
	Domain    Domain
	Voucher   *Voucher // set, or
	Permit    *Permit
	Signature []byte // empty: not signed yet
}

// Sign signs with a key: the signer's own, or one that the signer's contract accepts.
func (s *Signed) Sign(key *wallet.Key) error {
	message, err := s.message()
	if err != nil {
		return err
	}
	if s.Signature, err = key.SignDigest(digest(s.Domain, message)); err != nil {
		return err
	}
	s.Signature[64] += 27
	return nil
}

// typedField is one field of a type, as EIP-712 writes it.
type typedField struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// message is what is signed: its JSON, its type and its values as 32-byte words.
type message interface {
	primary() string
	words() [][]byte
}

type termsMessage struct {
	NotBefore  int64          `json:"notBefore"`
	NotAfter   int64          `json:"notAfter"`
	Scope      uint32         `json:"scope"`
	Plan       uint32         `json:"plan"`
	Controller common.Address `json:"controller"`
}

type voucherMessage struct {
	Model    common.Hash    `json:"modelId"`
	Subject  common.Hash    `json:"subject"`
	Terms    termsMessage   `json:"terms"`
	Seq      uint64         `json:"expectedSeq,string"`
	Epoch    uint64         `json:"epoch,string"`
	Deadline int64          `json:"deadline"`
	Signer   common.Address `json:"signer"`
}

type permitMessage struct {
	Model    common.Hash    `json:"modelId"`
	Subject  common.Address `json:"subject"`
	Plan     uint32         `json:"plan"`
	Price    string         `json:"price"`
	Token    common.Address `json:"token"`
	Seq      uint64         `json:"expectedSeq,string"`
	Deadline int64          `json:"deadline"`
}

const (
	termsType   = "Terms(uint40 notBefore,uint40 notAfter,uint32 scope,uint32 plan,address controller)"
	voucherType = "Voucher(bytes32 modelId,bytes32 subject,Terms terms,uint64 expectedSeq,uint64 epoch,uint40 deadline,address signer)"
	permitType  = "Permit(bytes32 modelId,address subject,uint32 plan,uint128 price,address token,uint64 expectedSeq,uint40 deadline)"
	domainType  = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"

	domainName    = "fealty LicenseRegistry"
	domainVersion = "1"
)

func (m termsMessage) words() [][]byte {
	return [][]byte{number(m.NotBefore), number(m.NotAfter), number(m.Scope), number(m.Plan), m.Controller[:]}
}

func (m *voucherMessage) primary() string { return voucherType + termsType }

func (m *voucherMessage) words() [][]byte {
	return [][]byte{
		m.Model[:], m.Subject[:], wallet.HashStruct(termsType, m.Terms.words()...), number(m.Seq), number(m.Epoch), number(m.Deadline), m.Signer[:],
	}
}

func (m *permitMessage) primary() string { return permitType }

func (m *permitMessage) words() [][]byte {
	price, _ := new(big.Int).SetString(m.Price, 10) // checked when the message was made
	return [][]byte{m.Model[:], m.Subject[:], number(m.Plan), price.Bytes(), m.Token[:], number(m.Seq), number(m.Deadline)}
}

func number[N int64 | uint64 | uint32](n N) []byte { return new(big.Int).SetUint64(uint64(n)).Bytes() }

// digest is EIP-712's: what the signature is over.
func digest(d Domain, m message) [32]byte {
	domain := wallet.HashStruct(domainType, crypto.Keccak256([]byte(domainName)), crypto.Keccak256([]byte(domainVersion)), number(d.ChainID), d.Registry[:])
	return wallet.TypedDigest(domain, wallet.HashStruct(m.primary(), m.words()...))
}

func (s *Signed) message() (message, error) {
	switch {
	case s.Voucher != nil && s.Permit == nil:
		return s.Voucher.message()
	case s.Permit != nil && s.Voucher == nil:
		return s.Permit.message()
	}
	return nil, errors.New("registry: neither a voucher nor a permit")
}

func (v *Voucher) message() (*voucherMessage, error) {
	terms, err := v.Terms.encode(v.Controller)
	if err != nil {
		return nil, err
	}
	deadline, err := until(v.Deadline)
	return &voucherMessage{
		Model: v.Model, Subject: v.Subject, Seq: v.Seq, Epoch: v.Epoch, Deadline: deadline, Signer: v.Signer,
		Terms: termsMessage{terms.NotBefore.Int64(), terms.NotAfter.Int64(), terms.Scope, terms.Plan, terms.Controller},
	}, err
}

func (p *Permit) message() (*permitMessage, error) {
	if p.Price == nil || p.Price.Sign() < 0 || p.Price.BitLen() > 128 {
		return nil, fmt.Errorf("registry: a permit's price is %v; it must be from 0 to 2^128-1", p.Price)
	}
	deadline, err := until(p.Deadline)
	return &permitMessage{
		Model: p.Model, Subject: p.Subject, Plan: p.Plan, Price: p.Price.String(), Token: p.Token, Seq: p.Seq, Deadline: deadline,
	}, err
}

// until is a deadline as the contract counts it, in Unix seconds.
func until(t time.Time) (int64, error) {
	if s := t.Unix(); s > 0 && s < 1<<40 {
		return s, nil
	}
	return 0, errors.New("registry: a deadline must lie between 1970 and the year 36812")
}

// typedData is the JSON of EIP-712.
type typedData struct {
	Types       map[string][]typedField `json:"types"`
	PrimaryType string                  `json:"primaryType"`
	Domain      typedDomain             `json:"domain"`
	Message     json.RawMessage         `json:"message"`
	Signature   hexutil.Bytes           `json:"signature,omitempty"`
}

type typedDomain struct {
	Name     string         `json:"name"`
	Version  string         `json:"version"`
	ChainID  uint64         `json:"chainId"`
	Registry common.Address `json:"verifyingContract"`
}

// MarshalJSON writes what a wallet can sign.
func (s Signed) MarshalJSON() ([]byte, error) {
	m, err := s.message()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	types := map[string][]typedField{}
	for _, kind := range []string{domainType, m.primary()} {
		describe(kind, types)
	}
	primary, _, _ := strings.Cut(m.primary(), "(")
	return json.Marshal(typedData{types, primary, typedDomain{domainName, domainVersion, s.Domain.ChainID, s.Domain.Registry}, text, s.Signature})
}

// describe turns A(type name,...)B(...) into EIP-712's table of types.
func describe(kind string, into map[string][]typedField) {
	for kind != "" {
		name, rest, _ := strings.Cut(kind, "(")
		list, others, _ := strings.Cut(rest, ")")
		for _, field := range strings.Split(list, ",") {
			of, called, _ := strings.Cut(field, " ")
			into[name] = append(into[name], typedField{called, of})
		}
		kind = others
	}
}

// UnmarshalJSON reads it back. The types in it are not looked at: the contract has its own.
func (s *Signed) UnmarshalJSON(text []byte) error {
	var t typedData
	if err := strict(text, &t); err != nil {
		return fmt.Errorf("registry: not a voucher or permit: %w", err)
	}
	if t.Domain.Name != domainName || t.Domain.Version != domainVersion {
		return fmt.Errorf("registry: signed for %.40q version %.10q, not for a license registry", t.Domain.Name, t.Domain.Version)
	}
	*s = Signed{Domain: Domain{t.Domain.ChainID, t.Domain.Registry}, Signature: t.Signature}
	switch t.PrimaryType {
	case "Voucher":
		return s.readVoucher(t.Message)
	case "Permit":
		return s.readPermit(t.Message)
	}
	return fmt.Errorf("registry: it is a %.40q, neither a Voucher nor a Permit", t.PrimaryType)
}

func (s *Signed) readVoucher(text []byte) error {
	var m voucherMessage
	if err := strict(text, &m); err != nil {
		return fmt.Errorf("registry: the voucher cannot be read: %w", err)
	}
	s.Voucher = &Voucher{
		Model: m.Model, Subject: m.Subject, Controller: m.Terms.Controller, Seq: m.Seq, Epoch: m.Epoch,
		Deadline: time.Unix(m.Deadline, 0), Signer: m.Signer,
		Terms: termsOf(contract.LicenseRegistryTerms{
			NotBefore: big.NewInt(m.Terms.NotBefore), NotAfter: big.NewInt(m.Terms.NotAfter), Scope: m.Terms.Scope, Plan: m.Terms.Plan,
		}),
	}
	_, err := s.Voucher.message()
	return err
}

func (s *Signed) readPermit(text []byte) error {
	var m permitMessage
	if err := strict(text, &m); err != nil {
		return fmt.Errorf("registry: the permit cannot be read: %w", err)
	}
	price, ok := new(big.Int).SetString(m.Price, 10)
	if !ok {
		return fmt.Errorf("registry: the permit's price %.40q is no number", m.Price)
	}
	s.Permit = &Permit{
		Model: m.Model, Subject: m.Subject, Plan: m.Plan, Price: price, Token: m.Token, Seq: m.Seq, Deadline: time.Unix(m.Deadline, 0),
	}
	_, err := s.Permit.message()
	return err
}

func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
