# Thin on purpose: a target is one line, or one script in scripts/.

PYTHON_ENV := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install install-dev run dev test e2e screenshots format catalog catalog-check evaluate train lock conformance chaos scale soak security fuzz invariants first-token bench bench-start bench-growth bench-pages bench-drain bench-retention bench-months docs diagrams audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## Make .venv with exactly the packages of requirements.txt (Python 3.11 to 3.13)
	@scripts/install.sh

install-dev: ## The same, with what the tests and checks need
	@scripts/install.sh --dev

run: install ## Migrate, build the web app when it changed, serve on http://127.0.0.1:8000 (HOST, PORT)
	@exec $(PYTHON_ENV) -m omni_app serve

dev: install ## Serve with hot reload
	@exec $(PYTHON_ENV) -m omni_app serve --dev

test: install-dev ## Every check: format, lint, types, import contracts, all tests
	@scripts/test-system.sh
	@scripts/test.sh

e2e: install-dev ## Only the tests in a real browser
	@scripts/test-system.sh
	@EVERY_LOOK=yes $(PYTHON_ENV) -m pytest -m e2e $(ARGS)

screenshots: install-dev ## Pictures of every page after two weeks of (simulated) use, into docs/images
	@scripts/test-system.sh
	@$(PYTHON_ENV) -m tests.e2e.pictures

format: install-dev ## Format the code, and mend what the linter can mend
	@$(PYTHON_ENV) -m ruff check --fix --quiet || true
	@$(PYTHON_ENV) -m ruff format

conformance: install-dev ## Real clients, Python and Node, against the product (ARGS="openai llm" for some; slow, installs them)
	@$(PYTHON_ENV) -m conformance.run $(ARGS)

chaos: install-dev ## End the server under load: kill -9, SIGTERM, restarts; compare provider and ledger (ARGS="--kills 20")
	@$(PYTHON_ENV) -m tests.faults.chaos $(ARGS)

security: install-dev ## Every test that docs/SECURITY.md names, and what holds by them (ARGS="-k egress")
	@$(PYTHON_ENV) -m tests.security $(ARGS)

fuzz: install-dev ## Made-up requests and socket events, a thousand of each kind (ARGS="-k messages")
	@$(PYTHON_ENV) -m pytest -m fuzz --hypothesis-profile fuzz tests $(ARGS)

invariants: install-dev ## The properties of money and the ledger, 10,000 cases each, with their durations
	@scripts/invariants.sh $(ARGS)

scale: install-dev ## Several gateways and two dashboards over one Postgres and Redis: what holds, throughput against N (ARGS="--seconds 8")
	@$(PYTHON_ENV) -m tests.faults.scale $(ARGS)

soak: install-dev ## Everything at once for a long time, and whether anything grows (ARGS="--minutes 10"; 180 for the whole of it)
	@$(PYTHON_ENV) -m tests.faults.soak $(ARGS)

first-token: install-dev ## The time to first token that is added to a provider's own (ARGS=requests, 200)
	@$(PYTHON_ENV) -m conformance.first_token $(ARGS)

bench: install-dev ## The product, a bare forwarder and other gateways side by side, into docs/benchmarks.md (ARGS="--no-peers")
	@$(PYTHON_ENV) -m bench.gateways $(ARGS)

bench-start: install-dev ## How long a start takes until /health and /ready, warm (ARGS="--times 5")
	@$(PYTHON_ENV) -m bench.start $(ARGS)

bench-growth: install ## What a request's steps cost with more models, keys, orgs and longer prompts
	@$(PYTHON_ENV) -m bench.growth

bench-pages: install-dev ## Query times of the pages over many ledger rows (ROWS=1000000 ARGS="--generated 100000000 --postgres")
	@$(PYTHON_ENV) -m bench.pages --rows $(or $(ROWS),1000000) $(ARGS)

bench-drain: install-dev ## Rows a second from the spool into SQLite and Postgres (ARGS="--requests 20000")
	@$(PYTHON_ENV) -m bench.drain $(ARGS)

bench-retention: install-dev ## What letting old rows go costs who writes beside it, in pieces and by months, on Postgres (ARGS="--rows 40000")
	@$(PYTHON_ENV) -m bench.retention $(ARGS)

bench-months: install-dev ## What partitions by month cost those who read, on Postgres (ARGS="--rows 300000")
	@$(PYTHON_ENV) -m bench.months $(ARGS)

catalog: install ## Build the packaged registry from its sources
	@$(PYTHON_ENV) -m omni_app.registry.build

catalog-check: install ## Is the packaged registry what its sources give? Which models end when?
	@$(PYTHON_ENV) -m omni_app.registry.build --check

evaluate: install ## Measure task detection and routing, print the routing table (TASKS=file REPLAY="file ..." ARGS=--json)
	@$(PYTHON_ENV) -m omni_app evaluate --cases $(or $(CASES),tests/routing/cases.toml) $(if $(TASKS),--tasks $(TASKS)) $(if $(REPLAY),--replay $(REPLAY)) $(ARGS)

train: install ## Train the learned part of task detection again (TASKS="file ...")
	@$(PYTHON_ENV) -m omni_app.evaluate.training $(if $(TASKS),--tasks $(TASKS))

lock: install-dev ## Write requirements*.txt from requirements*.in (ARGS=--upgrade takes newer versions)
	@scripts/lock.sh $(ARGS)

docs: install-dev ## The site of docs/ in build/site, strictly, and every snippet of the pages run
	@$(PYTHON_ENV) -m docsite
	@$(PYTHON_ENV) -m pytest tests/docs $(ARGS)

diagrams: install-dev ## Draw the diagrams of docs/ that are new or changed (takes Mermaid from npm)
	@$(PYTHON_ENV) -m docsite.diagrams

audit: install-dev ## Bill of materials (build/sbom.json) against the lock; known vulnerabilities, where there is a network
	@scripts/audit.sh

clean: ## Remove caches and build output; keeps .venv and data
	@scripts/clean.sh
