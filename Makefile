# Each target does its own set-up; see scripts/setup.
.PHONY: help demo test unit lint bench docs clean

help:    ## this list
	@sed -n 's/^\([a-z]*\): .*## /\1\t/p' $(MAKEFILE_LIST)

demo:    ## a lab fleet without a GPU: deployed, verified, answering
	@scripts/setup
	@.venv/bin/hermeion demo

test:    ## all tests, those on lab hosts included; two labs stand at a time
	@scripts/setup
	@scripts/test

unit:    ## the tests that need no host: seconds
	@scripts/setup python
	@.venv/bin/python -m pytest tests/unit

lint:    ## ruff, mypy, generated documents
	@scripts/setup python
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/python -m hermeion.docs --check README.md

bench:   ## side-by-side measurements, printed as ratios; the lab of `make demo` has to stand; 20 minutes
	@scripts/setup
	@.venv/bin/python benchmarks/memory_accuracy.py
	@.venv/bin/python benchmarks/planner.py
	@.venv/bin/python benchmarks/no_op.py
	@.venv/bin/python benchmarks/weights.py

docs:    ## write the generated parts of README.md anew
	@scripts/setup python
	@.venv/bin/python -m hermeion.docs README.md

clean:   ## the lab, its caches, and the Python environment
	@[ ! -x .venv/bin/hermeion ] || .venv/bin/hermeion lab down --all
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache dist build
