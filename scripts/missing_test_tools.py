# SPDX-License-Identifier: Apache-2.0
"""
Print the test tools and weights that this Python lacks, one pinned requirement a line.

For a sourced ROS: what the distribution has installed is used, in its version.

"""

from __future__ import annotations

from importlib.metadata import distribution, PackageNotFoundError
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / 'requirements'
REQUIREMENTS = (
    FOLDER / 'test.txt',
    FOLDER / 'pretrained.txt',
    FOLDER / 'panel.txt',
    FOLDER / 'mqtt.txt',
    FOLDER / 'opcua.txt',
    FOLDER / 'records.txt',
)
# It would bring its own NumPy, which must stay the distribution's; rosdep installs it.
NEVER_FROM_PIP = {'scikit-image'}


def is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def main() -> None:
    for path in REQUIREMENTS:
        for line in path.read_text(encoding='utf-8').splitlines():
            name = line.split('==')[0]
            if '==' in line and name not in NEVER_FROM_PIP and not is_installed(name):
                print(line)


if __name__ == '__main__':
    main()
