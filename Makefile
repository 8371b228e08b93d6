# `make demo` and `make test` do all the set-up themselves; nothing needs to be activated.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
ARGS ?=
# Of `make images`: what builds, where the images go, and as which version.
CONTAINER ?= docker
IMAGE_REPOSITORY ?=
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# A build isolated from whatever the caller's environment says about Python paths.
unexport PYTHONPATH PYTHONHOME

.PHONY: setup demo test check soak bench fuzz images lint proto clean

setup: .venv/dev.stamp  ## everything that tests and demo need, into .venv

demo: .venv/demo.stamp  ## route a workload through Envoy, the router and four engines
	$(BIN)/headway demo $(ARGS)

test: .venv/dev.stamp lint  ## every test, lint and types included
	$(BIN)/pytest $(ARGS)

check: .venv/dev.stamp lint  ## the fast loop, under two minutes
	$(BIN)/pytest -m "not slow" -x -q $(ARGS)

soak: .venv/dev.stamp  ## every fault under 10,000 requests, on both transports
	HEADWAY_SOAK=1 $(BIN)/pytest -q tests/e2e/faults $(ARGS)

fuzz: .venv/dev.stamp  ## a million frames against the fast transport
	HEADWAY_FUZZ_FRAMES=1000000 $(BIN)/pytest -q tests/router/h2/test_fuzz.py $(ARGS)

bench: .venv/dev.stamp  ## print the figures of the README
	$(BIN)/python -m benchmarks $(ARGS)

images:  ## both container images, for the chart's image.repository: make images IMAGE_REPOSITORY=...
	@test -n "$(IMAGE_REPOSITORY)" || { echo "IMAGE_REPOSITORY is not set, for example registry.example.com/llm" >&2; exit 2; }
	for part in operator router; do \
	  $(CONTAINER) build -f images/$$part.Dockerfile -t $(IMAGE_REPOSITORY)/headway-$$part:$(VERSION) . || exit 1; \
	done

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

proto: .venv/dev.stamp  ## write the discovery contract's modules anew
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto \
	  proto/headway_proto/v1alpha1/discovery.proto

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/pyvenv.cfg:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: .venv/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	touch $@

.venv/dev.stamp: .venv/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ .venv/demo.stamp
