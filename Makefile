# On a fresh machine with Python 3.11 and make: `make app` or `make test`, in either order.
PYTHON ?= python3.11
# A machine without an NVIDIA GPU can point pip at PyTorch's CPU packages (see README, Installation).
TORCH ?= torch==2.13.0
HOST ?= 127.0.0.1
PORT ?= 7860
TOYSTREETS ?= data/toystreets

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ON_ALL_CORES := -n logical --dist loadfile

.PHONY: app test check format venv toystreets browser clean

app: $(STAMP) toystreets
	$(BIN)/python app.py --host $(HOST) --port $(PORT)

# Unit tests, whole runs through the command line, the GPU path on a stand-in (skipped, with the
# reason, where there is no C++ compiler), all on all cores; then the app in a browser (skipped,
# with the reason, where there is no Chromium). Files stay whole, so that what a file's tests share
# is made once.
test: $(STAMP)
	$(BIN)/python -m pytest -q $(ON_ALL_CORES)
	$(BIN)/python -m pytest -q $(ON_ALL_CORES) -m e2e
	$(BIN)/python -m pytest -q -n logical -m fake_cuda -rs
	$(BIN)/python -m pytest -q -m browser -rs

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

venv: $(STAMP)

# torch first: any unpinned torch would bring the newest build and its CUDA packages along.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[workbench,dev]"
	touch $(STAMP)

# Made once; asking again for the same data costs nothing.
toystreets: $(STAMP)
	$(BIN)/uda4inst data toystreets $(TOYSTREETS)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
