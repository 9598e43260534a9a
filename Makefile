# The doors of this project. `make` alone lists them.
NODES ?= 2
# release or dev; `make up`, `make faults`, `make load` and `make bench`, everything else is built as dev.
PROFILE ?= release
# Rounds of each fault.
ROUNDS ?= 10
# Rounds of `make bench`.
BENCH_ROUNDS ?= 3
# A scenario of `make load`, with its options.
SCENARIO ?= relay --rate 500

TARGET := $(or $(CARGO_TARGET_DIR),target)
BIN_up := $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
BIN_dev := $(TARGET)/debug
# An operator of the throw-away clusters: its key for the tests, the key's hash for the api. And a receiver of webhooks who is never there.
OPERATOR := OPERATOR_KEY=for-throw-away-clusters-only \
	ADMIN_API_KEYS=tests:write:86f64e3bb22b8b1306ceb9afe4eac5c9d38cd66aa5f905a9e966036c2735af77 \
	WEBHOOK_URLS=http://127.0.0.1:9/ WEBHOOK_SECRET=for-throw-away-clusters-only-too
HELM_PYTHON := $(CURDIR)/.tools/helm/bin/python

.PHONY: help up test e2e chart-test k8s faults load bench instructions fuzz build fmt lint clean-data
.DEFAULT_GOAL := help

help: ## List these commands
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

up: ## Start everything on http://localhost:8080 (NODES=2, PROFILE=release, ports by environment); Ctrl-C stops it
	@scripts/setup
	@echo "building ($(PROFILE)); the first time takes minutes"
	@cargo build --workspace --bins --profile $(PROFILE)
	@exec $(BIN_up)/devcluster up --nodes $(NODES)

# The same features as `cargo test`: nothing is compiled twice.
build:
	@scripts/setup test
	cargo build --workspace --all-targets

test: build chart-test ## Run all tests: the chart, Rust on real servers, a short round of faults, stock clients and real browsers on a real cluster
	cargo test --workspace
	$(BIN_dev)/loadtest faults --rounds 1 --short
	-@scripts/instructions dev
	$(OPERATOR) $(BIN_dev)/devcluster run --nodes $(NODES) -- npm --prefix e2e test
	$(BIN_dev)/devcluster run --nodes $(NODES) --redis-masters 3 -- npm --prefix e2e test -- transports python
	$(BIN_dev)/devcluster run --nodes 3 -- npm --prefix e2e test -- meeting model

e2e: build ## Run the end-to-end tests alone
	$(OPERATOR) $(BIN_dev)/devcluster run --nodes $(NODES) -- npm --prefix e2e test

chart-test: ## Test what operators get: chart, manifests, images, alerts, dashboards; nothing is built
	@scripts/setup chart
	cd helm && $(HELM_PYTHON) -m unittest discover --start-directory tests --top-level-directory .

k8s: ## Write what is made from the chart: k8s/, its README, its dashboards and SLO rules
	@scripts/setup chart
	@cd helm && $(HELM_PYTHON) -m tools.generate

fuzz: ## Fuzz the codecs and the client's events, FUZZ_SECONDS (60) each; needs a C++ compiler
	@scripts/fuzz

faults: ## Inject every fault ROUNDS times into a cluster under load, and audit every acknowledged event
	@scripts/setup
	@cargo build --workspace --bins --profile $(PROFILE)
	$(BIN_up)/loadtest faults --rounds $(ROUNDS)

load: ## Load a throw-away cluster, or one of yours: SCENARIO="relay --rate 500", idle, join, rooms, broadcast, storm, rest
	@scripts/setup
	@cargo build --workspace --bins --profile $(PROFILE)
	$(BIN_up)/loadtest $(SCENARIO)

bench: ## Measure Switchboard beside Socket.IO and Express on Node.js, in turn on the same Redis and MongoDB, BENCH_ROUNDS (3) times; release alone means something
	@scripts/setup bench
	@cargo build --workspace --bins --profile $(PROFILE)
	$(BIN_up)/loadtest bench --rounds $(BENCH_ROUNDS)

instructions: ## Count the instructions of codecs and rules (valgrind)
	@scripts/instructions $(PROFILE)

fmt: ## Format the Rust code
	cargo fmt --all

lint: ## Check format and lints, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

clean-data: ## Remove the data of `make up`
	rm -rf .data
