# SPDX-License-Identifier: Apache-2.0
"""
A good recipe on disk, to read and to spoil.

"""

from __future__ import annotations

from pathlib import Path
import shutil

import pytest

from anomaly_inspection.recipes.folder import write_recipe
from anomaly_inspection.recipes.recipe import Recipe
from support.handmade_recipe import CREATED, made_recipe


@pytest.fixture(scope='module')
def recipe() -> Recipe:
    return made_recipe()


@pytest.fixture(scope='module')
def written(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('recipes') / 'pump'
    write_recipe(recipe, path, CREATED)
    return path


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / 'pump'))
