# make cosim : the main job: a trained model's layer on the RTL, held to golden and simulator
# make test  : all tests; .ci/run calls it
# make test-full : the same with more random engines and cases between RTL, golden and simulator
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
# A core idles in much of a test: Verilator and Yosys use one each.
WORKERS := -n logical --maxprocesses 4 --dist worksteal

.PHONY: cosim test test-fast test-full lint clean

cosim: $(STAMP)
	$(VENV)/bin/signacc cosim

test: $(STAMP) lint
	$(VENV)/bin/python -m pytest $(WORKERS)

test-fast: $(STAMP)
	$(VENV)/bin/python -m pytest $(WORKERS) -m "not rtl"

test-full: $(STAMP) lint
	$(VENV)/bin/python -m pytest $(WORKERS) --full

lint: $(STAMP)
	$(VENV)/bin/ruff check .

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,train,fpga,explore]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info
