# Everything a developer or CI does; `make help` lists it. What takes more than a line lives in tools/.
.DEFAULT_GOAL := help
.PHONY: help setup venv up down client-env status verify format lint sanity units units-oldest build scenario test test-all bench grade lock clean
S ?= default
# Make itself says `as` here, the assembler.
AS =

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { gsub(/\$$\$$/, "$$", $$2); printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what this machine lacks: Debian packages (as root) and the locked Python environment
	@tools/setup >/dev/null
venv: ## print the folder of the Python environment
	@tools/environment development

up: ## boot a host on this machine, install MLflow on it, print the URL and how to log in
	@tools/up
down: ## take away all that `make up` made
	@tools/down
client-env: ## print the variables of a client for `make up`: eval "$$(make -s client-env)"; AS=ci is a client of the identity provider
	@tools/client-env $(AS)
status: ## ten seconds, read-only: what runs on the host of `make up`
	@tools/play status
verify: ## prove the installation of `make up` through its public URL
	@tools/play verify

format: ## let ruff arrange the Python files
	@tools/python --in ruff format --no-cache . && tools/python --in ruff check --no-cache --fix .
lint: ## every linter over every file, without ignore lists
	@tools/lint
sanity: ## ansible-test sanity, in a copy outside the checkout
	@tools/sanity
units: ## unit tests on the newest supported Python of this machine
	@tools/units development
units-oldest: ## unit tests and playbook syntax on Python 3.11 with ansible-core 2.19
	@tools/units oldest
build: ## build the tarball and unpack it alone; prints where
	@tools/package
scenario: ## one Molecule scenario on real hosts: make scenario S=default
	@tools/scenario $(S)

test: ## all of the above that CI runs: setup, lint, sanity, units, tarball, scenario default, leak check
	@tools/test
test-all: ## test, and what does not fit into its time, or STAGES="lint units"; writes docs/reference/test-results.md
	@tools/test --all $(STAGES)

bench: ## measure it against the quick start and a default PostgreSQL: make bench ARGS="--help"
	@tools/bench $(ARGS)

grade: ## what outside tools say of TLS, headers and cookies of `make up`; writes docs/reference/tls.md
	@tools/grade
lock: ## renew the hash locks of the development environment
	@tools/lock
clean: ## forget environments and caches outside the checkout (not the images of hosts)
	@tools/clean
