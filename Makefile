# The commands of this project. `make` alone lists them.
NODES ?= 2
# Cargo profile of `make faults`, `make abuse`, `make load`, `make bench`, `make instructions`,
# `make images` and `make cluster-test`: release or dev.
PROFILE ?= release
# Rounds of each fault in `make faults`, and the folder of the programs of another version for its
# row `two-versions`, which is skipped without.
ROUNDS ?= 10
OTHER_PROGRAMS ?=
# Seconds of each attack in `make abuse`.
ABUSE_SECONDS ?= 20
# Rounds of `make bench`.
BENCH_ROUNDS ?= 3
# Scenario of `make load`, with its options.
SCENARIO ?= relay --rate 500

# `make up` has a profile of its own: it compiles in a third of the time of release.
up: PROFILE := $(if $(filter file,$(origin PROFILE)),up,$(PROFILE))

TARGET := $(or $(CARGO_TARGET_DIR),target)
BIN_DIR = $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
BIN_DEV := $(TARGET)/debug
# An operator of temporary clusters: the key for the tests, and its hash for the api. The receiver
# of webhooks does not exist.
OPERATOR := OPERATOR_KEY=for-throw-away-clusters-only \
	ADMIN_API_KEYS=tests:write:86f64e3bb22b8b1306ceb9afe4eac5c9d38cd66aa5f905a9e966036c2735af77 \
	WEBHOOK_URLS=http://127.0.0.1:9/ WEBHOOK_SECRET=for-throw-away-clusters-only-too
HELM_PYTHON := $(CURDIR)/.tools/helm/bin/python

.PHONY: help up test rust-test e2e sdk images cluster-test chart-test k8s faults abuse load bench instructions fuzz build fmt lint clean-data
.DEFAULT_GOAL := help

help: ## List these commands
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

up: ## Start everything on http://localhost:8080 (NODES, PROFILE, BIND, ALLOWED_ORIGINS, ports)
	@scripts/setup
	@echo "building (profile $(PROFILE)); the first build takes minutes"
	@cargo build -p switchboard-api -p switchboard-signal-node -p switchboard-devcluster --bins --profile $(PROFILE)
	@exec $(BIN_DIR)/devcluster up --nodes $(NODES)

# With the features of `cargo test`, so that nothing is compiled twice.
build:
	@scripts/setup test
	cargo build --workspace --all-targets

# The chart, Rust on real servers, short rounds of faults and attacks, stock clients, and browsers.
test: build ## Run all tests
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target rust-test chart-test
	$(BIN_DEV)/loadtest faults --rounds 1 --short
	$(BIN_DEV)/loadtest abuse --short
	-@scripts/instructions dev
	$(OPERATOR) $(BIN_DEV)/devcluster run --nodes $(NODES) -- npm --prefix e2e test
	$(BIN_DEV)/devcluster run --nodes $(NODES) --redis-masters 3 -- npm --prefix e2e test -- transports interop
	$(BIN_DEV)/devcluster run --nodes 3 -- npm --prefix e2e test -- meeting model

# Rust tests wait for servers more than they compute, so two run for each core.
rust-test:
	RUST_TEST_THREADS=$$((2 * $$(nproc))) cargo test --workspace

e2e: build ## Run the end-to-end tests alone
	$(OPERATOR) $(BIN_DEV)/devcluster run --nodes $(NODES) -- npm --prefix e2e test

sdk: ## Build the client SDK, and the page, which uses it
	@scripts/setup
	@npm --prefix sdk/js run build
	@npm --prefix web run build

images: ## Make the images api and signal-node in target/images, without Docker
	@scripts/setup
	@cargo build --locked --workspace --bins --profile $(PROFILE)
	@scripts/images --programs $(BIN_DIR) --out $(TARGET)/images

# CLUSTER_RUN begins a command that reaches Services; without it, ports are forwarded if needed.
cluster-test: images ## Test images and chart on the cluster of KUBECONFIG (CLUSTER_LOAD, CLUSTER_RUN)
	@scripts/setup cluster
	@IMAGES=$(abspath $(TARGET))/images $(CLUSTER_RUN) node e2e/cluster/main.mjs

chart-test: ## Test the chart, manifests, images, alerts and dashboards; builds nothing
	@scripts/setup chart
	cd helm && $(HELM_PYTHON) -m unittest discover --start-directory tests --top-level-directory .

k8s: ## Generate k8s/, the dashboards and the SLO rules from the chart
	@scripts/setup chart
	@cd helm && $(HELM_PYTHON) -m tools.generate

fuzz: ## Fuzz the codecs and the clients' events for FUZZ_SECONDS (60) each; needs a C++ compiler
	@scripts/fuzz

faults: ## Inject every fault ROUNDS times into a cluster under load; audit every event
	@scripts/setup
	@cargo build --workspace --bins --profile $(PROFILE)
	$(BIN_DIR)/loadtest faults --rounds $(ROUNDS) $(if $(OTHER_PROGRAMS),--other-programs $(OTHER_PROGRAMS))

abuse: ## Attack a cluster as strangers do for ABUSE_SECONDS (20) each, beside honest clients
	@scripts/setup
	@cargo build --workspace --bins --profile $(PROFILE)
	$(BIN_DIR)/loadtest abuse --seconds $(ABUSE_SECONDS)

load: ## Run a load test: SCENARIO="relay --rate 500", idle, join, rooms, broadcast, storm, rest, beats, usage, noisy
	@scripts/setup
	@cargo build --workspace --bins --profile $(PROFILE)
	$(BIN_DIR)/loadtest $(SCENARIO)

bench: ## Compare with Socket.IO and Express on Node.js and with Centrifugo, BENCH_ROUNDS (3) times; renew the costs of `loadtest size`
	@scripts/setup bench
	@cargo build --workspace --bins --profile $(PROFILE)
	$(BIN_DIR)/loadtest bench --rounds $(BENCH_ROUNDS) --costs loadtest/costs.json

instructions: ## Count the instructions of codecs and rules; needs valgrind
	@scripts/instructions $(PROFILE)

fmt: ## Format the Rust code
	cargo fmt --all

lint: ## Check format and lints; warnings fail
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

clean-data: ## Remove the accounts and calls of `make up`
	rm -rf .data
