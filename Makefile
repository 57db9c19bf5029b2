# `make` lists the targets. A fresh machine needs Python >= 3.11 and nothing else; all goes into .venv.

SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
GATEWAY := $(PY) -m gateway

# HOST counts only when it is given to make: some shells export one of their own.
SERVE_OPTIONS := $(if $(PORT),--port $(PORT)) $(if $(filter command line,$(origin HOST)),--host $(HOST))

# An environment whose Python has gone is made anew, and so is what was installed in it.
ifeq ($(wildcard $(PY)),)
$(shell rm -f $(VENV)/.run $(VENV)/.dev)
endif

.DEFAULT_GOAL := help
.PHONY: help run test bench campaign lint type format migrate docs check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run ## start everything with the demo survey; PORT=8080 HOST=127.0.0.1
	@exec $(PY) -m gateway.serve.tied demo $(SERVE_OPTIONS)

test: $(VENV)/.dev ## run all tests, starting whatever they need; TESTS=tests/db for a part
	@$(PY) -m pytest -n 2 --dist worksteal $(TESTS)

bench: $(VENV)/.dev ## measure, as ratios to the floor of the same run; writes bench/results.md
	@$(PY) -m bench $(BENCH)

campaign: $(VENV)/.dev ## do harm to a whole gateway and judge it; NAME=C1 SEED=7 for a full form, nothing for all short ones
ifdef NAME
	@$(PY) -m tests.campaigns $(NAME) $(if $(SEED),--seed $(SEED)) $(if $(SHORT),--short)
else
	@$(PY) -m pytest -q -n 0 -m campaign tests/campaigns
endif

lint: $(VENV)/.dev ## check style and layout
	@$(VENV)/bin/ruff check --no-cache .
	@$(VENV)/bin/ruff format --check .

type: $(VENV)/.dev ## check types
	@$(VENV)/bin/mypy

format: $(VENV)/.dev ## lay out the code
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix-only .

migrate: $(VENV)/.run ## bring the databases to this version's schema
	@$(GATEWAY) migrate

docs: $(VENV)/.dev ## write the reference of commands and settings from the code
	@$(PY) docs/reference.py

check: lint type test ## what CI does first

clean: ## remove the environment and caches; data in .gateway stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# -- the environment ----------------------------------------------------------------------------------------

# The stamps say which extras are installed; what developers need includes the rest.
$(VENV)/.run: pyproject.toml | $(PY)
	@if [ $(VENV)/.dev -nt pyproject.toml ]; then :; else $(call install,.[embedded$(,)demo]); fi
	@touch $@

$(VENV)/.dev: pyproject.toml | $(PY)
	@$(call install,.[dev])
	@touch $@

, := ,

# Quiet, but never silent for long: the last line of pip's own words, with the seconds that have passed.
define install
echo "Installing $(1) into $(VENV)"; log=$(VENV)/install.log; start=$$(date +%s); \
$(PY) -m pip install --progress-bar off --disable-pip-version-check -e '$(1)' >$$log 2>&1 & pip=$$!; \
trap 'kill $$pip 2>/dev/null' EXIT; trap 'exit 130' INT TERM; said=; n=0; \
while kill -0 $$pip 2>/dev/null; do \
	sleep 1; n=$$((n + 1)); \
	line=$$(tail -n 1 $$log | tr -s '\r\t ' ' ' | cut -c 1-70); \
	if [ -t 1 ]; then printf '\r  %4s s  %-72s' $$(($$(date +%s) - start)) "$$line"; \
	elif [ $$((n % 10)) = 0 ]; then echo "  $$(($$(date +%s) - start)) s  $$line"; fi; \
done; \
if [ -t 1 ]; then printf '\r%84s\r' ''; fi; \
if wait $$pip; then echo "Installed in $$(($$(date +%s) - start)) s"; \
else trap - EXIT; tail -n 20 $$log >&2; echo "The installation failed; the whole log is $$log" >&2; exit 1; fi
endef

$(PY):
	@found=; old=; bare=; \
	for candidate in python3.13 python3.12 python3.11 python3 python; do \
		$$candidate -c '' 2>/dev/null || continue; \
		if ! $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then old=$$candidate; \
		elif ! $$candidate -c 'import ensurepip, venv' 2>/dev/null; then bare=$$candidate; \
		else found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		if [ -n "$$bare" ]; then echo "$$bare cannot make virtual environments: install its venv module" \
			"(on Debian and Ubuntu the package python3-venv), then run make again." >&2; \
		elif [ -n "$$old" ]; then echo "The gateway needs Python 3.11 or newer; this machine has" \
			"$$($$old -V 2>&1). Install a newer one; it may stay beside the old one." >&2; \
		else echo "The gateway needs Python 3.11 or newer; there is no python3 on the PATH." >&2; fi; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$found -V)"; \
	$$found -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
