# PYTHON is the interpreter that makes the environment, 3.10 or newer: make PYTHON=python3.12 demo
# On Linux, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu spares the download of torch's CUDA libraries.
PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DECLARED := setup.cfg pyproject.toml constraints.txt

# Real data beside the checkout are used where nothing else is said.
ifeq ($(origin NEUROSIM_DATA),undefined)
ifneq ($(wildcard ../shared/data/.),)
test: export NEUROSIM_DATA := $(abspath ../shared/data)
endif
endif

.PHONY: demo test clean

# The whole road: train, deploy on virtual dies, write neurosim-demo/report.html
demo: $(VENV)/demo.stamp
	$(BIN)/neurosim demo

test: $(VENV)/test.stamp
	$(BIN)/ruff check
	$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find neurosim hardware_profiles tests -name __pycache__ -prune -exec rm -rf {} +

# An environment that could not be made whole is taken away, so that the next run does not trip over it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("neurosim needs Python 3.10 or newer, and this is %d.%d: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	$(PIP) install --quiet --upgrade pip || { rm -rf $(VENV); exit 1; }

# neurobench, which the tests compare with, asks for audio libraries built against another torch: it goes in without.
# Editable: what runs is what lies in the checkout. A stamp is newer than what it was installed from.
$(VENV)/demo.stamp: $(DECLARED) | $(BIN)/python
	$(PIP) install -c constraints.txt -e .
	touch $@

$(VENV)/test.stamp: $(DECLARED) | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[test]'
	$(PIP) install -c constraints.txt --no-deps neurobench
	touch $(VENV)/demo.stamp $@
