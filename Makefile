# Every target works from a bare checkout: it needs Python ≥ 3.11, make and a package registry.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed$(if $(ACCEL),-$(ACCEL))
# The lock's own version of jax, with the accelerator's libraries beside it.
JAX = $(shell sed -n 's/^jax==\([0-9.]*\).*/\1/p' requirements.lock | head -1)
EXTRA = $(if $(filter cuda,$(ACCEL)),cuda12,$(ACCEL))

VENV_GPU := .venv-gpu
GPU_PY := $(VENV_GPU)/bin/python
GPU_STAMP := $(VENV_GPU)/.installed
DOCS_STAMP := $(VENV)/.installed-docs

STUDY ?= studies/recovery.toml
NAME = $(basename $(notdir $(STUDY)))
OUT ?= data/$(NAME)
DATA ?= $(OUT)
X ?= weight_decay
Y ?= separation
MEASURE ?= max_angle
BELOW ?= 0.02
PICTURE ?= $(DATA)/phase.png
FILE ?= $(OUT).nc
PAGE ?= $(DATA)/report.html
BUDGET ?= 300

# A run that asks for a card says why it has none, instead of computing on the CPU.
export ACCEL

.DEFAULT_GOAL := help
.PHONY: help setup run ensemble refine status collect phase summary survival minima families certificate report tutorial docs \
	test validate reproductions browser lint types bench gpu gpu-compile lock clean

help: ## list the targets
	@echo "gd-atlas: make TARGET [NAME=value …]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(STAMP) ## create .venv from requirements.lock (ACCEL=cuda: with the CUDA build of jax)

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python ≥ 3.11 found; install one, or say make PYTHON=/path/to/python"; exit 2; }
	@echo "setting up $(VENV) (once)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(if $(ACCEL),@$(PY) -m pip install --quiet --disable-pip-version-check --constraint requirements.lock "jax[$(EXTRA)]==$(JAX)")
	@touch $@

run: setup ## the main job: run studies/recovery.toml, draw its phase diagram, write its page
	@$(PY) -m ensemble run studies/recovery.toml --out data/recovery
	@$(PY) -m analysis phase data/recovery --x weight_decay --y separation --measure max_angle --below 0.02 \
		--out data/recovery/phase.png --overwrite
	@$(PY) -m analysis report data/recovery --overwrite

ensemble: setup ## run any study: STUDY=studies/x.toml [OUT=data/x] [SEEDS=n] [FIELDS="path=value …"] [DASK=address|local|slurm]
	@$(PY) -m ensemble run $(STUDY) $(FIELDS) --out $(OUT) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(DASK),--dask $(DASK))

refine: setup ## members where a boundary is uncertain: STUDY=… OUT=data/x X=axis Y=axis MEASURE=probe BELOW=value BUDGET=members
	@$(PY) -m analysis refine $(STUDY) --out $(OUT) --x $(X) --y $(Y) --measure $(MEASURE) --below $(BELOW) --budget $(BUDGET)

status: setup ## how far a run is: OUT=data/x
	@$(PY) -m ensemble status $(OUT)

collect: setup ## one compressed file of a run: OUT=data/x [FILE=x.nc]
	@$(PY) -m ensemble collect $(OUT) $(FILE)

phase: setup ## draw a phase diagram: DATA=data/x X=axis Y=axis MEASURE=probe [BELOW=value] [PICTURE=file]
	@$(PY) -m analysis phase $(DATA) --x $(X) --y $(Y) --measure $(MEASURE) --below $(BELOW) --out $(PICTURE)

summary: setup ## statistics of every cell: DATA=data/x
	@$(PY) -m analysis summary $(DATA)

survival: setup ## convergence times as censored data: DATA=data/x MEASURE=probe BELOW=tolerance
	@$(PY) -m analysis survival $(DATA) --measure $(MEASURE) --below $(BELOW)

# Only what was given: without it the page opens with what fits to the run.
GIVEN = $(if $(findstring $(origin $(1)),command line environment),$(2) $($(1)))

report: setup ## one HTML page of a run: DATA=data/x [MEASURE=probe] [BELOW=value] [PAGE=file]
	@$(PY) -m analysis report $(DATA) $(call GIVEN,MEASURE,--measure) $(call GIVEN,BELOW,--below) --out $(PAGE)

families: setup ## families of minima up to symmetry: DATA=data/x (with stored weights)
	@$(PY) -m analysis families $(DATA)

