# What can be done with kube-proxier's sources; `make help` lists it.
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
TOOL = $(GO) tool -modfile=tools/go.mod
# Debian keeps iptables and its relatives out of the PATH of users.
export PATH := $(PATH):/usr/sbin:/sbin

BENCH ?= .
BENCHTIME ?= 1s
FUZZTIME ?= 30s
DURATION ?= 30m
SEED ?= 0
# What make bench-scale measures; see docs/benchmarks.md
SIZES ?= 1000x10,5000x10,10000x10
MODES ?= iptables,nftables
VARIANTS ?= nft,legacy
COMPARE ?=
# Packages whose tests need a kernel with IPVS; IPVSFLAGS='-test.v -test.run=Drain'
IPVS ?= ./internal/testenv/vm/selftest ./ipvs ./ipvs/ipset ./ipvs/device ./internal/ipvstests

.PHONY: all help build setup kube-apiserver test test-ipvs race e2e soak golden fuzz bench bench-scale demo lint fmt vuln verify release release-check clean

all: lint test ## lint and test

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r n t; do printf '%-15s %s\n' "$$n" "$$t"; done

# Go would ask git for the commit, which fails where root builds in somebody else's
# folder; VERSION says it.
build: ## bin/kube-proxier
	@GO='$(GO)' tools/setup.sh go
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/kube-proxier ./cmd/kube-proxier

setup: ## install the Debian packages that tests need, or say which
	@GO='$(GO)' tools/setup.sh test

kube-apiserver: setup ## build the API server and the kube-proxy of the end-to-end tests (minutes, once)
	@! command -v etcd >/dev/null || internal/testenv/kube/build.sh

test: kube-apiserver test-ipvs ## all tests; what needs root or a kernel feature skips, with CI=true it fails
	$(GO) test -timeout 20m ./...

test-ipvs: setup build ## tests of IPVS, in a virtual machine unless this kernel has it
	@$(GO) run ./internal/testenv/vm/cmd/vm test -t 25m $(IPVS) $(if $(IPVSFLAGS),-- $(IPVSFLAGS))

race: kube-apiserver ## all tests with the race detector, but e2e: its daemon is a process without
	@GO='$(GO)' tools/setup.sh race
	$(GO) test -race -timeout 30m $$($(GO) list ./... | grep -v internal/e2e)

e2e: kube-apiserver ## the tests against a real API server and a real kernel, each by name
	$(GO) test -count=1 -v -timeout 20m ./internal/e2e ./internal/kerneltest

soak: kube-apiserver ## random changes and faults for DURATION, 50 rounds of upgrades, an API server ill for minutes; SEED=n repeats a run
	$(GO) test -count=1 -v -timeout 0 ./internal/e2e -run 'TestSoak|TestUpgrades|TestTakeOver|TestAPIServerThatIsIll' -soak.duration=$(DURATION) -soak.seed=$(SEED) -rounds=50 -ill=2m

golden: ## rewrite the golden sections of testdata/scenarios; read the diff
	$(GO) test ./internal/scenarios -update

fuzz: ## each fuzz test for FUZZTIME
	@tools/fuzz.sh $(FUZZTIME)

bench: ## benchmarks: BENCH=Build/10000 BENCHTIME=5x make bench
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem -timeout 60m ./...

bench-scale: build kube-apiserver ## measure at SIZES, in MODES and VARIANTS, beside kube-proxy at COMPARE; writes docs/benchmarks.md (root)
	$(GO) build -buildvcs=false -o bin/bench-scale ./internal/benchscale/cmd/bench-scale
	bin/bench-scale -sizes '$(SIZES)' -modes '$(MODES)' -variants '$(VARIANTS)' -compare '$(COMPARE)' $(BENCHSCALEFLAGS)

demo: build ## real Services between network namespaces (root)
	@GO='$(GO)' tools/setup.sh demo
	@$(GO) run ./internal/demo -program bin/kube-proxier

lint: ## golangci-lint, pinned in tools/go.mod
	$(TOOL) golangci-lint run --allow-parallel-runners ./...

fmt: ## format all Go files
	$(TOOL) golangci-lint fmt ./...

vuln: ## known vulnerabilities in what is linked in
	@tools/vuln.sh

verify: ## nothing to tidy, to format or to regenerate
	$(GO) mod tidy -diff && cd tools && $(GO) mod tidy -diff && cd render && $(GO) mod tidy -diff
	$(TOOL) golangci-lint fmt --diff ./...

release: ## dist/: archives for all architectures, SBOMs, checksums; VERSION=v1.2.3
	tools/release.sh $(VERSION) dist

release-check: ## two builds of a release give the same bytes; FRESH=1 compiles all again
	tools/release-check.sh

clean: ## remove what make built
	rm -rf bin dist
