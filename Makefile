# make demo: the main job; make test: everything that CI checks. Both install what they need into .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Two cores at least: the engine is single-threaded, so the tests run beside each other.
WORKERS ?= 2

.PHONY: demo test check clean

demo: .venv/installed
	$(BIN)/python -m deeprec_env.agents.demo --output runs/demo

test: check
	$(BIN)/python -m pytest -n $(WORKERS)

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

clean:
	rm -rf .venv runs
