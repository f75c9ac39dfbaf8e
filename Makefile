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
# The local AWS reads this: where MiniStack is installed.
export LOCAL_AWS_PYTHON := $(abspath $(VENV))/bin/python
# What is released. The demo and the tests run what cargo builds for them instead, so that nothing is compiled twice.
PACKAGES := $(TARGET_DIR)/lambda$(if $(filter arm64,$(ARCHITECTURE)),-arm64)
# cargo finds its subcommands lambda, nextest and deny, and the first one finds zig, through the path.
export PATH := $(abspath $(VENV))/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0

# What only a release needs is compiled when it is needed, and kept beside the Python tools. Its speed is no matter.
CARGO_CYCLONEDX := 0.5.9
installed = cargo $(patsubst cargo-%,%,$1) --version 2> /dev/null | grep -qF "$2" || { \
	echo "Compiling $1: a few minutes the first time."; \
	CARGO_TARGET_DIR="$(VENV)/build" cargo install --quiet --locked --debug --root "$(VENV)" --version "$2" "$1"; \
	rm -rf "$(VENV)/build"; }
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
RELEASE := tag-hub-$(VERSION)-$(ARCHITECTURE).tar.gz

# What a target took, with everything before it.
STARTED := $(shell date +%s)
TOOK = @s=$$(($$(date +%s) - $(STARTED))); echo "make $@ took $$((s / 60)) min $$((s % 60)) s."

