# What a newcomer needs: `make demo` and `make test`. The rest is for those who work on it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

# Go's SIMD intrinsics make the pure-Go matrix kernels 9-20 times faster.
export GOEXPERIMENT := simd
GO ?= go

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# A number of runs, not a time: at the end of a time, 'go test' at times takes its own deadline
# for a failure ("context deadline exceeded", golang.org/issue/75804). These are a few seconds each.
FUZZTIME ?= 40000x
FUZZERS  := internal/weights:FuzzGGUF internal/weights:FuzzSafetensors internal/openai:FuzzRequest internal/openai:FuzzMembers \
            internal/openai:FuzzAppendText internal/openai:FuzzEvents internal/tokenizer/jinja:FuzzTemplate internal/wallet:FuzzRecover \
            gateway/identity/siwe:FuzzParse gateway/identity/token:FuzzToken gateway/identity/token:FuzzParseSet

.PHONY: build demo test eval interop lint bench fuzz generate cross clean setup race soak k6

build: ## bin/fealty
	@$(GO) build -ldflags '$(LDFLAGS)' -o bin/fealty ./cmd/fealty

demo: build ## the whole story on this machine; ARGS=--once plays it unattended
	@./bin/fealty demo $(ARGS)

# One package after the other: several inject faults and watch what happens in milliseconds,
# and beside a training model on two cores they would measure that.
test: setup build ## every test that needs no large third-party part
	$(GO) vet ./...
	$(GO) test -p 1 -timeout 60m ./...
	@$(MAKE) --no-print-directory fuzz
	@scripts/generated-is-current

eval: build ## what fingerprints survive and cost, tables and plots in eval/, an hour at a time; ARGS=--quick for a first look
	@scripts/eval-data
	@internal/reference/setup.sh > /dev/null
	@./bin/fealty embed eval --output eval --minutes 60 $(ARGS)

interop: build ## against llama.cpp, transformers and the Python SDK, built once into the cache
	@interop/run

k6: ## bin/k6: k6 with our module, built once into the cache; see k6/README.md
	@cd k6 && GOEXPERIMENT= $(GO) test ./exchange ./module
	@mkdir -p bin && ln -sf "$$(k6/build)" bin/k6

fuzz: ## the parsers of untrusted bytes, each for FUZZTIME (40000x: so many runs)
	@for f in $(FUZZERS); do \
	  echo "fuzz $${f#*:} for $(FUZZTIME)"; \
	  $(GO) test -run '^$$' -fuzz "^$${f#*:}$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x ./$${f%:*}; \
	done

race: ## the packages that share memory between requests, under the race detector
	$(GO) test -race -short -gcflags=all=-d=checkptr=0 ./policy/... ./sampler/... ./gateway/... ./licensecheck/... ./internal/engine/...

lint: ## formatting, vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...

bench: ## authorisation, sampling, prefill and decode; see docs/benchmarks.md
	$(GO) test -run '^$$' -bench . -benchmem -count $(or $(COUNT),3) ./policy ./sampler ./gateway ./gateway/limit ./gateway/rules ./licensecheck ./internal/tokenizer ./internal/llama

soak: build ## ten minutes of load on a gateway: its memory must not grow
	@./bin/fealty bench soak --for $(or $(FOR),10m)

generate: ## contract bindings from LicenseRegistry.sol
	licensecheck/contract/generate.sh

cross: ## the other platforms we promise to compile for
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build -o /dev/null ./cmd/fealty
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/fealty

setup: ## what the tests need beside Go: redis-server, npm packages
	@scripts/setup

clean:
	rm -rf bin node_modules licensecheck/contract/node_modules
