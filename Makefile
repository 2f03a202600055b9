# Every target makes the virtual environment that it needs: nothing has to be set up before.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-oldest lint coverage bench clean

demo: $(VENV)/demo
	mkdir -p demo
	$(BIN)/mmalign dtw sample_data/piece_take1.wav sample_data/piece_take2.wav --force \
		-o demo/alignment.json --path demo/path.csv --plot demo/alignment.png
	@echo
	@echo "Errors against the true times of sample_data/piece_truth.csv:"
	$(BIN)/mmalign evaluate demo/alignment.json sample_data/piece_truth.csv
	@echo
	@echo "The second take in the tempo of the first:"
	$(BIN)/mmalign sync sample_data/piece_take1.wav sample_data/piece_take2.wav --force \
		-o demo/take2_in_time.wav --alignment demo/sync.json
	@echo
	@echo "The picture is demo/alignment.png, the path demo/path.csv, all of it demo/alignment.json."

test: $(VENV)/test
	$(BIN)/python -m pytest -n 2 --dist worksteal

# The lower bounds of pyproject.toml, as they are: what old versions deprecate is theirs.
test-oldest: $(VENV)/oldest
	$(VENV)-oldest/bin/python -m pytest -n 2 --dist worksteal -W ignore::DeprecationWarning

lint: $(VENV)/lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# No tracer sees into compiled kernels: those tests run again without the JIT, and the engine's once
# more into an empty cache, where what emits its code runs. benchmarks/mutants.py reads what is left.
KERNEL_TESTS := $(addprefix tests/test_,$(addsuffix .py,dtw dtw_options ends model pairwise soft sound strips))
MEASURED := $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-context=test --cov-report=

coverage: $(VENV)/test
	mkdir -p build
	COVERAGE_FILE=build/coverage-on.data $(MEASURED) --junitxml=build/coverage-on.xml
	COVERAGE_FILE=build/coverage-off.data NUMBA_DISABLE_JIT=1 \
		$(MEASURED) -m "not compiled" --junitxml=build/coverage-off.xml $(KERNEL_TESTS)
	cache=$$(mktemp -d) && COVERAGE_FILE=build/coverage-cold.data NUMBA_CACHE_DIR=$$cache \
		$(MEASURED) tests/test_strips.py tests/test_pairwise.py && rm -rf $$cache
	$(BIN)/coverage combine --keep build/coverage-on.data build/coverage-off.data build/coverage-cold.data
	$(BIN)/coverage report --fail-under=97

# The peers pin older versions of what we use: they have an environment of their own.
bench: $(VENV)/bench
	$(VENV)-bench/bin/python benchmarks/startup.py
	$(VENV)-bench/bin/python benchmarks/accuracy.py
	$(VENV)-bench/bin/python benchmarks/engine.py --long
	$(VENV)-bench/bin/python benchmarks/pairwise.py
	$(VENV)-bench/bin/python benchmarks/sync.py
	$(VENV)-bench/bin/python benchmarks/ctw_round.py
	$(VENV)-bench/bin/python benchmarks/gtw_growth.py
	$(VENV)-bench/bin/python benchmarks/gtw.py
	$(VENV)-bench/bin/python benchmarks/batch.py

clean:
	rm -rf $(VENV) $(VENV)-bench $(VENV)-oldest demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/python:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/demo: $(VENV)/python pyproject.toml
	$(BIN)/pip install -q -e ".[plot]"
	touch $@

$(VENV)/test: $(VENV)/python pyproject.toml
	$(BIN)/pip install -q -e ".[plot,test]"
	touch $@

$(VENV)/oldest: $(VENV)/python pyproject.toml
	$(BIN)/pip install -q uv
	$(PYTHON) -m venv $(VENV)-oldest
	VIRTUAL_ENV=$(VENV)-oldest $(BIN)/uv pip install -q --resolution lowest-direct -e ".[plot,test]"
	touch $@

$(VENV)/bench: $(VENV)/python pyproject.toml
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/pip install -q -e ".[bench]"
	touch $@

$(VENV)/lint: $(VENV)/python pyproject.toml
	$(BIN)/pip install -q -e ".[plot,test,lint]"
	touch $@
