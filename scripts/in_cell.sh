#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# in_cell.sh COMMAND...: runs the command where ROS, the built package and the cell's own network settings are in force.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/choose_ros.sh
source scripts/enter_ros.sh
# colcon's scripts read variables that are not set.
set +u
source install/setup.bash
set -u

# A demo must never meet a neighbour's cell, nor another checkout's on this machine; tests use the ids below 81.
export ROS_AUTOMATIC_DISCOVERY_RANGE=${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}
export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-$((81 + $(cksum <<< "$PWD" | cut -d ' ' -f 1) % 20))}
# Jazzy's Fast DDS 2 knows the older name alone; Kilted's Fast DDS 3 warns of it.
profile_variable=FASTDDS_DEFAULT_PROFILES_FILE
[[ $ros_origin == jazzy ]] && profile_variable=FASTRTPS_DEFAULT_PROFILES_FILE
export "$profile_variable=${!profile_variable:-$PWD/config/fastdds_shared_memory.xml}"
export ROS_LOG_DIR=${ROS_LOG_DIR:-$PWD/log/ros}

exec "$@"
