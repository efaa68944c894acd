# SPDX-License-Identifier: Apache-2.0
"""
What the library says of recipes that it only looks at, also of broken and hostile ones.

"""

from dataclasses import replace
import math

import pytest

from anomaly_inspection.panel.cell.state import CellPicture
from anomaly_inspection.panel.cell.views import RecipeView
from anomaly_inspection.panel.recipes.library import RecipeLibrary, summary_of
from anomaly_inspection.panel.teach.teacher_state import TeacherView

TEXT = """\
version: {version}
product: 'Pump 40'
created: '2026-11-29T09:28:17Z'
provenance: {{taught_by: anna, image_count: 30}}
frame: {{width: 640, height: 480}}
scorers: {{ssim: {{}}, variation: {{}}}}
"""


def make(folder, version=1, text=TEXT):
    folder.mkdir()
    (folder / 'recipe.yaml').write_text(text.format(version=version))


def test_a_recipe_has_its_older_versions_newest_first(tmp_path):
    for version, name in ((11, 'pump'), (2, 'pump.v2'), (10, 'pump.v10'), (1, 'valve')):
        make(tmp_path / name, version)
    (tmp_path / 'pump.v3').symlink_to(tmp_path / 'valve')
    for name in ('pump.v0', 'pump.vx', 'pump.v2.v4'):
        make(tmp_path / name)
    pump, valve = RecipeLibrary(tmp_path).entries()
    assert (pump.name, valve.name) == ('pump', 'valve')
    assert [older.version for older in pump.older] == [10, 2]
    summary = pump.summary
    assert (summary.version, summary.product, summary.taught_by) == (11, 'Pump 40', 'anna')
    assert (summary.image_count, summary.width_px, summary.height_px) == (30, 640, 480)
    assert summary.scorers == ('ssim', 'variation')


def test_without_a_recipe_in_force_the_library_is_the_one_of_the_teacher(tmp_path):
    nothing = CellPicture()
    assert not RecipeLibrary.of(nothing).is_known
    assert RecipeLibrary.of(nothing).entries() == []
    taught = replace(nothing, teacher=TeacherView(library=str(tmp_path / 'taught')))
    assert RecipeLibrary.of(taught).is_known
    assert RecipeLibrary.of(taught).folder == tmp_path / 'taught'
    in_force = replace(taught, recipe=RecipeView('pump', 1, str(tmp_path / 'other' / 'pump')))
    assert RecipeLibrary.of(in_force).folder == tmp_path / 'other'


@pytest.mark.parametrize(
    'text', ['[', 'a: &x 1\nb: *x', '!!python/object:os.system x', 'x' * 2_000_000]
)
def test_a_file_that_is_no_recipe_has_a_problem(tmp_path, text):
    (tmp_path / 'pump').mkdir()
    (tmp_path / 'pump' / 'recipe.yaml').write_text(text)
    assert 'recipe.yaml: ' in summary_of(tmp_path / 'pump').problem


def test_values_of_the_wrong_kind_are_not_known(tmp_path):
    make(tmp_path / 'pump', text='version: x\ncreated: 5\nproduct: [1]\nframe: 3\nscorers: 1\n')
    summary = summary_of(tmp_path / 'pump')
    assert (summary.version, summary.product, summary.scorers) == (0, '', ())
    assert math.isnan(summary.created_s)


def test_a_changed_file_is_read_again(tmp_path):
    make(tmp_path / 'pump', 1)
    assert summary_of(tmp_path / 'pump').version == 1
    other = tmp_path / 'other'
    other.write_text(TEXT.format(version=2))
    other.rename(tmp_path / 'pump' / 'recipe.yaml')
    assert summary_of(tmp_path / 'pump').version == 2
