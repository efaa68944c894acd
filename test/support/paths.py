# SPDX-License-Identifier: Apache-2.0
"""
Where the checkout and the real images lie.

"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATASETS = ROOT.parent / 'shared' / 'datasets'
