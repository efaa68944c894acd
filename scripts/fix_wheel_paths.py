# SPDX-License-Identifier: Apache-2.0
"""
Point the CMake files of the ROS wheels to this machine's headers.

The wheels export the include folders of the machine that built them, and CMake stops on folders
that do not exist. Run by the Python of the virtual environment that holds the wheels.

"""

from __future__ import annotations

from pathlib import Path
import re
import sys
import sysconfig

import numpy

BUILDER_NUMPY = re.compile(
    r'/opt/python/[^/;"]+/lib/python[^/;"]+/site-packages/numpy/_?core/include'
)
BUILDER_PYTHON = re.compile(r'/opt/python/[^/;"]+/include/python[0-9.]+')


def main() -> None:
    python_include = sysconfig.get_paths()['include']
    for path in Path(sys.prefix, 'share').rglob('*.cmake'):
        exported = path.read_text(encoding='utf-8')
        fixed = BUILDER_NUMPY.sub(lambda _: numpy.get_include(), exported)
        fixed = BUILDER_PYTHON.sub(lambda _: python_include, fixed)
        if fixed != exported:
            path.write_text(fixed, encoding='utf-8')


if __name__ == '__main__':
    main()
