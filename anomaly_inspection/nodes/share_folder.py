# SPDX-License-Identifier: Apache-2.0
"""
Where the package keeps what is not code: launch files and configuration.

"""

from pathlib import Path

from ament_index_python.packages import get_package_share_path, PackageNotFoundError


def share_folder() -> Path:
    """
    Give the installed share folder; the source tree where the package is not installed.

    """
    try:
        return get_package_share_path('anomaly_inspection')
    except PackageNotFoundError:
        return Path(__file__).resolve().parents[2]
