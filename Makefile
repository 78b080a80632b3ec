# Everything lives in .venv; `make install` may be run again at any time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Of 30,000 modules a tenth is ever imported: compiled at its first import, it takes a fifth of the time.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
STAMP := $(VENV)/.installed
# Processes that share the work of `make test` and `make check`; each takes about 1.5 GB. One more
# than CI has cores, as tests of time limits and of servers wait for a good part of their time.
TESTERS ?= 3
SIDE_BY_SIDE = $(MAKE) --jobs $(TESTERS) --keep-going --output-sync=target

# One process of pytest each, the longest first: it reads and imports its own tests only, where
# workers that share all tests would each read them all.
ROOMS := server rest console cli proof upstreams oracles
TESTS := $(addprefix test-,$(ROOMS))
PROOF := tests/stats tests/engine
SERVER := tests/api tests/faults tests/server
ORACLES := tests/attack tests/builtin tests/oracles tests/picture_text
CLI := tests/cli tests/doctor tests/policy
CONSOLE := tests/console tests/database tests/labelling tests/records
UPSTREAMS := tests/conformance tests/demo tests/upstreams
REST := $(filter-out tests/__pycache__/ $(addsuffix /,$(PROOF) $(SERVER) $(CONSOLE) $(ORACLES) $(CLI) $(UPSTREAMS)),$(wildcard tests/*/)) \
	$(wildcard tests/test_*.py)
# What each room says of its tests. What failed is told at the end, below all that went well.
REPORTS := build/tests
PYTEST = $(BIN)/python -m pytest -q --durations=15 --durations-min=2 --junit-xml=$(REPORTS)/$(@:test-%=%).xml
TELL_FAILURES = || { $(BIN)/python tests/print_failures.py $(REPORTS); exit 1; }
FORGET_FAILURES = @rm -rf $(REPORTS)

# What the images hold beside the package itself; the tests compare the locks with it.
IMAGE_EXTRAS := encoder fast heif otel postgres redis sign
FULL_EXTRAS := $(IMAGE_EXTRAS) litellm local ocr
COMPILE = $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-strip-markers --universal \
	--python-version 3.11 --custom-compile-command 'make lock' -c constraints.txt

# uv trusts whom the system trusts, as pip can be told to.
export UV_SYSTEM_CERTS := 1
# Tests start hundreds of processes; with it set each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test $(TESTS) nightly check format lint types floors adapters integrations clients policies pictures bench lock sbom clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: $(STAMP) ## create .venv and install everything with the pinned constraints

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]' || $(PIP) -e '.[dev]'
	@touch $(STAMP)

demo: install ## the main job: an attacked picture is stopped, a clean one is answered
	$(BIN)/guardrail demo

test: install ## all tests but the long ones; the proof and the engine must be covered to the last branch
	$(FORGET_FAILURES)
	+$(SIDE_BY_SIDE) $(TESTS) $(TELL_FAILURES)

# Threads of several processes that wait for each other spin, and take five times the work.
test nightly $(TESTS): export OMP_NUM_THREADS = 1

# The coverage is theirs alone: counting slows all other tests by a third.
test-proof: install
	$(PYTEST) --cov=guardrail/stats --cov=guardrail/engine --cov-branch --cov-report=term:skip-covered \
		--cov-fail-under=100 $(PROOF)

test-server: install
	$(PYTEST) $(SERVER)

test-console: install
	$(PYTEST) $(CONSOLE)

test-oracles: install
	$(PYTEST) $(ORACLES)

test-cli: install
	$(PYTEST) $(CLI)

test-upstreams: install
	$(PYTEST) $(UPSTREAMS)

test-rest: install
	$(PYTEST) $(REST)

nightly: install ## the long tests, which `make check` leaves out, and fresh examples for all others
	$(BIN)/python integrations/run.py --versions latest
	$(BIN)/python -m pytest -n $(TESTERS) --dist load -m nightly
	+GUARDRAIL_EXAMPLES=nightly $(SIDE_BY_SIDE) $(TESTS)

format: install ## rewrite the code in the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

floors: install
	$(BIN)/lint-imports

adapters: install ## the adapters' tests at the frameworks' newest releases, on wheels in bare environments
	$(BIN)/python integrations/run.py --versions latest --quick

integrations: install ## the same at the oldest and the newest ones, and their examples; writes integrations/conformance.md
	$(BIN)/python integrations/run.py --table

check: install ## exactly what CI runs
	@# The adapters download for a third of their time, so they begin with the lint.
	$(FORGET_FAILURES)
	+$(SIDE_BY_SIDE) lint adapters types $(TESTS) floors $(TELL_FAILURES)

clients: install ## asks every client library again and writes docs/clients.md (needs node)
	$(BIN)/python tests/conformance/make_table.py

policies: install ## writes the default policy, the heads of the others and the tables of docs/policy.md
	$(BIN)/python tests/policy/write_policies.py

pictures: install ## takes the pictures of docs/ anew (needs Debian's prometheus and chromium)
	$(BIN)/python benchmarks/pictures/take.py
	$(BIN)/python benchmarks/pictures/console.py

bench: install ## the committed benchmarks, one after the other
	$(BIN)/python benchmarks/run_all.py

lock: install ## the locks of the images, with the hash of every file: deploy/*.lock
	$(COMPILE) pyproject.toml $(addprefix --extra ,$(IMAGE_EXTRAS)) -o deploy/requirements.lock
	$(COMPILE) pyproject.toml deploy/full.in --overrides deploy/overrides.txt \
		$(addprefix --extra ,$(FULL_EXTRAS)) -o deploy/requirements-full.lock
	echo 'hatchling>=1.27' | $(COMPILE) - -o deploy/requirements-build.lock

sbom: install ## the bill of materials of both images, in CycloneDX's JSON: build/*.cdx.json
	mkdir -p build
	for name in requirements requirements-full; do \
		$(BIN)/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements \
			--pyproject pyproject.toml --output-file build/$$name.cdx.json deploy/$$name.lock || exit 1; \
	done

clean: ## remove what make made
	rm -rf $(VENV) tests/conformance/node/node_modules
