# SPDX-License-Identifier: Apache-2.0
#
# Sourced. Chooses where ROS comes from and says in one sentence what is missing. Sets
#   ros_origin      'wheels', or the distribution that is sourced ('jazzy', 'kilted')
#   base_python     the Python that .venv is made from, python_version its '3.x.y'

stop() {
  echo "anomaly_inspection: $*" >&2
  exit 1
}

# Prints 'version path' of a usable Python; else fails and prints what it lacks.
probe_python() {
  "$1" - 2> /dev/null << 'PROBE'
import os, sys, sysconfig
version = '.'.join(map(str, sys.version_info[:3]))
try:
    import ensurepip, venv
except ImportError:
    sys.exit(print(f'Python {version} lacks venv (on Debian and Ubuntu: apt install python3-venv)') or 3)
if not sys.version_info[:2] in ((3, 11), (3, 12)):
    sys.exit(print(f'Python {version} is neither 3.11 nor 3.12') or 3)
if not os.path.exists(os.path.join(sysconfig.get_paths()['include'], 'Python.h')):
    sys.exit(print(f'Python {version} lacks its C headers (on Debian and Ubuntu: apt install python3-dev)') or 3)
print(version, os.path.realpath(sys.executable))
PROBE
}

choose_python() {
  local candidate answer first_lack=
  for candidate in python3 python3.12 python3.11 /usr/bin/python3; do
    command -v "$candidate" > /dev/null || continue
    if answer=$(probe_python "$candidate"); then
      read -r python_version base_python <<< "$answer"
      return
    fi
    : "${first_lack:=${answer:-}}"
  done
  stop "Python 3.11 or 3.12 with venv and C headers is needed: ${first_lack:-no python3 was found}."
}

if [[ -n ${ROS_DISTRO:-} ]]; then
  [[ $ROS_DISTRO == jazzy || $ROS_DISTRO == kilted ]] \
    || stop "ROS 2 Jazzy and Kilted are supported, $ROS_DISTRO is sourced; a shell without ROS uses Kilted wheels."
  lack=$(python3 -c 'import rclpy' 2>&1) \
    || stop "ROS_DISTRO is $ROS_DISTRO, but python3 cannot import rclpy; source its setup.bash. (${lack##*$'\n'})"
  lack=$(python3 -c 'import click, cv2, numpy, rich, scipy, sklearn, yaml' 2>&1) \
    || stop "packages are missing; run: rosdep install --from-paths . --ignore-src -y (${lack##*$'\n'})"
  command -v colcon > /dev/null || stop 'colcon is missing; run: apt install python3-colcon-common-extensions'
  ros_origin=$ROS_DISTRO
  base_python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
  python_version=$("$base_python" -c 'import platform; print(platform.python_version())')
else
  [[ $(uname -sm) == 'Linux x86_64' ]] \
    || stop "ROS wheels exist for x86-64 Linux only, this is $(uname -sm); source ROS 2 Jazzy or Kilted first."
  ros_origin=wheels
  choose_python
fi
[[ -n $(command -v c++ || command -v g++ || command -v clang++) ]] \
  || stop 'a C++ compiler is needed to build the messages (on Debian and Ubuntu: apt install g++).'
