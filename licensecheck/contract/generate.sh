#!/bin/sh
# Compiles LicenseRegistry.sol with the pinned solc and writes the Go bindings. Run it after every change of the
# contract and commit what it writes; with --check it writes nothing and fails when anything would change.
set -eu
cd "$(dirname "$0")"

[ -f node_modules/solc/package.json ] || npm ci --no-audit --no-fund --ignore-scripts >&2

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
node compile.js "$out"

bind() { # contract, package, file
	go tool abigen --v2 \
		--abi "$out/$1.abi" --bin "$out/$1.bin" --type "$1" --pkg "$2" --out "$out/$3" >&2
	gofmt -w "$out/$3"
}
bind LicenseRegistry contract registry.gen.go
bind TestToken contracttest token.gen.go
bind TestWallet contracttest wallet.gen.go

place() { # made, committed
	if [ "${check:-}" ]; then
		diff -u "$2" "$1" || stale=1
	else
		mkdir -p "$(dirname "$2")"
		cp "$1" "$2"
	fi
}
[ "${1:-}" = --check ] && check=1
place "$out/registry.gen.go" registry.gen.go
place "$out/LicenseRegistry.layout.json" testdata/layout.json
place "$out/token.gen.go" contracttest/token.gen.go
place "$out/wallet.gen.go" contracttest/wallet.gen.go
[ -z "${stale:-}" ] || { echo "generated files are stale: run licensecheck/contract/generate.sh" >&2; exit 1; }
