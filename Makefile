# Every target sets up what it needs, so that each works in a fresh clone.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Two cargo runs at once only wait for each other's lock, and they need twice the memory.
.NOTPARALLEL:

# Taken before the tools come first in the path, so that they are never installed by their own Python.
PYTHON := $(or $(PYTHON),$(shell command -v python3))
VENV ?= $(CURDIR)/.venv
# Of what is built for Lambda. Everything else is built for this machine.
ARCHITECTURE ?= x86_64
RUST_TARGET := $(patsubst arm64,aarch64,$(ARCHITECTURE))-unknown-linux-gnu
TEMPLATES := template.yaml fanout.yaml $(wildcard cfn/*.yaml)

# The target directory may lie outside the checkout.
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
export CARGO_TARGET_DIR := $(TARGET_DIR)
# The local AWS reads these two: where MiniStack is installed, and where the packages of the functions are.
export LOCAL_AWS_PYTHON := $(abspath $(VENV))/bin/python
export LAMBDA_PACKAGES := $(TARGET_DIR)/lambda$(if $(filter arm64,$(ARCHITECTURE)),-arm64)
# cargo finds its subcommand lambda, and that one finds zig, through the path.
export PATH := $(abspath $(VENV))/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0

# What is deployed as it is, without Lambda: the tool that registers instances.
PROGRAMS := $(addprefix $(TARGET_DIR)/$(RUST_TARGET)/release/,$(notdir $(wildcard bin/register-instance)))

# The stamp is named after the contents of the pins, so that a new checkout of the same pins has nothing to do.
TOOLS := $(VENV)/.installed-$(shell cksum < requirements.txt | cut -d ' ' -f 1)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(TOOLS) ## Install the Python tools into .venv and look for the Rust ones
	@command -v cargo > /dev/null || { echo "cargo is not installed; get Rust with rustup." >&2; exit 1; }
	@test -d "$$(rustc --print target-libdir --target $(RUST_TARGET))" \
		|| { echo "Rust has no standard library for $(RUST_TARGET); run: rustup target add $(RUST_TARGET)" >&2; exit 1; }

$(TOOLS): | requirements.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "The tools need Python 3.11 or later; name one with PYTHON=…" >&2; exit 1; }
	@echo "Installing the Python tools: about two minutes the first time."
	@"$(PYTHON)" -m venv "$(VENV)"
	@"$(LOCAL_AWS_PYTHON)" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@cargo lambda --version
	@rm -f "$(VENV)"/.installed-*
	@touch "$@"

.PHONY: build
build: setup ## Build the packages of the functions (ARCHITECTURE=arm64 for that processor)
	@test -d "$(TARGET_DIR)/$(RUST_TARGET)/release" \
		|| echo "Building the functions as they are released: about 14 minutes the first time, on two cores."
	@cargo lambda build --locked --release --output-format zip --lambda-dir "$(LAMBDA_PACKAGES)" \
		$(if $(filter arm64,$(ARCHITECTURE)),--target $(RUST_TARGET).2.26)

.PHONY: package
package: build ## Lay out dist/: packages, templates and sums for a deployment without SAM's build
	@"$(LOCAL_AWS_PYTHON)" scripts/dist.py "$(LAMBDA_PACKAGES)" dist $(PROGRAMS)
	@cat dist/SHA256SUMS

# SAM asks cargo lambda for each function by itself. All of them are there from `make build`, so nothing is compiled.
.PHONY: sam
sam: package ## Build the functions with SAM, and check that they are those of make package
	@sam build --beta-features
	@"$(LOCAL_AWS_PYTHON)" scripts/same.py .aws-sam/build dist

.PHONY: check
check: setup ## Check format, lints, documentation and templates
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	cfn-lint $(TEMPLATES)
	AWS_DEFAULT_REGION=us-east-1 sam validate --lint
	AWS_DEFAULT_REGION=us-east-1 sam validate --lint --template-file fanout.yaml

.PHONY: test
test: build programs ## Run all tests, on the local AWS where they need one
	@if cargo nextest --version > /dev/null 2>&1; then \
		cargo nextest run --locked --workspace; \
	else \
		echo "cargo-nextest is not installed: cargo test does the same, only slower."; \
		cargo test --locked --workspace --lib --bins --tests; \
	fi
	cargo test --locked --workspace --doc

# First a sweep and changes at once on the deployed templates, many rounds of it; then the simulation in memory. Each prints
# what it tried, and the seed with which to see a failure again.
SOAK_ROUNDS ?= 100
SOAK_MINUTES ?= 60
SOAK_SEEDS ?= 1000000
export SIMULATION_SEEDS ?= 10000

.PHONY: soak
soak: build programs ## Try for hours what must hold under concurrency (SOAK_ROUNDS=100 SOAK_MINUTES=60)
	@TAG_HUB_SEEDS=$(SOAK_ROUNDS) cargo test --locked --workspace --test end_to_end --quiet -- \
		--nocapture contention::
	@"$(TARGET_DIR)/debug/soak" --seeds $(SOAK_SEEDS) --minutes $(SOAK_MINUTES)

.PHONY: demo
demo: build programs ## Show Tag Hub at work on the local AWS (KEEP=1 leaves it running)
	@"$(TARGET_DIR)/debug/demo" $(if $(KEEP),--keep)

.PHONY: bench
bench: build programs ## Measure what Tag Hub promises
	@"$(TARGET_DIR)/debug/bench"

.PHONY: dashboard
dashboard: build programs ## Draw the dashboard with the figures of a local run, into docs/dashboard.svg
	@"$(TARGET_DIR)/debug/dashboard"

# The demo and the bench are built together with the tests: cargo would compile the AWS SDK anew for each of them
# alone, because the tests turn on more of its features.
.PHONY: programs
programs:
	@test -d "$(TARGET_DIR)/debug/deps" \
		|| echo "Building the tests, the demo and the bench: about 8 minutes the first time, on two cores."
	@cargo build --locked --workspace --bins --tests

.PHONY: clean
clean: ## Remove everything that was built or installed here
	cargo clean
	rm -rf "$(VENV)" .aws-sam .local-aws dist
