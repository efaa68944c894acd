#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail

.venv/bin/python -m ruff check --quiet .
.venv/bin/python -m ruff format --quiet --check .
if [[ -z ${ROS_DISTRO:-} ]]; then
  .venv/bin/python -m mypy
else
  # NumPy and OpenCV type themselves differently from version to version.
  echo 'types: not checked; make lint checks them against the pinned libraries, in a shell without ROS'
fi
