# SPDX-License-Identifier: Apache-2.0
"""
The `anomaly-inspection` command, one file a subcommand.

"""

from anomaly_inspection.cli.command import main

__all__ = ['main']
