# The targets of this project; `make` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# hundreds of processes would compile the same sources, and figures would count it
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= $(shell command -v python3.11 || command -v python3)
EXTRAS ?= emulator,dev
CONFIG ?= configs/quickstart.yaml
IMAGE ?=
ARGS ?=
ROUNDS ?= 5
VERSIONS ?= 3.11 3.12 3.13
BIN := .venv/bin
READY := .venv/.ready-$(subst $(strip ,),-,$(EXTRAS))
BENCHED := .venv/.ready-bench

.PHONY: help install fmt check kernels test pytest unit integration coverage fuzz beam e2e run serve compile golden whole-runs docs site samples emulator submit schedule bench wheel image lock matrix pin-base image-check genai3 clients clean

help: ## list the targets
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(READY) ## make .venv with everything (EXTRAS= for what compiling and submitting need, no torch)

# pip refuses hashes beside an editable install: the requirements first, then the project alone. Compiling all modules is
# half of an installation, and two thirds of them are never imported: Python compiles what it imports
$(READY): pyproject.toml requirements.lock requirements-hashed.lock
	$(PYTHON) -m venv .venv
ifeq ($(EXTRAS),)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps --require-hashes --requirement requirements-hashed.lock
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps --no-build-isolation --editable .
else
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint requirements.lock --editable '.[$(EXTRAS)]'
endif
	@touch $@

fmt: $(READY) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: $(READY) ## ruff, mypy, import contracts, house rules (tests/test_house.py)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_house.py

kernels: $(READY) ## compile the kernels of the data steps once, not in each process of the tests
	$(BIN)/gemtune data check examples/support_en/rows.jsonl > /dev/null 2>&1 || test $$? = 1  # the sample has rows that are rejected

unit: $(READY) ## tests without processes, sockets or the emulator: 40 seconds
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests/unit $(ARGS)

integration: $(READY) ## tests that start processes or the emulator, and the emulator's contract tests
	$(BIN)/python -m pytest -n 3 --dist loadgroup tests/integration tests/contract $(ARGS)

test: $(READY) ## checks and all tests, whole local runs too
	@mkdir -p build && touch build/tests.begun
	$(MAKE) --jobs 2 check pytest

pytest: kernels ## all tests but those of make check
	$(BIN)/python -m pytest -n 4 --dist loadgroup --deselect tests/test_house.py $(if $(ARGS),,--junitxml=build/tests.xml) $(ARGS)

coverage: $(READY) ## lines and branches of gemtune, pipelines and components that the tests reach
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests/unit tests/integration tests/pipeline --cov --cov-report=term:skip-covered $(ARGS)

beam: ## test deduplication on Apache Beam against the local one, in its own environment (.venv-beam)
	test -x .venv-beam/bin/pytest || { $(PYTHON) -m venv .venv-beam && .venv-beam/bin/python -m pip install --quiet --disable-pip-version-check --constraint requirements-beam.lock --editable '.[beam]' pytest pytest-timeout hypothesis; }
	.venv-beam/bin/python -m pytest tests/integration/test_dataflow_dedup.py -p no:cacheprovider -rs

fuzz: $(READY) ## property tests with new random examples, ROUNDS times
	for round in $$(seq $(ROUNDS)); do $(BIN)/python -m pytest -n 2 tests/unit tests/integration -m hypothesis --hypothesis-profile=fuzz -q $(ARGS); done

e2e: $(READY) ## whole local runs only
	$(BIN)/python -m pytest tests/pipeline $(ARGS)

run: $(READY) ## a whole run on this machine (CONFIG=..., ARGS="--data FILE --set section.field=value")
	$(BIN)/gemtune run $(CONFIG) --exit-zero $(ARGS)

serve: $(READY) ## serve the endpoint of the latest run again
	$(BIN)/gemtune serve $(ARGS)

compile: $(READY) ## compile the pipelines to build/*.yaml (CONFIG=configs/production.yaml IMAGE=...)
	$(BIN)/gemtune compile $(CONFIG) $(if $(IMAGE),--image $(IMAGE)) $(ARGS)

docs: $(READY) ## rewrite what is generated in docs/reference: settings, commands, documents, emulator
	$(BIN)/python -m tools.reference

site: $(READY) ## build the documentation to build/site; fails on a broken link
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

samples: $(READY) ## rewrite the samples, what is planted in them, and their tables in docs/lab/student.md (ARGS="--seeds 1")
	$(BIN)/python -m examples.generate
	$(BIN)/python bench/student_accuracy.py --write $(ARGS)

whole-runs: $(READY) ## all whole local runs (make test leaves most of them out)
	WHOLE_RUNS=all $(BIN)/python -m pytest -n 2 --dist loadgroup tests/pipeline

