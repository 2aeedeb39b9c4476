package wallet

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/ethclient"
)

// DialVerifier makes a [Verifier] that asks the node at url. It connects on first
// use, so a node that is down now costs contract accounts an [ErrUnavailable] each.
func DialVerifier(ctx context.Context, url string) (*Verifier, error) {
	client, err := ethclient.DialContext(ctx, url)
	if err != nil { // err may quote the URL, which may hold a key
		return nil, errors.New("wallet: the RPC URL is not one that can be used; it needs http(s):// or ws(s)://")
	}
	return &Verifier{Chain: client}, nil
}

// Close frees the connections of a Verifier from [DialVerifier].
func (v *Verifier) Close() {
	if client, ok := v.Chain.(*ethclient.Client); ok {
		client.Close()
	}
}
