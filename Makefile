# `make run` and `make test` set everything up themselves: they need Python 3.11 to 3.13 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NETWORKS := resnet8 mobilenet_v1_025 ds_cnn autoencoder

.PHONY: run test lint bench clean

# Find the proven optimum of every layer of the four MLPerf Tiny networks on an analog and a digital
# accelerator; tables to the terminal, results to files.
run: $(VENV)/.installed
	@mkdir -p results/mlperf_tiny
	@for network in $(NETWORKS); do \
		$(BIN)/fastmap search $$network --arch aimc dimc --force -o results/mlperf_tiny/$$network.h5 || exit $$?; \
		echo; \
	done

# Every check that CI runs: lint, types, tests (the comparison with ZigZag itself included). What all tests need is
# compiled first, once, and side by side.
test: lint
	@for command in search "search --strategy exhaustive" count; do \
		$(BIN)/fastmap $$command resnet8 --layer fc --arch dimc > /dev/null & \
	done; wait
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf .typecheck
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --target .typecheck .  # mypy sees the kernels only when installed
	$(BIN)/mypy .typecheck/fastmap
	@rm -rf .typecheck build

# Regenerate the figures of the README.
bench: $(VENV)/.tested
	$(BIN)/python benchmarks/evaluation_rate.py

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip "setuptools>=77"
	$(BIN)/pip install --quiet -e .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/pip install --quiet -e ".[test,lint,parity]"
	@touch $@

clean:
	rm -rf $(VENV) .typecheck build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
