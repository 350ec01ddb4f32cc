# make demo: from a fresh clone to a leaderboard. make test: the whole test suite. Both make .venv and install what they need.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.14.1 torchvision==0.29.1
# The recorded result of an install, so that it happens once.
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint types wheel bench clean

demo: $(INSTALLED)
	$(BIN)/cxrbench run --encoder spcl,imagenet,random --tasks vindr,rsna,siim
	$(BIN)/cxrbench leaderboard -o leaderboard.md
	@cat leaderboard.md

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/python .ci/types.py

wheel: $(INSTALLED)
	bash .ci/wheel

bench: $(INSTALLED)
	for part in benchmarks/*.py; do $(BIN)/python $$part || exit 1; done

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[baselines,test]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
