# The verbs of the day. Nothing here knows how: deploy/ does. Settings: CLIPSTACK_* in the environment (README).

PYTHON := .venv/bin/python
STACK  := $(PYTHON) -m deploy.stack
PYTEST := $(PYTHON) -m pytest
LOCK   := .venv/bin/uv pip compile --quiet pyproject.toml --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
          --generate-hashes --no-annotate --custom-compile-command "make lock"

.DEFAULT_GOAL := help

# Tests start Python so often that to compile our modules anew each time is minutes of a run
test test-unit test-nightly faults formats fuzz: export PYTHONDONTWRITEBYTECODE =
# More than cores: half of what these do is to wait for other processes
test-unit: WORKERS = $(shell echo $$(($$(nproc) * 3 / 2)))
# every verb that `make help` lists; some are names of folders too
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*  \#\# .*/\1/p' $(MAKEFILE_LIST))

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*  ## /\1	/p' $(MAKEFILE_LIST) | expand -t 20

setup:  ## install what is missing; quick when nothing is
	@deploy/setup

up: setup  ## start the stack, wait until it is ready, print its address
	@$(STACK) up

down:  ## stop the stack
	@if [ -x $(PYTHON) ]; then $(STACK) down; else echo "nothing is set up here"; fi

status:  ## show the programs and whether the stack is ready
	@$(STACK) status

logs:  ## follow all logs
	@$(STACK) logs

doctor:  ## check the stack, running or stopped, and say how to fix what is wrong; CHECK="ports nginx" for some checks
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m deploy.doctor $(CHECK); else echo "nothing is set up here: make setup"; exit 2; fi

demo: up  ## start the stack and classify a video; FILE=... for your own
	@$(PYTHON) -m deploy.demo $(if $(FILE),"$(FILE)")

model: setup  ## add a model: NAME=x3d_m downloads a published one; for your own: clipstack-models add --help
	@.venv/bin/clipstack-models add $(if $(NAME),"$(NAME)",$(error say which: make model NAME=x3d_m))

# Real processes on a shared machine: what failed beside others is tried once more by itself, and fails if it fails again
test:  ## install what is missing, run all tests but nightly ones: two files at a time, then those alone that measure time
	@deploy/setup test audit
	$(PYTEST) -m "not alone" -n 2 || $(PYTEST) -m "not alone" --last-failed
	$(PYTEST) -m alone tests/e2e || $(PYTEST) -m alone tests/e2e --last-failed
	@echo "not run, see make test-nightly: faults, fuzzing, soak, the GPU bench, every command of every page of docs,"
	@echo "the client under other Pythons, large X3D and ResNet sizes, bf16 of fitted networks, repeated kills, models that"
	@echo "hang for long, training again on corrections, containers that die, are scaled or get other models"

test-unit:  ## only tests that start nothing: seconds
	@deploy/setup test
	$(PYTEST) tests/unit -n $(WORKERS)

test-nightly:  ## the long ones: commands of all pages, the GPU bench on the CPU, every Python, then faults, fuzz and soak: two hours
	@deploy/setup test fuzz ray
	$(PYTEST) tests/nightly --ignore=tests/nightly/faults --repeats 10; status=$$?; \
		$(MAKE) --keep-going faults fuzz soak && exit $$status

test-gpu:  ## the tests that need a GPU; skipped, with the reason, where there is none
	@deploy/setup test
	$(PYTEST) tests/gpu tests/integration/app/test_slots.py tests/integration/app/test_cuda_slots.py \
		tests/integration/media/test_gpu_decoding.py tests/unit/deploy/test_gpu_discovery.py

faults:  ## too much work; parts killed, stopped, starved: writes docs/reliability.md's tables; ROWS=1,104: some
	@deploy/setup test
	$(PYTEST) tests/nightly/faults $(if $(ROWS),--rows "$(ROWS)"); status=$$?; $(PYTHON) -m tests.nightly.faults.table && exit $$status

formats:  ## files as people send them, to a stack of its own: writes docs/formats.md
	@deploy/setup test
	$(PYTEST) tests/e2e/field; status=$$?; $(PYTHON) -m tests.e2e.field.table && exit $$status

