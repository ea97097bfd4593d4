# make demo: the main job; make test: everything that CI checks; make docs: the website, in runs/site/. All install what
# they need into .venv first. make docs-check walks the website in a browser (Playwright and chromium).
# make test-random: the properties once more, on examples that no run has seen; make test-minimum (slower): all tests
# under the lowest versions that pyproject.toml allows, in .venv-minimum.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Two cores at least: the engine is single-threaded, so the tests run beside each other.
WORKERS ?= 2
# Of the examples of test-random: the line that make prints has it, and the same seed gives the same examples.
SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
MINIMUM := .venv-minimum/bin

.PHONY: demo docs docs-check test test-random test-minimum check clean

demo: .venv/installed
	$(BIN)/python -m deeprec_env.agents.demo --output runs/demo

docs: .venv/installed
	$(BIN)/python -m docs.site --output runs/site

docs-check: docs
	$(BIN)/python -m docs.site.walk runs/site

test: check
	$(BIN)/python -m pytest -n $(WORKERS)

test-random: .venv/installed
	$(BIN)/python -m pytest -n $(WORKERS) -m hypothesis --hypothesis-profile random --hypothesis-seed $(SEED)

# Compiled code is kept apart: Numba drops what another version of it has compiled.
test-minimum: .venv-minimum/installed
	NUMBA_CACHE_DIR=$(CURDIR)/.venv-minimum/compiled $(MINIMUM)/python -m pytest -n $(WORKERS)

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

.venv-minimum/installed: pyproject.toml constraints.txt minimum.txt
	test -x $(MINIMUM)/python || $(PYTHON) -m venv .venv-minimum
	$(MINIMUM)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(MINIMUM)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -c minimum.txt -e '.[test]'
	touch $@

clean:
	rm -rf .venv .venv-minimum runs
