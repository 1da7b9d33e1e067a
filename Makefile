# `make` lists the targets. Each target builds .venv first when it is missing or older than the lock.

# A command may be on the PATH and still not run (a version manager's stub), so try it.
PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
VENV_BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(VENV_BIN)/python -m pip --disable-pip-version-check

# `jupyter`, `git-nbdiffdriver` and the kernel `python3` are those of .venv, whatever the user has at home.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export JUPYTER_PREFER_ENV_PATH := 1

.DEFAULT_GOAL := help
.PHONY: help setup report test slow lab diff lint bench rehearse gallery lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## create .venv from requirements.lock, and set up notebook diffs in this clone

$(STAMP): requirements.lock pyproject.toml
	@# pip comes last into a new environment: one without it broke off half-way, so make it again
	@if ! test -x $(VENV_BIN)/pip; then \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
	  || { echo 'Python 3.11 or 3.12 is needed. Name one: make setup PYTHON=/path/to/python3.11' >&2; exit 1; }; \
	  $(PYTHON) -m venv .venv; \
	fi
	$(PIP) install -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@# Local to this clone. nbdime writes bare command names; full paths let git work outside .venv too.
	@if test -e .git; then \
	  $(VENV_BIN)/nbdime config-git --enable \
	  && git config diff.jupyternotebook.command "'$(CURDIR)/.venv/bin/git-nbdiffdriver' diff" \
	  && git config merge.jupyternotebook.driver "'$(CURDIR)/.venv/bin/git-nbmergedriver' merge %O %A %B %L %P"; \
	fi
	@touch $@

report: $(STAMP) ## run the default experiment and render reports/emoji-zh
	$(VENV_BIN)/clipcap run emoji-zh

# What takes longest comes first, or one core would end with it alone.
test: $(STAMP) ## run the unit and notebook tests
	$(VENV_BIN)/pytest -n auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder tests/notebooks tests/unit

slow: $(STAMP) ## run the slow tests: real sizes, many processes, many kills, several ranks, Ray, SLURM
	$(VENV_BIN)/pytest -m slow tests/slow

lab: $(STAMP) ## open JupyterLab in notebooks/
	cd notebooks && ../$(VENV_BIN)/jupyter lab

diff: $(STAMP) ## compare two executed notebooks in a browser: make diff A=first.ipynb B=second.ipynb
	@test -f '$(A)' && test -f '$(B)' || { echo 'Name two notebooks: make diff A=first.ipynb B=second.ipynb' >&2; exit 1; }
	$(VENV_BIN)/nbdiff-web '$(A)' '$(B)'

lint: $(STAMP) ## check style, format, and that notebooks carry no outputs
	$(VENV_BIN)/ruff check
	$(VENV_BIN)/ruff format --check
	find notebooks -name '*.ipynb' -not -path '*/.ipynb_checkpoints/*' -exec $(VENV_BIN)/nbstripout --verify --keep-id {} +

bench: $(STAMP) ## measure training and decoding speed
	$(VENV_BIN)/python -m clipcap_lib.bench.speed

rehearse: $(STAMP) ## run flickr30k-cn at full scale on generated pictures and random weights: speed and memory
	$(VENV_BIN)/python -m clipcap_lib.bench.rehearsal

# Nothing is trained again for another language: the notebooks that compare are.
GALLERY = emoji-zh $(notdir $(wildcard reports/emoji-zh-bridges reports/emoji-zh-scaling))
gallery: $(STAMP) ## rebuild reports/gallery, the committed examples, and the READMEs' answers, in both languages
	for language in en zh; do \
	  for name in $(GALLERY); do \
	    $(VENV_BIN)/clipcap run $$name -S report_language=$$language --name $$name || exit 1; \
	  done; \
	  $(VENV_BIN)/clipcap gallery || exit 1; \
	done

# For a new dependency: name it in pyproject.toml, .venv/bin/pip install it, make lock, and pin it in environment.yml.
lock: $(STAMP) ## rewrite requirements.lock from what .venv holds
	@{ echo '# Every package of .venv, direct and indirect, on Linux x86-64 and Python 3.11.'; \
	   echo '# Made by `make lock`; do not edit by hand.'; \
	   $(PIP) freeze --all --exclude-editable | grep -Ev '^(pip|clipcap[-_]lib)(=| )' | LC_ALL=C sort -f; } > .venv/lock.new
	@# An installation from a folder or an address would tie the lock to one machine.
	@if grep -Ev '^#|^[A-Za-z0-9._-]+==[^ ]+$$' .venv/lock.new; then echo 'not pinned by version: see above' >&2; exit 1; fi
	@# An unchanged lock keeps its time, so that nothing is installed again.
	@cmp -s .venv/lock.new requirements.lock || cp .venv/lock.new requirements.lock
	@rm .venv/lock.new

CLEAN = find data reports -mindepth 1 -maxdepth 1 -not -path data/README.md -not -path data/models -not -path reports/gallery
clean: ## remove caches, reports/ but the gallery, and data/ but the models; asks first, or YES=1
	@# data/ may also hold a corpus that somebody placed by hand, and reports/ a long training
	@if test -n "$$($(CLEAN) 2>/dev/null)" && test -z '$(YES)'; then \
	  $(CLEAN) 2>/dev/null; printf 'Remove these? [y/N] '; read answer; test "$$answer" = y \
	  || { echo 'Kept. (make clean YES=1 does not ask.)'; exit 1; }; \
	fi
	@$(CLEAN) -exec rm -rf {} + 2>/dev/null || true
	rm -rf build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find clipcap_lib notebooks tests \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