# What is handed out as it is: the tool that registers instances, and the operators' program.
PROGRAMS := $(addprefix $(TARGET_DIR)/$(RUST_TARGET)/release/,$(notdir $(wildcard bin/*)))

# The stamp is named after the contents of the pins, so that a new checkout of the same pins has nothing to do.
TOOLS := $(VENV)/.installed-$(shell cksum < requirements.txt | cut -d ' ' -f 1)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(TOOLS) cargo ## Install the Python tools into .venv and look for the Rust ones

.PHONY: cargo
cargo:
	@command -v cargo > /dev/null || { echo "cargo is not installed; get Rust with rustup." >&2; exit 1; }

$(TOOLS): | requirements.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "The tools need Python 3.11 or later; name one with PYTHON=…" >&2; exit 1; }
	@echo "Installing the Python tools: about two minutes the first time."
	@"$(PYTHON)" -m venv "$(VENV)"
	@# Nothing is resolved: the pins name all there is. pip would look for newer versions of what has extras, and refuse them.
	@"$(LOCAL_AWS_PYTHON)" -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements.txt
	@"$(VENV)/bin/cargo-lambda" lambda --version
	@rm -f "$(VENV)"/.installed-*
	@touch "$@"

# As archives, for which the programs stay where cargo left them.
RELEASE_BUILD = cargo lambda build --locked --release --output-format zip \
	$(if $(filter arm64,$(ARCHITECTURE)),--target $(RUST_TARGET).2.26)

.PHONY: build
build: setup ## Build the functions' packages (ARCHITECTURE=arm64 for Graviton)
	@test -d "$$(rustc --print target-libdir --target $(RUST_TARGET))" \
		|| { echo "Rust has no standard library for $(RUST_TARGET); run: rustup target add $(RUST_TARGET)" >&2; exit 1; }
	@test -d "$(TARGET_DIR)/$(RUST_TARGET)/release" \
		|| echo "Compiling the functions as they are released: about 17 minutes the first time, on two cores."
	@$(RELEASE_BUILD) --lambda-dir "$(PACKAGES)"
	@# By itself: together, the functions would get all that the operators' program asks of the same crates.
	@$(RELEASE_BUILD) --package taghub --lambda-dir "$(TARGET_DIR)/programs"

.PHONY: package
package: build ## Write dist/: packages, templates, and checksums to deploy without SAM's build
	@"$(LOCAL_AWS_PYTHON)" scripts/dist.py "$(PACKAGES)" dist $(PROGRAMS)
	@cat dist/SHA256SUMS

# SAM asks cargo lambda for each function by itself. All of them are there from `make build`, so nothing is compiled.
.PHONY: sam
sam: package ## Build the functions with SAM, and check that they equal those of make package
	@sam build --beta-features
	@"$(LOCAL_AWS_PYTHON)" scripts/same.py .aws-sam/build dist
	$(TOOK)

.PHONY: check
check: setup ## Check format, lints, prose, documentation, and templates
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --workspace --test packages --test page -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	cargo nextest run --locked --workspace -E 'binary(tidy)'
	cargo deny --locked check --hide-inclusion-graph bans licenses sources
	"$(LOCAL_AWS_PYTHON)" scripts/notice.py --check
	"$(LOCAL_AWS_PYTHON)" scripts/prose.py
	cfn-lint $(TEMPLATES) scripts/verify/probes.yaml
	"$(LOCAL_AWS_PYTHON)" scripts/iam.py $(TEMPLATES) scripts/verify/probes.yaml
	AWS_DEFAULT_REGION=us-east-1 sam validate --lint
	AWS_DEFAULT_REGION=us-east-1 sam validate --lint --template-file fanout.yaml
	$(TOOK)

.PHONY: test
test: programs ## Run all tests except those of the packages, on the local AWS if they need it
	@echo "Running the tests: about 10 minutes, on two cores."
	@cargo nextest run --locked --workspace
	@cargo test --locked --workspace --doc
	$(TOOK)

# The tests of what is released. --workspace turns on the same features as above, so that nothing is compiled anew.
.PHONY: test-packages
test-packages: package programs ## Test the packages as they are released
	@LAMBDA_PACKAGES="$(PACKAGES)" cargo nextest run --locked --workspace --test packages
	$(TOOK)

# First a sweep and changes at once on the deployed templates, many rounds of it; then the simulation in memory. Each prints
# what it tried, and the seed with which to see a failure again.
SOAK_ROUNDS ?= 100
SOAK_MINUTES ?= 60
SOAK_SEEDS ?= 1000000
export SIMULATION_SEEDS ?= 10000

.PHONY: soak
soak: programs ## Test the invariants under concurrency for hours (SOAK_ROUNDS=100 SOAK_MINUTES=60)
	@TAG_HUB_SEEDS=$(SOAK_ROUNDS) cargo test --locked --workspace --test end_to_end --quiet -- \
		--nocapture contention::
	@"$(TARGET_DIR)/debug/soak" --seeds $(SOAK_SEEDS) --minutes $(SOAK_MINUTES)

# A browser and what drives it, from the npm registry, each pinned with its hash. They are large, and only this needs them.
PAGE_TOOLS := $(abspath $(VENV))/page-$(shell cat tests/page/package-lock.json | cksum | cut -d ' ' -f 1)

$(PAGE_TOOLS): | tests/page/package-lock.json
	@command -v npm > /dev/null || { echo "npm is not installed; get Node.js 20 or later." >&2; exit 1; }
	@rm -rf "$(VENV)"/page-* && mkdir -p "$@.new"
	@cp tests/page/package.json tests/page/package-lock.json "$@.new"
	@npm ci --prefix "$@.new" --no-audit --no-fund --ignore-scripts --loglevel=error
	@mv "$@.new" "$@"

.PHONY: test-page
test-page: programs $(PAGE_TOOLS) ## Open the fleet page in a headless Chromium
	@cp tests/page/check.mjs "$(PAGE_TOOLS)"
	@PAGE_TOOLS="$(PAGE_TOOLS)" cargo nextest run --locked --workspace --test page
	$(TOOK)

.PHONY: demo
demo: programs ## Show Tag Hub at work on the local AWS (KEEP=1 leaves it running)
	@"$(TARGET_DIR)/debug/demo" $(if $(KEEP),--keep)
	$(TOOK)

.PHONY: bench
bench: build programs ## Measure what Tag Hub promises
	@LAMBDA_PACKAGES="$(PACKAGES)" "$(TARGET_DIR)/debug/bench"

# CLEAN=1 only removes what an earlier run has left, and needs no packages.
given = $(if $(value $1),--$2 "$($1)")
.PHONY: verify-aws
verify-aws: $(if $(CLEAN),setup,package) ## Check the assumptions on AWS, with CENTRAL_PROFILE and AGENCY_PROFILE (CLEAN=1 YES=1)
	@"$(LOCAL_AWS_PYTHON)" scripts/verify_aws.py $(if $(YES),--yes) $(if $(CLEAN),--clean) \
		$(call given,CENTRAL_PROFILE,central-profile) $(call given,AGENCY_PROFILE,agency-profile) \
		$(call given,REGION,region) $(call given,PREFIX,prefix) $(call given,SUBNET,subnet) \
		$(call given,ENDPOINT_URL,endpoint-url) $(call given,RESULTS,results) $(call given,BY,by)

.PHONY: dashboard
dashboard: programs ## Draw docs/dashboard.svg with the figures of a local run
	@"$(TARGET_DIR)/debug/dashboard"

# Everything is built together, the functions with the tests and the demo: cargo would compile the AWS SDK anew for each
# of them alone, because the tests turn on more of its features. The Python tools are installed meanwhile.
.PHONY: programs
programs: cargo
	@test -d "$(TARGET_DIR)/debug/deps" \
		|| echo "Compiling the functions, the tests and the demo: about 8 minutes the first time, on two cores."
	@make --no-print-directory PYTHON="$(PYTHON)" "$(TOOLS)" & built=0; \
		cargo build --locked --workspace --bins --tests || built=$$?; \
		wait $$! && exit $$built

# The advisories change without a change here, and have to be fetched: this is no part of make check.
.PHONY: advisories
advisories: setup ## Check the compiled dependencies for security advisories
	cargo deny --locked check --hide-inclusion-graph advisories

.PHONY: notice
notice: setup ## Write NOTICE: the licenses of the compiled dependencies
	@"$(LOCAL_AWS_PYTHON)" scripts/notice.py

.PHONY: release
release: package ## Write dist/ as a release: also licenses, changes, and SBOMs
	@$(call installed,cargo-cyclonedx,$(CARGO_CYCLONEDX))
	@"$(LOCAL_AWS_PYTHON)" scripts/release.py dist $(RUST_TARGET)
	@tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C dist -czf "$(RELEASE)" .
	@echo "$(RELEASE)"
	$(TOOK)

.PHONY: requirements
requirements: ## Pin the Python tools of requirements.in again, with the hash of every file
	@"$(PYTHON)" -m venv "$(VENV)-pins"
	@"$(VENV)-pins/bin/pip" install --quiet --disable-pip-version-check pip-tools==7.6.2
	@"$(VENV)-pins/bin/pip-compile" --quiet --generate-hashes --strip-extras --allow-unsafe \
		--no-emit-options --no-header --output-file requirements.txt requirements.in

.PHONY: clean
clean: ## Remove everything that was built or installed here
	cargo clean
	rm -rf "$(VENV)" "$(VENV)-pins" .aws-sam .local-aws dist tag-hub-*.tar.gz
