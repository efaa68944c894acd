# SPDX-License-Identifier: Apache-2.0
#
# Sourced after choose_ros.sh. Sets `python`, the interpreter that sees ROS and all that the package imports.

if [[ $ros_origin == wheels ]]; then
  # Nothing that another workspace has left in this shell may mix with the wheels.
  unset PYTHONPATH PYTHONHOME LD_LIBRARY_PATH COLCON_PREFIX_PATH
  # The wheels set it beside LD_LIBRARY_PATH: a Python of this workspace may have started this shell.
  unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
  export AMENT_PREFIX_PATH=$PWD/.venv CMAKE_PREFIX_PATH=$PWD/.venv
  export PATH=$PWD/.venv/bin:$PATH
  python=$PWD/.venv/bin/python
else
  python=$base_python
fi
