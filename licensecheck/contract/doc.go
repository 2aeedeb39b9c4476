// Package contract is the license registry on the chain: its Solidity source,
// the Go bindings generated from it, and what proofs and watchers need to know of
// its storage.
//
// LicenseRegistry.sol is the source of truth; generate.sh makes registry.gen.go.
// The package reaches no network. Start with [UnpackWord] and [GrantSlots].
package contract

//go:generate ./generate.sh
