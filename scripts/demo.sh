#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make run` shows: good parts, a recipe taught from them, then the cell on parts it has not seen.
# Settings come as variables: SOURCE (a data set in MVTec layout; empty: the simulated line), ROI, PARTS, RATE, SEED,
# TWIN (1: the firmware's twin is the gate, and its potentiometer moves a limit), ROBOT (1: a simulated belt with an arm that
# picks the good parts), PANEL (0: no page for the operator),
# PORT (of the page), ENDLESS (1: until Ctrl-C; images of SOURCE begin anew at their end).
set -euo pipefail

[[ ${TWIN:-0} == [01] ]] || { echo "TWIN=$TWIN is refused; allowed: 0 and 1" >&2; exit 2; }
[[ ${ROBOT:-0} == [01] ]] || { echo "ROBOT=$ROBOT is refused; allowed: 0 and 1" >&2; exit 2; }
[[ ${ROBOT:-0} == 0 || ${TWIN:-0} == 0 ]] || { echo 'ROBOT=1 with TWIN=1 is refused: a cell has an arm or a gate' >&2; exit 2; }
[[ ${ROBOT:-0} == 0 || -z ${SOURCE:-} ]] || { echo "ROBOT=1 with SOURCE=$SOURCE is refused: the arm picks from the simulated line" >&2; exit 2; }
[[ ${PANEL:-1} == [01] ]] || { echo "PANEL=$PANEL is refused; allowed: 0 and 1" >&2; exit 2; }
endless=${ENDLESS:-0}
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
  [[ $endless == 1 ]] && inspect=(--source "line:seed=$seed")
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
config=config/cell.yaml
if [[ $endless == 1 ]]; then
  config=out/endless_cell.yaml
  sed -e 's|# loop: true |loop: true   |' config/cell.yaml > "$config"
  inspect+=(--config "$config")
fi
if [[ ${TWIN:-0} == 1 ]]; then
  twin=$PWD/out/twin
  rm -rf "$twin"
  mkdir -p "$twin"
  mkfifo "$twin/commands"
  # Opened both ways: the twin ends with its standard input, and here that is at the end of this script.
  python -m firmware.twin.device_twin "$twin" <> "$twin/commands" > "$twin/log" 2>&1 &
  trap 'kill $! 2> /dev/null || true' EXIT
  until grep -q '^ready' "$twin/log"; do
    kill -0 $! 2> /dev/null || { cat "$twin/log" >&2; exit 1; }
    sleep 0.1
  done
  sed -e "s|gate: simulated .*|gate: serial|" \
      -e "s|# gate_port: .*|gate_port: $twin/usb|" \
      -e "s|# gate_timeout_s: .*|gate_timeout_s: 0.05|" \
      -e "s|dead_time_s: .*|dead_time_s: 0.05|" \
      -e "s|port: '' .*|port: $twin/bluetooth|" \
      -e "s|follow: false .*|follow: true\n    channels: ['34']\n    channel_34.measure: variation.peak_z|" \
      "$config" > "$twin/cell.yaml"
  inspect+=(--config "$twin/cell.yaml")
  echo "The firmware's twin moves the gate. Its potentiometer moves the limit of variation.peak_z, 0 = strict, 1 = lax:"
  echo "  echo 'knob 34 0.3' > out/twin/commands      (more commands: firmware/twin/README.md)"
fi
if [[ ${ROBOT:-0} == 1 ]]; then
  inspect+=(--robot)
  echo 'An arm picks the good parts from the belt. To look on: rqt_image_view /inspection/simulated_arm/view'
fi
echo "The cell runs in ROS_DOMAIN_ID=$ROS_DOMAIN_ID, on this machine only."
if [[ ${PANEL:-1} == 1 ]]; then
  inspect+=(--panel --wall-display)
  [[ -n ${PORT:-} ]] && inspect+=(--panel-port "$PORT")
fi
[[ $endless == 1 ]] && echo 'Ctrl-C ends the line.'
[[ $endless == 0 ]] && inspect+=(--report "out/reports/$name")
status=0
anomaly-inspection run --recipe "out/recipes/$name" "${inspect[@]}" --rate "${RATE:-5}" \
  || status=$?
echo
echo 'Next: the same with your own images or camera, in any shell:'
echo '  bin/anomaly-inspection teach FOLDER_OF_GOOD_IMAGES --recipe out/recipes/mine'
echo '  bin/anomaly-inspection run --recipe out/recipes/mine --source 0'
exit "$status"
