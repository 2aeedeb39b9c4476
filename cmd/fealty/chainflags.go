package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/redact"
	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/registry"
)

// keyFlags say where a wallet's key is. None of them holds the key itself: a
// command line is public.
type keyFlags struct{ source wallet.Source }

func (f *keyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.source.Keystore, "keystore", "", "encrypted keystore file of the wallet")
	cmd.Flags().StringVar(&f.source.PassphraseFile, "passphrase-file", "", "file with the keystore's passphrase")
	cmd.Flags().StringVar(&f.source.PassphraseEnv, "passphrase-env", "", "environment variable with the keystore's passphrase")
	cmd.Flags().StringVar(&f.source.Env, "key-env", "", "environment variable with the wallet's key in hexadecimal, instead of a keystore")
}

func (f *keyFlags) load() (*wallet.Key, error) {
	if f.source == (wallet.Source{}) {
		return nil, usagef("name the wallet: --keystore FILE with --passphrase-file FILE, or --key-env NAME")
	}
	return wallet.Load(f.source)
}

// chainFlags say which registry, through which node.
type chainFlags struct {
	rpc      string
	chainID  uint64
	registry string
	model    string

	url string // what rpc resolved to; it may hold a key
}

func (f *chainFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.rpc, "rpc", "", "Ethereum node: env:NAME or file:PATH that holds its URL, or a loopback URL")
	cmd.Flags().Uint64Var(&f.chainID, "chain-id", 0, "refuse any other chain; 0 takes the node's")
}

func (f *chainFlags) addRegistry(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.registry, "registry", "", "address of the license registry")
}

func (f *chainFlags) addModel(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.model, "model", "", "the model's id in the registry, 0x and 64 hexadecimal digits")
}

// options resolves the flags. RPC URLs often hold an API key, so only those of
// this machine may stand on the command line.
func (f *chainFlags) options(key *wallet.Key, progress func(string)) (registry.Options, error) {
	o := registry.Options{ChainID: f.chainID, Key: key, Progress: progress}
	if f.rpc == "" {
		return o, usagef("name the node: --rpc env:NAME, file:PATH or a loopback URL")
	}
	f.url = f.rpc
	if !loopbackURL(f.rpc) {
		value, err := secretFlag("--rpc", f.rpc)
		if err != nil {
			return o, err
		}
		f.url = value
	}
	o.RPC = f.url
	if f.registry != "" {
		address, err := wallet.ParseAddress(f.registry)
		if err != nil {
			return o, usagef("--registry: %v", err)
		}
		o.Registry = address
	}
	return o, nil
}

func (f *chainFlags) needRegistry() error {
	if f.registry == "" {
		return usagef("name the registry: --registry 0x..., which 'fealty license deploy' printed")
	}
	return nil
}

// open connects to the registry that the flags name.
func (f *chainFlags) open(ctx context.Context, key *wallet.Key, progress func(string)) (*registry.Registry, error) {
	if err := f.needRegistry(); err != nil {
		return nil, err
	}
	o, err := f.options(key, progress)
	if err != nil {
		return nil, err
	}
	r, err := registry.Open(ctx, o)
	return r, f.redact(err)
}

// redact keeps the secrets of the RPC URL out of an error.
func (f *chainFlags) redact(err error) error { return redact.Error(err, f.url) }

func (f *chainFlags) modelID() ([32]byte, error) { return parse32("--model", f.model) }

func loopbackURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Host == "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func parse32(flag, text string) (out [32]byte, err error) {
	raw, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
	if err != nil || len(raw) != len(out) {
		return out, usagef("%s: need 0x and 64 hexadecimal digits", flag)
	}
	copy(out[:], raw)
	return out, nil
}

// parseSubject reads who holds a license: a wallet's address, host:DOMAIN, or
// oidc:ISSUER|SUB for someone whom another issuer of tokens names.
func parseSubject(text string) ([32]byte, error) {
	if domain, ok := strings.CutPrefix(text, "host:"); ok {
		subject, err := wallet.HostSubject(domain)
		if err != nil {
			return subject, usagef("--subject: %v", err)
		}
		return subject, nil
	}
	if someone, ok := strings.CutPrefix(text, "oidc:"); ok {
		issuer, sub, _ := strings.Cut(someone, "|")
		if issuer == "" || sub == "" {
			return [32]byte{}, usagef("--subject: write oidc:ISSUER|SUB, with the iss and sub of their tokens")
		}
		return wallet.OIDCSubject(issuer, sub), nil
	}
	address, err := wallet.ParseAddress(text)
	if err != nil {
		return [32]byte{}, usagef("--subject: %v; name a wallet's address, host:DOMAIN or oidc:ISSUER|SUB", err)
	}
	return wallet.Subject(address), nil
}

// secretFlag resolves a flag that names where a secret is.
func secretFlag(flag, text string) (string, error) {
	secret, err := gateway.ParseSecret(text)
	if err != nil {
		return "", usagef("%s: a URL or key may be a secret and does not belong on a command line; write env:NAME or file:PATH", flag)
	}
	value, err := secret.Resolve()
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return string(value), nil
}