fuzz:  ## damaged files and odd requests to a stack of its own: MINUTES=10, SEED=1; 10,000 files write docs/fuzzing.md
	@deploy/setup test fuzz
	$(PYTHON) -m tests.nightly.fuzz --minutes "$(or $(MINUTES),10)" --seed "$(or $(SEED),1)"
	$(PYTHON) -m tests.nightly.fuzz.api --seed "$(or $(SEED),1)"
	$(PYTHON) -m tests.nightly.fuzz.table

audit:  ## check every package of the images for known vulnerabilities; exit status 75: not checked
	@deploy/setup test audit
	$(PYTHON) -m deploy.supply.audit

sbom:  ## write lists of all packages (CycloneDX), one for each lock, to build/sbom/
	@deploy/setup test audit
	@mkdir -p build/sbom
	@for lock in deploy/locks/*.txt; do \
		.venv/bin/cyclonedx-py requirements "$$lock" --output-reproducible \
			--output-file "build/sbom/$$(basename "$$lock" .txt).json" || exit 1; \
	done; ls build/sbom

supply:  ## update the tables of docs/supply.md
	@deploy/setup test
	$(PYTHON) -m deploy.supply.page

docs:  ## build the documentation as a site with search, links checked: build/docs/index.html
	@deploy/setup docs
	.venv/bin/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs
	@cp build/docs/README.html build/docs/index.html && echo build/docs/index.html

soak:  ## does anything grow under work and rubbish? MINUTES=30; writes docs/soak.svg and its part of docs/reliability.md
	@deploy/setup test
	$(PYTHON) -m bench.soak --minutes $(if $(MINUTES),$(MINUTES),30)

bench-against:  ## compare with another checkout in turns, seven minutes: OTHER=../older-checkout
	@deploy/setup bench
	$(PYTHON) -m bench.tools.compare $(or $(OTHER),$(error say which: make bench-against OTHER=../older-checkout))

bench:  ## measure against the baselines, about ten minutes, and write docs/performance.md; QUICK=1: four minutes; ONLY="throughput startup"
	@deploy/setup bench
	$(PYTHON) -m bench $(if $(QUICK),--quick) $(ONLY)

profile:  ## flame graph (SVG) of a live process of the stack under load: WHO=web, decoder or triton; SECONDS=20
	@deploy/setup bench
	$(PYTHON) -m bench.tools.flamegraph $(or $(WHO),web) --seconds $(or $(SECONDS),20)

gpu-bundle:  ## pack bench/gpu/run.py with all it needs on a bare machine with a GPU: build/clipstack-gpu.tar.xz
	@deploy/setup test
	$(PYTHON) -m bench.gpu.bundle build/clipstack-gpu.tar.xz

gpu-decode-bundle:  ## the same for bench/gpu/decode.py: build/clipstack-gpu-decode.tar.xz
	@deploy/setup
	$(PYTHON) -m bench.gpu.bundle --decoding build/clipstack-gpu-decode.tar.xz

gpu-first-bundles:  ## pack each of the three calls of bench/gpu/first_run.py (docs/gpu.md); LIBPYTHON=FILE: for Triton's stub
	@deploy/setup test
	@for call in layouts service decoding; do \
		$(PYTHON) -m bench.gpu.bundle --first $$call $(if $(LIBPYTHON),--libpython "$(LIBPYTHON)") \
			build/clipstack-gpu-$$call.tar.xz || exit 1; \
	done

lint:  ## ruff, codespell, mypy, and that imports flow one way
	@deploy/setup test lint
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/codespell
	$(PYTHON) -m mypy
	$(PYTHON) -m mypy --python-version 3.10 --platform win32 client  # the oldest Python of the client, without POSIX
	.venv/bin/lint-imports --no-cache --no-logo

lock:  ## update deploy/locks: what the images install, with hashes
	@deploy/setup lint
	$(LOCK) --extra web --extra otel --output-file deploy/locks/web.txt
	$(LOCK) --extra web --extra otel --extra cuda --output-file deploy/locks/web-gpu.txt
	$(LOCK) --extra triton --output-file deploy/locks/triton.txt
	$(LOCK) --extra gpu --output-file deploy/locks/triton-gpu.txt

clean: down  ## stop the stack and remove everything that setup created
	rm -rf .venv .runtime build clipstack.egg-info client/build client/clipstack_client.egg-info
	rm -rf triton_repo/models/camera_motion/[0-9]* triton_repo/models/frame_quality/[0-9]* \
		triton_repo/models/objects/[0-9]*
