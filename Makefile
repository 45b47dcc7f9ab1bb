# Two commands do everything on a fresh machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3.11
ENV    := .venv
RUN    := $(ENV)/bin/python -m
READY  := $(ENV)/.ready

.PHONY: demo test test-fast test-sb3 lint bench bench-peers clean env
.DEFAULT_GOAL := demo

env: $(READY)

# The environment is made once; it is made anew only when what it holds has changed.
$(READY): pyproject.toml .constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make needs $(PYTHON): install Python 3.11, or run make PYTHON=/path/to/python3.11"; exit 2; }
	test -x $(ENV)/bin/python || $(PYTHON) -m venv $(ENV)
	$(RUN) pip install --quiet --disable-pip-version-check -c .constraints.txt -e '.[dev]'
	$(RUN) multimodal_dql.bench.warm
	touch $@

demo: $(READY)
	$(RUN) multimodal_dql demo --out demo-report

lint: $(READY)
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

# Whole files go to one of two processes, so that what a file makes once is made once; plain pytest works, too.
PYTEST := $(ENV)/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder

test: lint
	$(PYTEST)
	$(RUN) pytest -m 'not slow' tests/test_layout.py

test-fast: $(READY)
	$(PYTEST) -m 'not slow'

# PyTorch, for encoders that have no ONNX export and for Stable-Baselines3, and Ray live in an environment on top of the other.
SB3 := .venv-sb3
$(SB3)/.ready: $(READY)
	test -x $(SB3)/bin/python || $(PYTHON) -m venv $(SB3)
	printf '%s\n' $(CURDIR)/$(ENV)/lib/python3*/site-packages $(CURDIR) > $$(echo $(SB3)/lib/python3*/site-packages)/below.pth
	$(SB3)/bin/python -m pip install --quiet --disable-pip-version-check -c .constraints.txt 'stable-baselines3>=2.4' 'torch>=2.8' 'ray>=2.40' 'setuptools<82'
	touch $@

test-sb3: $(SB3)/.ready
	$(SB3)/bin/python -m pytest -m 'sb3 or torch or ray'

bench: $(READY)
	$(RUN) multimodal_dql bench encode
	$(RUN) multimodal_dql bench simulator

# The peers of bench training, in an environment of their own; nothing of ours is installed there.
PEERS := .venv-peers
$(PEERS)/.ready:
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check stable-baselines3 torch==2.13.0 jax optax
	touch $@

bench-peers: $(READY) $(PEERS)/.ready
	$(RUN) multimodal_dql bench training --peers $(PEERS)/bin/python

clean:
	rm -rf $(ENV) $(SB3) $(PEERS) demo-report build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
