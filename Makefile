# The verbs of the day. Nothing here knows how: deploy/ does. Settings: CLIPSTACK_* in the environment (README).

PYTHON := .venv/bin/python
STACK  := $(PYTHON) -m deploy.stack
PYTEST := $(PYTHON) -m pytest
LOCK   := .venv/bin/uv pip compile --quiet pyproject.toml --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
          --generate-hashes --no-annotate --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help setup up down status logs demo model test test-unit test-gpu gpu-bundle gpu-decode-bundle lint lock clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

setup:  ## install what is missing; quick when nothing is
	@deploy/setup

up: setup  ## start the stack, wait until it is ready, print its address
	@$(STACK) up

down:  ## stop the stack
	@if [ -x $(PYTHON) ]; then $(STACK) down; else echo "nothing is set up here"; fi

status:  ## say what runs and whether it is ready
	@$(STACK) status

logs:  ## follow all logs
	@$(STACK) logs

demo: up  ## start the stack and have it classify a video; FILE=... for one of your own
	@$(PYTHON) -m deploy.demo $(if $(FILE),"$(FILE)")

model: setup  ## add a model: NAME=x3d_m downloads a published one; your own: clipstack-models add --help
	@.venv/bin/clipstack-models add $(if $(NAME),"$(NAME)",$(error say which: make model NAME=x3d_m))

test:  ## install what is missing, run all tests
	@deploy/setup test
	$(PYTEST)

test-unit:  ## only the quick ones
	@deploy/setup test
	$(PYTEST) tests/unit -n auto

test-gpu:  ## the tests that need a GPU; skipped, with the reason, where there is none
	@deploy/setup test
	$(PYTEST) tests/gpu tests/contract/test_slots.py tests/contract/test_cuda_slots.py \
		tests/contract/test_gpu_decoding.py tests/unit/test_deploy_gpus.py

gpu-bundle:  ## pack bench/gpu.py with all it needs on a bare machine with a GPU: build/clipstack-gpu.tar.xz
	@deploy/setup test
	$(PYTHON) -m bench.gpu_bundle build/clipstack-gpu.tar.xz

gpu-decode-bundle:  ## the same for bench/gpu_decode.py: build/clipstack-gpu-decode.tar.xz
	@deploy/setup
	$(PYTHON) -m bench.gpu_bundle --decoding build/clipstack-gpu-decode.tar.xz

lint:  ## ruff and mypy
	@deploy/setup test lint
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

lock:  ## write deploy/locks anew: what the images install, with hashes
	@deploy/setup lint
	$(LOCK) --extra web --output-file deploy/locks/web.txt
	$(LOCK) --extra web --extra cuda --output-file deploy/locks/web-gpu.txt
	$(LOCK) --extra triton --output-file deploy/locks/triton.txt
	$(LOCK) --extra gpu --output-file deploy/locks/triton-gpu.txt

clean: down  ## stop the stack and remove everything that setup made
	rm -rf .venv .runtime build clipstack.egg-info
	rm -rf triton_repo/models/camera_motion/[0-9]* triton_repo/models/frame_quality/[0-9]*
