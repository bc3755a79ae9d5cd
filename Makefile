# What people type; see README.md. `make demo` and `make test` need nothing to be set up before.

PYTHON ?= python3
# Those of `make matrix`; one that is not here is told.
PYTHONS ?= python3.11 python3.12 python3.13

# The version of a Python, and the first that runs by a name: of the PATH, of pyenv, of uv.
version = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
found = $(firstword $(foreach python,$(1) $(wildcard $(HOME)/.pyenv/versions/*/bin/$(1) \
  $(HOME)/.local/share/uv/python/*/bin/$(1)),$(if $(call version,$(python)),$(python))))

# .venv is that of python3; one of another Python stands beside it, so that neither undoes the other.
VENV := .venv
ifneq ($(PYTHON),python3)
  override PYTHON := $(or $(call found,$(PYTHON)),$(error no $(PYTHON) that runs is here))
  VENV := $(addprefix .venv-,$(filter-out $(call version,python3),$(call version,$(PYTHON))))
  VENV := $(or $(VENV),.venv)
endif
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Where the demo keeps its database, scenes and cubes.
HOME_DIR ?= .odc_bdc
SERVE ?= 1
SCENES ?=
PORT ?= 8000
# Which to execute, such as 03, and a folder of labelled time series for them.
NOTEBOOKS ?=
SAMPLES ?=
SEED ?= 1
# Each process that runs tests has a PostgreSQL and a map server of its own.
AT_ONCE ?= logical

# Where it is set, each of the many programs that are started compiles all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE
MINUTES ?= 5

.PHONY: help setup demo test matrix versions notebooks clients pictures kills services-load live-load fuzz attack lint format docs truth bench lock audit clean
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(READY)  ## virtual environment with all that is locked

# Without the mark of a finished one, an environment is half of one and made anew.
$(READY): requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "odc_bdc needs Python 3.11 to 3.13: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(if $(wildcard $(READY)),,--clear) $(VENV) || { \
	  echo "Python lacks venv: apt-get install python3-venv, then again" >&2; exit 1; }
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock >$(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-build-isolation --no-deps -e .
	@touch $@

demo: $(READY)  ## scenes, cubes and map server; SERVE=0 ends after a self-check, SCENES=DIR real ones
	$(BIN)/odc-bdc demo --home $(HOME_DIR) --port $(PORT) \
	  $(if $(filter 0,$(SERVE)),--no-serve) $(if $(SCENES),--scenes $(SCENES))

test: $(READY)  ## all tests, on each core one; AT_ONCE=0 one after the other, PYTHON=python3.13 another Python
	$(BIN)/pytest --numprocesses $(AT_ONCE) --maxprocesses 8 --dist worksteal

matrix:  ## all tests on each of PYTHONS that is here; at the end which ran, with which versions
	@MAKE='$(MAKE)' .ci/matrix $(foreach python,$(PYTHONS),$(or $(call found,$(python)),missing:$(python)))

versions: $(READY)  ## what the tests run on
	@$(BIN)/python .ci/versions

notebooks: $(READY)  ## executes all on the home of `make demo`, without network, with their outputs below it
	$(BIN)/python -W ignore tests/notebooks/executing.py --home $(HOME_DIR) \
	  $(if $(SAMPLES),--samples $(SAMPLES)) $(NOTEBOOKS)

clients:  ## Debian's QGIS, Chromium and Leaflet, in which tests look at the services; without, these are skipped
	$(if $(filter-out 0,$(shell id -u)),sudo) apt-get update --quiet
	$(if $(filter-out 0,$(shell id -u)),sudo) apt-get install --quiet --yes --no-install-recommends \
	  chromium chromium-driver libjs-leaflet nginx-light python3-qgis qgis-providers

pictures: $(READY)  ## docs/images/qgis_*.png anew, of QGIS (make clients) at the demo on port 8000
	$(BIN)/odc-bdc demo --home $(HOME_DIR) --no-serve
	$(BIN)/python -W ignore tests/clients/qgis_pictures.py --home $(HOME_DIR) docs/images

kills: $(READY)  ## builds, overviews and pruning killed at 50 moments, which the tests do at 4
	ODC_BDC_KILLS=25 $(BIN)/pytest tests/integration/test_killed.py -k any_moment

lint: $(READY)  ## style, types, import rules, spelling, rendered documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/odc-bdc product render --check

format: $(READY)  ## rewrite the code in the project's style, and notebooks from their scripts
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tests/notebooks/pairing.py

docs: $(READY)  ## HTML documentation in site/; notebooks with outputs, where `make notebooks` left them
	HOME_DIR=$(HOME_DIR) NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

truth: $(READY)  ## cubes of a landscape that is known everywhere, made all four ways, against what they must be
	PYTHONPATH=tests/truth $(BIN)/python -W ignore tests/truth/proving.py

bench: $(READY)  ## benchmarks: time and memory of composite, build, indexing, services and time series, as ratios
	$(BIN)/python tests/benchmarks/composite.py
	$(BIN)/python tests/benchmarks/kernels.py
	$(BIN)/python -W ignore tests/benchmarks/costs.py
	$(BIN)/python tests/benchmarks/building.py
	$(BIN)/python -W ignore tests/benchmarks/indexing.py --grow 30000
	$(BIN)/python -W ignore tests/benchmarks/many.py
	$(BIN)/python -W ignore tests/benchmarks/live_declare.py
	$(BIN)/python -W ignore tests/benchmarks/services.py
	$(BIN)/python -W ignore tests/benchmarks/live.py
	$(BIN)/python -W ignore tests/benchmarks/timeseries.py

services-load: $(READY)  ## 16 clients at the map services for 5 minutes, beside 100 slow ones and floods; MINUTES=N for others
	PYTHONPATH=tests/clients $(BIN)/python -W ignore tests/benchmarks/services_load.py --minutes $(MINUTES)

fuzz: $(READY)  ## 10,000 requests to the map services, nearly right ones; SEED=N takes others
	$(BIN)/pytest -q tests/clients/test_fuzz.py --fuzz 10000 --fuzz-seed $(SEED)

attack: $(READY)  ## attacks on servers that it starts itself, on loopback; a table of how each ended
	$(BIN)/pytest -q tests/attacks --attack-table --attack-long

live-load: $(READY)  ## 8 clients at live WMTS tiles for 5 minutes; MINUTES=N for others
	$(BIN)/python -W ignore tests/clients/live_load.py --minutes $(MINUTES)

lock: $(READY)  ## resolve requirements.lock anew from setup.cfg and pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	  setup.cfg --extra all --group pyproject.toml:dev --output-file requirements.lock

audit: $(READY)  ## known vulnerabilities (OSV) of all that requirements.lock names, whichever Python needs it
	@.ci/audit $(BIN)/uv

clean:  ## stop the private database; remove it, the scenes, the cubes and the environment
	@[ ! -x $(BIN)/odc-bdc ] || $(BIN)/odc-bdc db down --home $(HOME_DIR) --delete
	rm -rf $(HOME_DIR) .venv .venv-3.* build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache
