# One command runs the main job on the embedded demo, one the tests; both set up what they need first.
#
#   make demo    start the demo engine, rerank, compare, evaluate (about a minute after set-up)
#   make test    every test (the notebooks are executed by them); needs node 20 or newer, and npm; the panel is looked
#                at with chromium and chromium-driver where there are any
#   make pictures  the README's pictures, from the real thing, into docs/pictures/, and more of them into pictures/; needs
#                chromium, chromium-driver and tmux
#   make lint    ruff, mypy --strict
#   make notebooks  run the notebooks and store them with what they show
#   make bench   figures, as ratios against peers in the same run (BENCH="--quick relay" for some, quickly); needs
#                nginx, HAProxy and wrk: apt-get install nginx-light haproxy wrk

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JAVASCRIPT := tests/javascript/node_modules/.ready
VSCODE := tests/javascript/node_modules/vscode-widgets
PEERS := .venv-bench
BACKENDS := .venv-peers

.PHONY: demo test lint notebooks bench pictures setup clean

demo: $(READY)
	$(BIN)/nbproxy demo

test: $(READY) $(JAVASCRIPT)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: $(READY)
	$(BIN)/python -m tests.notebooks

bench: $(READY) $(PEERS)/.ready $(BACKENDS)/.ready
	$(BIN)/python -m tests.benchmarks $(BENCH)

pictures: $(READY)
	$(BIN)/python -m tests.pictures $(PICTURES)

setup: $(READY) $(JAVASCRIPT)

# Elasticsearch's client 8 cannot be installed beside 9 (their transports exclude each other): a folder of its own.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,measures,plot]' --group dev
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $(VENV)/clients/elasticsearch8 'elasticsearch8<9' 'elastic-transport<9'
	touch $(READY)

# The official JavaScript clients, which tests/test_clients.py runs, and what VS Code shows widgets with (for
# tests/panel/test_browser.py): what that depends on is in it, so that it is fetched alone.
$(JAVASCRIPT): tests/javascript/package.json tests/javascript/package-lock.json
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "the tests need node 20 or newer, and npm" >&2; exit 1; }
	npm ci --prefix tests/javascript --no-audit --no-fund --silent
	mkdir -p $(VSCODE)
	cd $(VSCODE) && npm pack --silent @vscode/jupyter-ipywidgets8@1.0.9 | xargs tar xzf && rm *.tgz
	touch $@

# mitmproxy, a peer of the benchmarks, in an environment of its own: it pins versions of what we use.
$(PEERS)/.ready:
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade mitmproxy
	touch $@

# sentence-transformers' own ONNX and OpenVINO backends, peers too: their exporters (optimum) exclude our transformers.
$(BACKENDS)/.ready: constraints.txt
	$(PYTHON) -m venv $(BACKENDS)
	$(BACKENDS)/bin/python -m pip install --quiet --upgrade pip
	$(BACKENDS)/bin/python -m pip install --quiet --constraint constraints.txt 'sentence-transformers[onnx,openvino]'
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) $(BACKENDS) tests/javascript/node_modules build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