certificate: setup ## members that are certified global minima: DATA=data/x
	@$(PY) -m analysis certificate $(DATA)

minima: setup ## families of final losses: DATA=data/x
	@$(PY) -m analysis minima $(DATA)

# Most of the time goes to compiling programs that run for a moment: without optimisation that takes two thirds as long, and
# rounds otherwise. Golden files hold the bits of users' programs, and calls of any length on accelerators have the same bits
# as users compile them: both are tested so, and all of `make validate` is.
AS_COMPILED = tests/test_golden.py tests/test_accelerators.py
QUICKLY = --xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0

test: setup ## run the tests (minutes)
	@failed=0; $(PY) -m pytest -n auto $(AS_COMPILED) || failed=$$?; \
	XLA_FLAGS="$(QUICKLY) $$XLA_FLAGS" $(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder \
		$(AS_COMPILED:%=--ignore=%) || failed=$$?; exit $$failed

validate: setup ## run the slow scientific checks (tens of minutes)
	@$(PY) -m pytest -m long
	@$(PY) -m pytest tests/test_golden.py tests/test_engine.py tests/test_registry.py
	@$(PY) -m pytest tests/validation

reproductions: setup ## published results, made again (an hour; goes on where it stopped), into docs/reproductions.md: [ONLY="id …"]
	@$(PY) -m benchmarks.reproductions $(ONLY)

browser: ## install Debian's chromium, for the tests of the page (they skip without one)
	@command -v chromium >/dev/null 2>&1 || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && timeout 120 apt-get update -qq >/dev/null 2>&1 \
		&& timeout 300 apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; } \
		|| echo "no chromium installed (needs root and apt): the tests of the page in a browser will skip"

tutorial: setup ## execute docs/tutorial.ipynb and the notebooks of docs/notebooks from top to bottom: [NOTEBOOK=one.ipynb]
	@$(PY) docs/execute.py $(NOTEBOOK)

docs: $(DOCS_STAMP) ## build the documentation site, build/site/index.html; any warning fails it
	@$(PY) -m sphinx --fresh-env --fail-on-warning --keep-going --quiet --conf-dir docs/site \
		--doctree-dir build/doctrees . build/site

$(DOCS_STAMP): $(STAMP) requirements-docs.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --requirement requirements-docs.lock
	@touch $@

lint: setup ## ruff: style and formatting
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: setup ## pyright (as basedpyright) on both packages
	@$(PY) -m basedpyright

gpu: setup ## measure kernels on this machine's card once (minutes; small sizes on a CPU), into data/gpu.json and .md
	@$(PY) -m benchmarks.gpu measure --out data/gpu

gpu-compile: $(GPU_STAMP) ## compile for cards that are not there: JAX's CUDA wheels in .venv-gpu (3 GB), a table in docs/performance.md
	@$(GPU_PY) -m benchmarks.gpu compile

$(GPU_STAMP): requirements.lock
	@test -n "$(PYTHON)" || { echo "error: no Python ≥ 3.11 found; install one, or say make PYTHON=/path/to/python"; exit 2; }
	@echo "setting up $(VENV_GPU) (once, 3 GB)"
	@test -x $(GPU_PY) || $(PYTHON) -m venv $(VENV_GPU)
	@$(GPU_PY) -m pip install --quiet --disable-pip-version-check --constraint requirements.lock \
		"jax[cuda12]==$(JAX)" nvidia-cuda-nvdisasm equinox optax numpy scipy xarray h5py pydantic typer pytest
	@touch $@

bench: setup ## measure engine and store beside other programs (opt-in, ten minutes; TORCH=1 installs torch as a peer)
	$(if $(TORCH),@$(PY) -m pip install --quiet --disable-pip-version-check --constraint requirements.lock ".[bench]")
	@$(PY) -m benchmarks

LOCK = uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --fork-strategy fewest \
	--no-emit-index-url --no-header --no-annotate --quiet

lock: ## recompute requirements.lock, and requirements-docs.lock with the site's packages beside it (needs uv)
	$(LOCK) --output-file requirements.lock
	$(LOCK) --extra docs --constraint requirements.lock --output-file requirements-docs.lock

clean: ## remove .venv, caches and data/ (keeps data/reference and data/bench)
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find data -mindepth 1 -maxdepth 1 ! -name reference ! -name bench -exec rm -rf {} + 2>/dev/null || true
