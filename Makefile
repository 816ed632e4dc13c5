# The only list of commands. `make help` prints it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# The targets share caches, ports and the one dev cluster of a machine; what may run side by side says so itself.
.NOTPARALLEL:

export VISIONMODEL_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/visionmodel
export ORT_DISABLE_TELEMETRY := 1
export PYTHONPATH := operator:examples/models:examples/demo:tests:.
UV_VERSION := 0.13.8
UV := .tools/uv-$(UV_VERSION)/bin/uv
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
FORMAT_EXTRAS := torch tensorflow
FORMAT_TOOLS := onnx2tf modelopt
FORMATS_VENVS ?= $(VISIONMODEL_CACHE)/formats
SOURCES := operator examples/models examples/demo examples/training tests scripts images bench
LOCK := $(UV) pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 \
        --custom-compile-command "make lock"

.PHONY: help
help: ## Print the targets
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# ---------------------------------------------------------------------------------------------- environment

$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed; install it and run make again." >&2; exit 1; }
	@$(PYTHON) -m venv .tools/uv-$(UV_VERSION) 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -qqy python3-venv; \
	  else echo "Python's venv module is missing; install python3-venv and run make again." >&2; exit 1; fi; \
	  $(PYTHON) -m venv .tools/uv-$(UV_VERSION); }
	@.tools/uv-$(UV_VERSION)/bin/pip install --quiet "uv==$(UV_VERSION)"

$(VENV)/.synced: requirements/dev.txt pyproject.toml | $(UV)
	@test -x $(BIN)/python || $(UV) venv --quiet --python "$$(command -v $(PYTHON))" $(VENV)
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

.PHONY: venv
venv: $(VENV)/.synced ## Install the development environment into .venv

.PHONY: lock
lock: $(UV) ## Compile the hashed requirement files
	$(LOCK) pyproject.toml --extra operator -o requirements/operator.txt
	$(LOCK) pyproject.toml --extra converter -o requirements/converter.txt
	$(LOCK) pyproject.toml --extra converter --extra torch -c requirements/converter.txt \
	  --no-emit-package triton -o requirements/converter-torch.txt # GPU kernels' compiler: 1 GB that no export uses
	$(LOCK) pyproject.toml --extra converter --extra tensorflow -c requirements/converter.txt \
	  -o requirements/converter-tensorflow.txt
	$(LOCK) pyproject.toml --extra operator --extra converter --extra openvino --extra cli --group dev -o requirements/dev.txt
	$(LOCK) --no-deps requirements/triton.in -o requirements/triton.txt
	$(LOCK) --no-deps requirements/openvino.in -c requirements/dev.txt -o requirements/openvino.txt
	$(LOCK) --no-deps requirements/tensorrt.in -o requirements/tensorrt.txt
	$(LOCK) --no-deps requirements/triton-vendor.in -o requirements/triton-vendor.txt
	$(LOCK) --no-emit-package backports-strenum requirements/tflite.in \
	  -o requirements/tflite.txt # what Python 3.11 has itself, and pip refuses for it
	$(LOCK) --no-emit-package triton --no-emit-package cppimport --no-emit-package cupy-cuda12x requirements/modelopt.in \
	  -o requirements/modelopt.txt # none is used on the CPU, and cppimport has no wheel
	$(LOCK) requirements/mlflow.in -o requirements/mlflow.txt
	echo pip==26.3 | $(LOCK) --no-deps - -o images/pip.txt

# ---------------------------------------------------------------------------------------------- generated files

.PHONY: generate
generate: venv ## Write crds/, the chart's CRD and the field reference from the API types
	@$(BIN)/python scripts/generate.py

.PHONY: verify
verify: venv ## Check format, lint, types, layers and generated files; writes nothing
	@$(BIN)/ruff format --quiet --check $(SOURCES)
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/mypy $(SOURCES)
	@$(BIN)/lint-imports --no-cache | tail -n 2
	@$(BIN)/python scripts/generate.py --check

.PHONY: format
format: venv ## Format the sources
	@$(BIN)/ruff format --quiet $(SOURCES)
	@$(BIN)/ruff check --quiet --fix $(SOURCES)

# ---------------------------------------------------------------------------------------------- tests

# Each level collects its own folders only; tests/unit/test_levels.py sees to it that its tests are there.

.PHONY: test
test: verify programs test-with-lifecycle test-component test-e2e ## Everything: checks and all levels

.PHONY: programs
programs: venv ## Install and build what the tests run: Debian packages (root), Go programs, the base image
	@$(BIN)/python -m visionmodel_devcluster programs

.PHONY: test-unit
test-unit: venv ## Pure tests and generated files against models
	@$(BIN)/pytest -q -m "not apiserver and not component and not lifecycle and not e2e and not gpu and not sources and not formats and not images" tests

.PHONY: test-apiserver
test-apiserver: venv ## Against a real etcd and kube-apiserver; no root needed
	@$(BIN)/pytest -q -m apiserver tests/apiserver tests/contracts tests/schema

.PHONY: test-component
test-component: venv ## Real Triton, S3 server, registry and trained models
	@$(BIN)/pytest -q -m component --timeout 600 tests/component

