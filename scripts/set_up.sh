#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Brings the checkout into a state in which the cell can run: Python, ROS 2 and the built package. What stands is kept:
# each step is skipped while the hash of all that it depends on is the one in its stamp.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/choose_ros.sh

mkdir -p log
# Two `make` at once would write into the same folders.
exec 9> log/set_up.lock
flock 9

hash_of() { sha256sum | cut -c1-64; }

# run_step TITLE HINT COMMAND...: quiet while all is well; the last lines and a hint where it is not.
run_step() {
  local title=$1 hint=$2 record
  shift 2
  record=log/set_up_${title%%:*}.log
  echo "${title} ..."
  if ! "$@" > "$record" 2>&1; then
    tail -n 25 "$record" >&2
    stop "${title%%:*} failed, all of it is in $record. $hint"
  fi
}

install_wheels() {
  { [[ -x .venv/bin/python ]] || "$base_python" -m venv .venv; } \
    && pip_install -r requirements/ros.txt -r requirements/runtime.txt -r requirements/train.txt \
      -r requirements/pretrained.txt -r requirements/panel.txt -r requirements/mqtt.txt -r requirements/opcua.txt \
      -r requirements/records.txt -r requirements/test.txt \
    && .venv/bin/python scripts/fix_wheel_paths.py
}

# Beside a sourced ROS, pip brings only test tools and weights that are missing; none of them needs NumPy or OpenCV, which
# stay ROS' own.
install_missing_test_tools() {
  local missing
  { [[ -x .venv/bin/python ]] || "$base_python" -m venv --system-site-packages .venv; } \
    && missing=$(.venv/bin/python scripts/missing_test_tools.py) || return
  # shellcheck disable=SC2086  # one requirement a word
  [[ -z $missing ]] || pip_install $missing
}

pip_install() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }

place="$PWD $ros_origin $base_python $python_version"
environment_hash=$( (echo "$place"; cat requirements/*.txt scripts/fix_wheel_paths.py) | hash_of)
if [[ $(cat .venv/stamp 2> /dev/null) != "$environment_hash" ]]; then
  # Pins that changed are installed over the old ones; another Python, place or ROS needs a fresh start.
  [[ $(cat .venv/place 2> /dev/null) == "$place" ]] || rm -rf .venv build install
  if [[ $ros_origin == wheels ]]; then
    run_step "environment: ROS 2 Kilted as wheels for Python $python_version into .venv, about two minutes" \
      'Are the package registries reachable?' install_wheels
  else
    run_step "environment: test tools that ROS 2 $ros_origin lacks into .venv" \
      'Are the package registries reachable?' install_missing_test_tools
  fi
  echo "$place" > .venv/place
  echo "$environment_hash" > .venv/stamp
fi

# Python edits act at once through --symlink-install; only added and removed files need another build.
build_hash=$( (echo "$environment_hash"; cat CMakeLists.txt package.xml executable.py.in src/* msg/*.msg srv/*.srv action/*.action;
  find anomaly_inspection launch config -type f -not -name '*.pyc' | LC_ALL=C sort) | hash_of)
if [[ $(cat build/stamp 2> /dev/null) != "$build_hash" || ! -f install/setup.bash ]]; then
  source scripts/enter_ros.sh
  run_step 'build: messages and package with colcon, about a minute' 'A clean start: make clean build.' \
    colcon --log-base log build --symlink-install \
    --cmake-args -DPython3_EXECUTABLE="$python" -DBUILD_TESTING=OFF
  echo "$build_hash" > build/stamp
fi