golden: $(READY) ## rewrite the expected files in tests/golden; reviewers check the diff
	WHOLE_RUNS=all $(BIN)/python -m pytest -n 2 --dist loadgroup tests/pipeline/test_compile.py tests/pipeline/test_golden_runs.py --golden

emulator: $(READY) ## run only the Vertex AI emulator (ARGS=--help)
	$(BIN)/gemtune emulator $(ARGS)

submit: $(READY) ## start a run on Vertex AI (CONFIG=configs/production.yaml IMAGE=...)
	$(BIN)/gemtune submit $(CONFIG) --image $(IMAGE) $(ARGS)

schedule: $(READY) ## run on Vertex AI by cron (CONFIG=... IMAGE=... ARGS="--cron '0 3 * * 1'")
	$(BIN)/gemtune schedule $(CONFIG) --image $(IMAGE) $(ARGS)

$(BENCHED): $(READY)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint requirements.lock --editable '.[bench]'
	@touch $@

bench: $(BENCHED) ## benchmarks for at most 20 minutes and a table of their figures (ARGS="--all" for hours, "--only dedup", "--data DIR", "--write")
	$(BIN)/python -m bench $(ARGS)

wheel: $(READY) ## build dist/gemtune-*.whl and test it in fresh environments (installs torch again)
	rm -rf dist
	$(BIN)/python -m hatchling build --target wheel
	$(BIN)/python tools/check_wheel.py dist/gemtune-*.whl

image: ## build the component image for linux/amd64 with an SBOM, and push it (IMAGE=REGION-docker.pkg.dev/PROJECT/REPO/gemtune-python:TAG)
	@test -n "$(IMAGE)" || { echo "name it: make image IMAGE=REGION-docker.pkg.dev/PROJECT/REPO/gemtune-python:$$(git rev-parse --short HEAD)"; exit 2; }
	docker buildx build --platform linux/amd64 --sbom=true --provenance=true --file components/Dockerfile --tag $(IMAGE) --push .

lock: ## write requirements-hashed.lock: the versions of requirements.lock with their hashes, without torch
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check pip-tools==7.6.2
	grep -m 1 '^# ' requirements-hashed.lock > build/lock/header
	cp requirements-hashed.lock build/lock/hashed
	build/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	  --build-deps-for wheel --build-deps-for editable --constraint requirements.lock --no-header --no-annotate \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file build/lock/hashed pyproject.toml
	cat build/lock/header build/lock/hashed > requirements-hashed.lock

matrix: ## install, run the unit tests and compile under each of VERSIONS that is installed
	for version in $(VERSIONS); do export PYENV_VERSION=$$version; \
	  python$$version -c '' 2> /dev/null || { echo "== Python $$version: not installed, skipped"; continue; }; \
	  echo "== Python $$version"; folder=build/python$$version; python$$version -m venv --clear $$folder; \
	  $$folder/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-hashed.lock; \
	  $$folder/bin/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'; \
	  $$folder/bin/python -m pytest -q -n 2 --dist loadgroup tests/unit $(ARGS); \
	  $$folder/bin/gemtune compile configs/quickstart.yaml --out $$folder/compiled; done

pin-base: ## write the present digest of the image's base into components/Dockerfile
	digest=$$(docker buildx imagetools inspect python:3.11-slim --format '{{.Manifest.Digest}}'); \
	  sed -i.bak "s|^ARG BASE=.*|ARG BASE=python:3.11-slim@$$digest|" components/Dockerfile && rm components/Dockerfile.bak

image-check: $(READY) ## build the image's environment without Docker and run every component's command there (minutes)
	WHOLE_RUNS=image $(BIN)/python -m pytest -n 0 tests/pipeline/test_image.py $(ARGS)

genai3: $(READY) ## the tests of the wire and the contract with the newest google-genai 3, which other packages hold back
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target .venv/genai3 'google-genai>=3,<4'
	PYTHONPATH=$(CURDIR)/.venv/genai3 $(BIN)/python -m pytest -n 2 --dist loadgroup tests/contract tests/unit/test_calls.py \
	  $(addprefix tests/integration/test_,vertex.py vertex_embedding.py vertex_metrics.py vertex_storage.py batch_jobs.py jobs.py predictor.py) $(ARGS)

clients: $(READY) ## the newest release of other makers' clients against the emulator; docs/reference/clients.md (ARGS=--write, or names of clients)
	command -v uv > /dev/null || test -x build/clients/uv/bin/uv || { $(PYTHON) -m venv build/clients/uv; \
	  build/clients/uv/bin/python -m pip install --quiet --disable-pip-version-check uv; }
	PATH=$(CURDIR)/build/clients/uv/bin:$$PATH $(BIN)/python -m tools.clients.run $(ARGS)

clean: ## remove the environment, builds and runs
	rm -rf .venv build dist runs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