.PHONY: test-lifecycle
test-lifecycle: venv ## Crash, reboot and take down a dev cluster, in a machine inside this machine
	@$(BIN)/pytest -q -m lifecycle tests/lifecycle

# The lifecycle waits for most of its time. What it starts is gone before the cluster of test-e2e needs the processors.
.PHONY: test-with-lifecycle
test-with-lifecycle: programs
	@$(BIN)/python scripts/beside.py --log .pytest_cache/lifecycle.log \
	  --beside "$(MAKE) --no-print-directory test-lifecycle" \
	  -- $(MAKE) --no-print-directory test-unit test-apiserver

# The sources' servers: Azurite is a Node.js program, MLflow has an environment of its own beside ours.
AZURITE_VERSION := 3.37.0

.tools/azurite/.$(AZURITE_VERSION):
	@command -v npm >/dev/null || { echo "npm is missing; install Node.js 20 or newer and run make again." >&2; exit 1; }
	@npm install --silent --no-save --no-audit --no-fund --prefix .tools/azurite "azurite@$(AZURITE_VERSION)"
	@touch $@

.tools/mlflow/.synced: requirements/mlflow.txt | $(UV)
	@test -x .tools/mlflow/bin/python || $(UV) venv --quiet --python "$$(command -v $(PYTHON))" .tools/mlflow
	@$(UV) pip sync --quiet --python .tools/mlflow/bin/python --require-hashes requirements/mlflow.txt
	@touch $@

.PHONY: test-sources
test-sources: venv .tools/azurite/.$(AZURITE_VERSION) .tools/mlflow/.synced ## On request: real servers of Google Cloud Storage, Azure and MLflow
	@$(BIN)/pytest -q -m sources --timeout 600 tests/sources

.PHONY: test-gpu
test-gpu: venv ## On request: build and prove engines on an NVIDIA GPU; needs TensorRT, Polygraphy and cuda-bindings in .venv
	@$(BIN)/pytest -q -m gpu --timeout 1800 tests/contracts tests/component

.PHONY: test-e2e
test-e2e: venv ## The whole dev cluster: rollouts under load
	@$(BIN)/pytest -q -m e2e --timeout 1200 tests/e2e

.PHONY: fault-table
fault-table: venv ## On request: the faults of test-e2e alone, their table written into docs/faults.md
	@$(BIN)/pytest -q -m "e2e and fault" --timeout 1200 --fault-table docs/faults.md tests/e2e

.PHONY: test-formats
test-formats: $(patsubst %,$(FORMATS_VENVS)/%/.synced,$(FORMAT_EXTRAS) $(FORMAT_TOOLS)) ## Real torch, TensorFlow, onnx2tf and ModelOpt (13 GB, not in CI)
	@VISIONMODEL_FORMATS_VENVS=$(FORMATS_VENVS) $(BIN)/pytest -q -s -m formats --timeout 600 tests

.PHONY: test-images
test-images: venv ## The converter's images with ModelOpt, onnx2tf, torch and TensorFlow, built and used (40 GB, root, not in CI)
	@$(BIN)/pytest -q -s -m images tests/converter_images

$(FORMATS_VENVS)/%/.synced: requirements/converter-%.txt pyproject.toml | venv
	@test -x $(@D)/bin/python || $(UV) venv --quiet --python "$$(command -v $(PYTHON))" $(@D)
	@$(UV) pip sync --quiet --python $(@D)/bin/python --require-hashes $<
	@$(UV) pip install --quiet --python $(@D)/bin/python --no-deps --editable .
	@touch $@

# As in the images, environments beside the converter's, without anything of ours in them.
$(FORMATS_VENVS)/onnx2tf/.synced: requirements/tflite.txt
$(FORMATS_VENVS)/modelopt/.synced: requirements/modelopt.txt
$(FORMAT_TOOLS:%=$(FORMATS_VENVS)/%/.synced): | $(UV)
	@test -x $(@D)/bin/python || $(UV) venv --quiet --python "$$(command -v $(PYTHON))" $(@D)
	@$(UV) pip sync --quiet --python $(@D)/bin/python --require-hashes $<
	@touch $@

# ---------------------------------------------------------------------------------------------- cluster and demo

.PHONY: cluster-up
cluster-up: venv ## Start the dev cluster: a real single-node Kubernetes on this machine
	@$(BIN)/python -m visionmodel_devcluster cluster up --fake-gpus 4

.PHONY: cluster-down
cluster-down: venv ## Stop the dev cluster and undo what it changed on this machine
	@$(BIN)/python -m visionmodel_devcluster cluster down

.PHONY: images
images: venv ## Build the operator, converter and Triton images
	@$(BIN)/python -m images.build operator converter triton

.PHONY: demo
demo: venv ## The whole story on a real cluster; ends with a report
	@$(BIN)/python -m visionmodel_demo

.PHONY: bench
bench: venv ## Measure conversions on this machine and write docs/benchmarks.md; takes minutes
	@$(BIN)/python -m bench.conversion

.PHONY: bench-judge
bench-judge: venv ## Simulate rollouts for the judge's error rates and write docs/benchmarks-judge.md; takes minutes
	@OMP_NUM_THREADS=1 $(BIN)/python -m bench.judge

.PHONY: clean
clean: ## Remove the environments and reports of this checkout; caches outside it stay
	rm -rf .venv .tools demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
