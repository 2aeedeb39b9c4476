package wallet

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
	"golang.org/x/net/idna"
)

// Subject is the registry's name for a wallet: its address, left-padded.
func Subject(address [20]byte) (subject [32]byte) {
	copy(subject[12:], address[:])
	return subject
}

// SubjectAddress is the wallet that the subject names; false for hosts and others.
func SubjectAddress(subject [32]byte) (address [20]byte, ok bool) {
	copy(address[:], subject[12:])
	return address, address != [20]byte{} && Subject(address) == subject
}

// HostSubject is the registry's name for a hosting provider: keccak256("host:" +
// domain), the domain as its lowercase A-label without a port or final dot.
func HostSubject(domain string) ([32]byte, error) {
	name, err := HostName(domain)
	if err != nil {
		return [32]byte{}, err
	}
	return crypto.Keccak256Hash([]byte("host:" + name)), nil
}

// dns maps what people write to the name that DNS holds, and refuses what it cannot hold.
var dns = idna.New(idna.MapForLookup(), idna.StrictDomainName(true), idna.BidiRule(), idna.VerifyDNSLength(true))

// HostName is the one spelling of a domain that subjects are made from.
func HostName(domain string) (string, error) {
	name, err := dns.ToASCII(strings.TrimSuffix(domain, "."))
	if err == nil && (name == "" || strings.HasSuffix(name, ".")) {
		err = errors.New("it has an empty part")
	}
	if err != nil {
		return "", fmt.Errorf("wallet: host %.80q is no domain name (%w); write it without scheme, port and path", domain, err)
	}
	return name, nil
}

// OIDCSubject is the registry's name for someone whom another issuer of tokens names
// by sub: keccak256("oidc:" + issuer + "|" + sub). The issuer holds no '|'.
func OIDCSubject(issuer, sub string) [32]byte {
	return crypto.Keccak256Hash([]byte("oidc:" + issuer + "|" + sub))
}
