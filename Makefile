# Everything here sets up what it needs, on a machine that has python3 (with venv) and make.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: install setup run test compiled checks docs torture torture-cluster fuzz bench clean

setup: install compiled
install: .venv/.installed
compiled: .venv/.compiled

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable ".[train,dev]"
	touch $@

# On all cores, where pip compiles on one. Packages have files for other Pythons among theirs:
# pip does not mind those either.
.venv/.compiled: .venv/.installed
	$(BIN)/python -m compileall -q src
	-@$(BIN)/python -m compileall -qq --workers 0 .venv/lib
	touch $@

# The main job. MNIST where it can be had (BURNISH_DATA, the cache, a download), else digits.
# Ten minutes are enough for its smallest plan on processors with bfloat16, not on older ones.
MINUTES ?= 20
run: setup
	$(BIN)/burnish run mnist --minutes $(MINUTES) --fallback digits

# Formatting, lint, strict types, layers and all tests.
test: install
	$(MAKE) --jobs 2 --output-sync checks compiled
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

checks: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The documents as a site, in build/site; a link or a name that leads nowhere ends it.
docs: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train,dev,docs]"
	$(BIN)/python -m mkdocs build --strict

# All faults of docs/reliability.md, not only the sample of 'make test'; about 15 minutes. Three
# processes for two cores: killed and hung workers are waited for half of the time. And kills in
# every kind of search, the wheel, with all that it depends on installed afresh, and scikit-learn's
# checks of estimators.
torture: setup
	BURNISH_TORTURE=1 $(BIN)/python -m pytest tests/faults tests/runner/test_tune_stage.py tests/test_packaging.py \
		tests/api/test_classifier.py \
		--numprocesses 3 --dist worksteal --durations 40

# The faults of docs/cluster.md, on Ray clusters of three nodes that are started here; 13 minutes.
torture-cluster: setup
	BURNISH_TORTURE=1 $(BIN)/python -m pytest tests/tuning/test_ray.py tests/runner/test_ray_study.py

# Every parser, guided by coverage, SECONDS each; what makes one fail is kept in crashes/.
SECONDS ?= 60
fuzz: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train,dev,fuzz]"
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

# Ratios and tables, each measured within one run, most of them recorded in docs/benchmarks.md;
# four to five hours where convolutions are slow, or minutes with BENCH=--quick, which records
# nothing. Broken off, 'make bench' goes on with what had not ended, by the code of that moment;
# once all have, it begins anew. The options bound what peers may take; each script's head says
# what it does without. Needs MNIST but for memory.py, reading.py, scale.py and startup.py, and of
# photographs photo_memory.py; the others of those need sets of photographs. Serving has its own:
# benchmarks/serve.py and benchmarks/fuzz_serve.py take a finished model.
BENCH ?=
BENCHMARKS := startup engine hyperband time_to_quality scale bayesian whole_study \
	samplers promotion memory reading photos photo_accuracy photo_memory
ENDED := build/bench$(subst $() ,,$(BENCH))
bench: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train,dev,bench]"
	$(MAKE) --jobs 1 $(BENCHMARKS:%=$(ENDED)/%)
	rm -r $(ENDED)

engine_OPTIONS := --repeats 3 --seeds 0
time_to_quality_OPTIONS := --peer-seeds 1 --cap 2000
whole_study_OPTIONS := --epochs 2
$(ENDED)/%:
	$(BIN)/python benchmarks/$*.py $($*_OPTIONS) $(BENCH)
	mkdir -p $(@D) && touch $@

clean:
	rm -rf .venv build dist src/*.egg-info
