# On a fresh machine with any Python 3, or uv, and make: `make app` or `make test`, in either order.
# The environment's Python: one that fits is looked for (install.py).
PYTHON ?=
# What to ask pip for: `make venv TORCH="torch==2.13.0 --index-url URL"`. Else a torch that works is
# kept, and where there is none that of constraints-torch.txt is fetched.
TORCH ?=
# What is installed beside the core: `make venv EXTRAS=workbench` leaves FiftyOne and JupyterLab out.
EXTRAS ?= workbench,inspection,notebooks
HOST ?= 127.0.0.1
PORT ?= 7860
TOYSTREETS ?= data/toystreets

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ON_ALL_CORES := -n logical --dist loadfile
# Two tiers beside each other, each one's words in one piece; one after the other by a make before 4.
SIDE_BY_SIDE := $(if $(filter output-sync,$(.FEATURES)),--jobs=2 --output-sync=target)

LOWEST := .venv-lowest
LOWEST_STAMP := $(LOWEST)/.installed
# As a path: pyenv's `python3.12` may be there and not work.
PYTHON_LOWEST ?= $(firstword $(shell python3.12 -c "import sys; print(sys.executable)" 2>/dev/null) \
	$(wildcard $(shell pyenv root 2>/dev/null)/versions/3.12.*/bin/python))

# The newest Python that the core takes, looked for in the same way.
NEWEST := .venv-newest
NEWEST_STAMP := $(NEWEST)/.installed
PYTHON_NEWEST ?= $(firstword $(shell python3.13 -c "import sys; print(sys.executable)" 2>/dev/null) \
	$(wildcard $(shell pyenv root 2>/dev/null)/versions/3.13.*/bin/python))

.PHONY: app notebooks record-notebooks test soak test-inspection test-browser test-lowest venv-lowest test-newest venv-newest gpu gpu-wheels check docs format venv toystreets browser clean

app: $(STAMP) toystreets
	$(BIN)/python app.py --host $(HOST) --port $(PORT)

# JupyterLab on the notebooks; they work in this folder.
notebooks: $(STAMP) toystreets
	$(BIN)/jupyter labextension disable --level=sys_prefix \
	  @jupyterlab/apputils-extension:announcements 2>/dev/null  # it would ask about news
	$(BIN)/jupyter lab --notebook-dir . notebooks

