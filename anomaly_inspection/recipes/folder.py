# SPDX-License-Identifier: Apache-2.0
"""
Recipes on disk: `layout` says what a folder holds.

"""

from anomaly_inspection.recipes.budget import DEFAULT_BUDGET_BYTES
from anomaly_inspection.recipes.reading import read_recipe
from anomaly_inspection.recipes.writing import write_recipe

__all__ = ['DEFAULT_BUDGET_BYTES', 'read_recipe', 'write_recipe']
