# SPDX-License-Identifier: Apache-2.0
"""
`anomaly-inspection validate` with known plates: report, signature, comparison, exit status.

"""

from __future__ import annotations

import json
from pathlib import Path
import shutil
from typing import Any

from click.testing import CliRunner, Result
import cv2
import pytest

from anomaly_inspection.cli import main
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import write_recipe
from support.drawn_plate import plate, write_plates


def validate(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ['validate', '--defects-each', '0', *map(str, arguments)])


def words(result: Result) -> str:
    return ' '.join(result.output.split())


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A folder with a recipe, known parts, a key, and the report of a first validation.

    """
    folder = tmp_path_factory.mktemp('site')
    frames = [plate(seed) for seed in range(12)]
    options = TeachOptions(scorers=['variation'])
    write_recipe(teach(frames, name='plate', options=options), folder / 'plate')
    write_plates(folder / 'known' / 'good', 4, first_seed=100)
    (folder / 'known' / 'hole').mkdir()
    for number in range(3):
        image = plate(200 + number)
        cv2.circle(image, (50, 60), 8, 20, -1)
        cv2.imwrite(str(folder / 'known' / 'hole' / f'{number}.png'), image)
    (folder / 'site.key').write_text('0123456789abcdef' * 4)
    result = validate(
        *(folder / 'plate', '--known', folder / 'known', '--key', folder / 'site.key'),
        *('--json', folder / 'first.json'),
    )
    assert result.exit_code == 0, result.output
    assert '0 of 3 known bad parts passed: below 63.2 % with 95 % confidence' in words(result)
    return folder


def test_the_report_says_what_was_tried_with_what_and_what_came_of_it(site: Path) -> None:
    report = json.loads((site / 'first.json').read_text())
    content = report['content']
    assert content['known_parts']['false_rejects']['of'] == 4
    assert content['self_test'] is None
    assert content['time']['frames'] == 7
    assert content['gate'] is None
    assert 'numpy' in content['installation']['packages']
    assert 'references/000.png' in content['recipe']['files']
    page = (site / 'first.html').read_text()
    assert report['sha256'] in page
    assert report['signature']['value'] in page


def test_a_report_that_was_changed_or_signed_by_others_does_not_pass_the_check(
    site: Path, tmp_path: Path
) -> None:
    right = validate('--check', site / 'first.json', '--key', site / 'site.key')
    assert right.exit_code == 0
    assert 'was not changed, and it is signed with the key' in words(right)
    (tmp_path / 'other.key').write_text('x' * 40)
    wrong = validate('--check', site / 'first.json', '--key', tmp_path / 'other.key')
    assert wrong.exit_code == 2
    assert 'is not signed with this key' in words(wrong)
    text = (site / 'first.json').read_text()
    (tmp_path / 'forged.json').write_text(text.replace('"verdict": "REJECT"', '"verdict": "PASS"'))
    forged = validate('--check', tmp_path / 'forged.json')
    assert forged.exit_code == 2
    assert 'was changed' in words(forged)


def test_a_second_run_agrees_and_another_recipe_does_not(site: Path, tmp_path: Path) -> None:
    again = (
        *('--known', site / 'known', '--json', tmp_path / 'again.json'),
        *('--compare', site / 'first.json', '--key', site / 'site.key'),
    )
    same = validate(site / 'plate', *again)
    assert same.exit_code == 0, same.output
    assert 'it agrees with' in words(same)
    shutil.copytree(site / 'plate', tmp_path / 'plate')
    text = (tmp_path / 'plate' / 'recipe.yaml').read_text()
    (tmp_path / 'plate' / 'recipe.yaml').write_text(text.replace('product: ', 'product: other', 1))
    changed = validate(tmp_path / 'plate', *again)
    assert changed.exit_code == 1
    assert 'file of the recipe recipe.yaml was' in words(changed)
    assert 'Not the same as in first.json' in (tmp_path / 'again.html').read_text()


def test_a_bad_part_that_passes_is_a_fault(site: Path, tmp_path: Path) -> None:
    shutil.copytree(site / 'known' / 'good', tmp_path / 'known' / 'good')
    shutil.copytree(site / 'known' / 'good', tmp_path / 'known' / 'invisible')
    result = validate(
        site / 'plate', '--known', tmp_path / 'known', '--json', tmp_path / 'escape.json'
    )
    assert result.exit_code == 1
    assert '4 of 4 known bad parts passed' in words(result)
    assert 'the report is not signed' in words(result)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['{site}/plate'], 'needs RECIPE and --known'),
        (['{site}/plate', '--check', '{site}/first.json'], '--check checks a report alone'),
        (['{site}/plate', '--known', '{site}/gone'], 'there is no folder'),
        (['{site}/plate', '--known', '{site}/known', '--json', '/no/where.json'], 'no folder /no'),
        (['--check', '{site}/plate/recipe.yaml'], 'no report'),
    ],
)
def test_a_command_that_cannot_be_carried_out_says_why(site, tmp_path, arguments, said) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        result = validate(*(text.format(site=site) for text in arguments))
    assert result.exit_code == 2
    assert said in words(result)
    assert list(tmp_path.iterdir()) == []
