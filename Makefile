# SPDX-License-Identifier: Apache-2.0
#
# Each target does all the set-up it needs: with ROS 2 Jazzy or Kilted sourced it uses that, otherwise it puts Kilted's
# wheels into .venv. Second runs reuse what stands.

# make run: a data set in MVTec layout (empty: the simulated line), region of interest x,y,w,h, parts and parts/s of the line.
SOURCE ?=
ROI ?=
PARTS ?= 200
# 1: a simulated belt and an arm that picks the good parts.
ROBOT ?=
# An arm picks about 110 parts a minute.
RATE ?= $(if $(filter 1,$(ROBOT)),3,5)
SEED ?= 1
# 1: the twin of the ESP32 firmware is the gate and moves a limit.
TWIN ?=
# make run, make demo: the operator's page; 0 leaves it out. Its port; empty: that of config/cell.yaml.
PANEL ?= 1
PORT ?=
# make test: processes that run tests side by side; each test has a ROS domain of its own.
WORKERS ?= 2
TESTS ?= test
# make accuracy: names of sets; empty: all. 1: go on with an interrupted run.
SETS ?=
RESUME ?=

MAKEFLAGS += --no-print-directory
export SOURCE ROI PARTS RATE SEED TWIN ROBOT PANEL PORT
# One thread a process: two workers on two cores would otherwise fight over them.
test: export OMP_NUM_THREADS = 1

.PHONY: help run demo test lint bench accuracy build clean

help:
	@echo 'make run    teach the simulated line, then inspect $(PARTS) parts (SOURCE=, ROI=, PARTS=, RATE=, SEED=, TWIN=1, ROBOT=1, PANEL=0, PORT=)'
	@echo 'make demo   the same until Ctrl-C, with the operator'"'"'s page'
	@echo 'make test   lint, types, then all tests (TESTS=test/test_x.py, WORKERS=)'
	@echo 'make lint   lint and types alone'
	@echo 'make bench  speed and accuracy, ours beside the baselines; results in out/benchmarks (20 minutes)'
	@echo 'make accuracy  the real sets in ../shared/datasets, dev third of the test images (40 minutes; SETS=, RESUME=1)'
	@echo 'make build  set up and build; then bin/anomaly-inspection works in any shell'
	@echo 'make clean  remove .venv, build, install, log and out'

build:
	@bash scripts/set_up.sh

run: build
	@bash scripts/in_cell.sh bash scripts/demo.sh

demo: build
	@ENDLESS=1 bash scripts/in_cell.sh bash scripts/demo.sh

lint: build
	@bash scripts/in_cell.sh bash scripts/lint.sh

test: lint
	@bash scripts/in_cell.sh .venv/bin/python -m pytest --numprocesses $(WORKERS) $(TESTS)

bench: build
	@bash scripts/in_cell.sh .venv/bin/python -m benchmarks.detection --through-the-cell 200
	@bash scripts/in_cell.sh .venv/bin/python -m benchmarks.alignment
	@bash scripts/in_cell.sh .venv/bin/python -m benchmarks.scoring
	@bash scripts/in_cell.sh .venv/bin/python -m benchmarks.latency
	@bash scripts/in_cell.sh .venv/bin/python -m benchmarks.knob_to_limit
	@bash scripts/in_cell.sh .venv/bin/python -m benchmarks.gate_timing

accuracy: build
	@bash scripts/in_cell.sh .venv/bin/python -m benchmarks.accuracy $(SETS) $(if $(RESUME),--resume)
	@bash scripts/in_cell.sh .venv/bin/python -m benchmarks.part_detection

clean:
	rm -rf .venv build install log out .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
