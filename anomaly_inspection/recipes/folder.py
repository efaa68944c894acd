# SPDX-License-Identifier: Apache-2.0
"""
Recipes on disk: `layout` says what a folder holds.

"""

from anomaly_inspection.recipes.budget import DEFAULT_BUDGET_BYTES, DEFAULT_BUDGET_MB
from anomaly_inspection.recipes.reading import read_recipe
from anomaly_inspection.recipes.writing import check_place, write_recipe

__all__ = [
    'DEFAULT_BUDGET_BYTES',
    'DEFAULT_BUDGET_MB',
    'check_place',
    'read_recipe',
    'write_recipe',
]
