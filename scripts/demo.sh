#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make run` shows: good parts, a recipe taught from them, then the cell on parts it has not seen.
# Settings come as variables: SOURCE (a data set in MVTec layout; empty: the simulated line), ROI, PARTS, RATE, SEED.
set -euo pipefail

source=${SOURCE:-}
if [[ -z $source ]]; then
  name=line
  parts=${PARTS:-200} seed=${SEED:-1}
  good=out/images/$name/train/good
  # Those of an earlier run, perhaps of another seed.
  rm -rf "out/images/$name"
  # Taught with other parts than those that are inspected.
  anomaly-inspection simulate "out/images/$name" --train-parts 80 --parts 20 --seed "$((seed + 1000))"
  inspect=(--source "line:parts=$parts,seed=$seed" --fail-on-escape)
else
  name=$(basename "$source")
  good=$source/train/good
  for folder in "$good" "$source/test"; do
    [[ -d $folder ]] || { echo "SOURCE=$source: there is no folder $folder (MVTec layout)" >&2; exit 2; }
  done
  inspect=(--source "$source/test")
fi

anomaly-inspection teach "$good" --recipe "out/recipes/$name" ${ROI:+--roi "$ROI"}
echo
echo "The cell runs in ROS_DOMAIN_ID=$ROS_DOMAIN_ID, on this machine only; report in out/reports/$name."
anomaly-inspection run --recipe "out/recipes/$name" "${inspect[@]}" --rate "${RATE:-5}" --report "out/reports/$name"