# Runs notebooks as they are and keeps their outputs: `make record-notebooks NOTEBOOKS=notebooks/02*`.
NOTEBOOKS ?= notebooks/*.ipynb
record-notebooks: $(STAMP) toystreets
	$(BIN)/python -m workbench.notebook.record $(NOTEBOOKS)

# Unit tests, whole runs through the command line, the GPU path on a stand-in (skipped, with the
# reason, where there is no C++ compiler), the notebooks at smoke scale (skipped where they are not
# installed), all on all cores; then FiftyOne with its database (skipped where it is not installed)
# beside the app in a browser (skipped where there is no Chromium), which both wait a lot. Files stay
# whole, so that what a file's tests share is made once; but of whole runs, of which single ones take
# minutes, a core that is done takes from another.
test: $(STAMP)
	$(BIN)/python -m pytest -q $(ON_ALL_CORES)
	$(BIN)/python -m pytest -q -n logical --dist worksteal -m e2e
	$(BIN)/python -m pytest -q -n logical -m fake_cuda -rs tests/fake_cuda
	$(BIN)/python -m pytest -q -n logical --dist loadgroup -m notebooks -rs tests/notebooks
	$(MAKE) $(SIDE_BY_SIDE) test-inspection test-browser

test-inspection: $(STAMP)
	$(BIN)/python -m pytest -q $(ON_ALL_CORES) -m inspection -rs tests/workbench/sessions

test-browser: $(STAMP)
	$(BIN)/python -m pytest -q -m browser -rs tests/workbench/browser

# The core's tests in an environment, then a whole run.
define core-tests
$(1)/bin/python -m pytest -q $(ON_ALL_CORES) --ignore tests/workbench --ignore tests/notebooks
scratch=$$(mktemp -d) && cd $$scratch && \
$(CURDIR)/$(1)/bin/uda4inst data toystreets data/toystreets && \
$(CURDIR)/$(1)/bin/uda4inst train toystreets_smoke && rm -r $$scratch
endef

# The core on the lowest versions that pyproject.toml allows.
ifeq ($(PYTHON_LOWEST),)
test-lowest venv-lowest:
	@echo "$@ is skipped: it needs Python 3.12; make $@ PYTHON_LOWEST=PATH names one."
else
venv-lowest: $(LOWEST_STAMP)

test-lowest: $(LOWEST_STAMP)
	$(call core-tests,$(LOWEST))
endif

# By uv: 3 GB (torch with CUDA: no other 2.11 is on the index) come in a minute; by pip, in six.
$(LOWEST_STAMP): pyproject.toml constraints-lowest.txt
	test -x $(LOWEST)/bin/python || $(PYTHON_LOWEST) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install uv
	$(LOWEST)/bin/uv pip install --compile-bytecode --python $(LOWEST) \
	  --requirements constraints-lowest.txt
	$(LOWEST)/bin/uv pip install --python $(LOWEST) --no-deps --editable .
	touch $(LOWEST_STAMP)

# The core on the newest Python, with the versions that are tested everywhere else.
ifeq ($(PYTHON_NEWEST),)
test-newest venv-newest:
	@echo "$@ is skipped: it needs Python 3.13; make $@ PYTHON_NEWEST=PATH names one."
else
venv-newest: $(NEWEST_STAMP)

test-newest: $(NEWEST_STAMP)
	$(call core-tests,$(NEWEST))
endif

$(NEWEST_STAMP): pyproject.toml constraints.txt constraints-torch.txt install.py
	$(PYTHON_NEWEST) install.py --venv $(NEWEST) --extras test --python $(PYTHON_NEWEST)
	touch $(NEWEST_STAMP)

# What a machine with Python 3.12, torch, transformers and the usual scientific packages lacks (4 to
# 5 MB): beartype 1.6 MB, msgspec .2, pycocotools .4, pydantic .5, pydantic-core 2.3 and two small.
GPU_WHEELS := annotated_types beartype msgspec pycocotools pydantic pydantic_core typing_inspection
GPU_PYTHON ?= python3

gpu-wheels: $(STAMP)
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
	  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
	  --platform manylinux2014_x86_64 --constraint constraints.txt --dest wheels $(GPU_WHEELS)
	du -bch wheels/*.whl

# On a machine with a GPU; no environment is made and nothing is fetched.
gpu:
	$(GPU_PYTHON) benchmarks/gpu.py

# At length, with a report in build/soak: property tests with new examples each time (what is found
# belongs into the tests as an explicit example; what is not reached in time is no failure), every
# reader of files given bytes that atheris finds (a minute each, in the same time two of them), real
# trainings killed at random moments, a day's worth of steps, twenty browsers beside a training. 70
# to 90 minutes on two cores, no longer than twice SOAK_SECONDS, 40 minutes and what the simulated
# steps take; docs/reliability.md.
SOAK_SECONDS ?= 1800
SOAK_EXAMPLES ?= 2000
SOAK_KILLS ?= 100
SOAK_FUZZ_SECONDS ?= 60
SOAK_SEED ?= $(shell date +%s)
SOAK_STEPS ?= 300000
soak: $(STAMP)
	PROPERTIES=soak SOAK_EXAMPLES=$(SOAK_EXAMPLES) timeout $(SOAK_SECONDS) $(BIN)/python -m pytest \
	  -q $(ON_ALL_CORES) tests/properties || test $$? -eq 124
	mkdir -p build/soak && rm -f build/soak/*.json
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt atheris
	-$(BIN)/python tests/support/fuzz.py --seconds $(SOAK_FUZZ_SECONDS) --seed $(SOAK_SEED) \
	  --out build/soak/fuzz.json
	$(BIN)/python tests/support/killed_runs.py --kills $(SOAK_KILLS) --seed $(SOAK_SEED) \
	  --at-once 2 --seconds $(SOAK_SECONDS) --out build/soak/kills.json
	$(BIN)/python tests/support/long_run.py --steps $(SOAK_STEPS) --out build/soak/long_run.json
	-OMP_NUM_THREADS=1 GRADIO_IS_E2E_TEST=1 $(BIN)/python benchmarks/workbench_load.py \
	  --sessions 100 --seconds 60 --out build/soak/app.json
	$(BIN)/python tests/support/soak_report.py build/soak

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

# The site, from build/docs/index.html on; needs no network, and any warning is an error.
docs: $(STAMP)
	$(BIN)/python -m sphinx -c docs -q -W -n --keep-going . build/docs

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

venv: $(STAMP)

ANY_PYTHON := $(or $(shell command -v python3),$(if $(shell command -v uv),uv run --no-project \
	--python 3.11 python),python3)
$(STAMP): pyproject.toml constraints.txt constraints-torch.txt install.py
	$(ANY_PYTHON) install.py --venv $(VENV) --extras "$(EXTRAS),test,dev,docs" \
	  $(if $(PYTHON),--python $(PYTHON)) $(if $(TORCH),--torch "$(TORCH)")
	touch $(STAMP)

# Made once; asking again for the same data costs nothing.
toystreets: $(STAMP)
	$(BIN)/uda4inst data toystreets $(TOYSTREETS)

clean:
	rm -rf $(VENV) $(LOWEST) build *.egg-info .pytest_cache .ruff_cache
