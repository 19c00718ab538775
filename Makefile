# make demo    the whole path on a simulated survey; one HTML report
# make real    the whole path on real galaxies, see SSL_PHOTOZ_DATA below
# make compare the older systems beside frozen embeddings, one table; within the hour
# make test    every test; make lint: ruff and mypy
# make rail    the stages for RAIL, tested beside it in an environment of their own
# Needs python >= 3.11 and make; everything else goes into .venv, once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2

# Where sdss_equatorial_rgb.h5 and unpack_sdss.py are.
SSL_PHOTOZ_DATA ?= $(abspath ../shared/data)
export SSL_PHOTOZ_DATA

.PHONY: help env demo real compare test rail lint constraints clean

help:
	@sed -n '/^# make/s/^# //p' Makefile

env: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@for python in $${PYTHON:-python3 python3.13 python3.12 python3.11}; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    found="$$python"; break; fi; done; \
	if [ -z "$${found:-}" ]; then \
	  echo "error: no python >= 3.11 found; install one, or name it: make env PYTHON=/path/to/python" >&2; \
	  exit 2; fi; \
	echo "[1/2] environment $(VENV) with $$($$found --version)"; \
	"$$found" -m venv $(VENV)
	@echo "[2/2] installing the packages of constraints.txt (1 to 5 minutes, once)"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/ssl-photoz run

real: runs/real/cutouts.h5
	@$(BIN)/ssl-photoz run configs/real.yaml out=runs/real

runs/real/cutouts.h5: | $(INSTALLED)
	@test -f "$$SSL_PHOTOZ_DATA/sdss_equatorial_rgb.h5" || { \
	  echo "error: no sdss_equatorial_rgb.h5 in $$SSL_PHOTOZ_DATA;" \
	       "name its folder: make real SSL_PHOTOZ_DATA=/path/to/folder" >&2; exit 2; }
	@mkdir -p $(@D)
	@echo "unpacking sdss_equatorial_rgb.h5 to $@"
	@$(BIN)/python "$$SSL_PHOTOZ_DATA/unpack_sdss.py" "$$SSL_PHOTOZ_DATA/sdss_equatorial_rgb.h5" $@.partial
	@mv $@.partial $@

compare: $(INSTALLED)
	@$(BIN)/python -m benchmarks.compare

test: $(INSTALLED)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -q

# RAIL wants much that nothing else here does, so it has an environment of its own.
rail: $(INSTALLED)
	@test -x $(VENV)-rail/bin/ceci || { \
	  $(BIN)/python -m venv $(VENV)-rail; \
	  $(VENV)-rail/bin/python -m pip install --disable-pip-version-check --quiet \
	    --constraint constraints.txt --editable . ./integrations/rail pytest; }
	@OMP_NUM_THREADS=1 $(VENV)-rail/bin/python -m pytest -q integrations/rail/tests

lint: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy survey pretrain probe

# To move to newer versions: make clean, empty constraints.txt but for its header, make constraints.
constraints: $(INSTALLED)
	@{ sed -n '/^#/p' constraints.txt; \
	   $(PIP) list --format=freeze --exclude ssl-photoz --exclude pip \
	     | grep -v '^nvidia-' | sed -E 's/\+[A-Za-z0-9.]+$$//' | LC_ALL=C sort -f; } > constraints.partial
	@mv constraints.partial constraints.txt

# Runs are kept: delete runs/ by hand.
clean:
	rm -rf $(VENV) $(VENV)-rail build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
