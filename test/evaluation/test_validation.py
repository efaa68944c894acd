# SPDX-License-Identifier: Apache-2.0
"""
A validation counts known parts as the cell judges them, and says what is not the same in two.

"""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest

from anomaly_inspection.errors import SourceError
from anomaly_inspection.evaluation.known_parts import judge_known_parts, KnownPart
from anomaly_inspection.evaluation.self_test import self_test
from anomaly_inspection.evaluation.signed_report import signed
from anomaly_inspection.evaluation.validation import (
    differences,
    faults_of,
    gate_content,
    installation_content,
    known_parts_content,
    recipe_content,
    self_test_content,
    time_content,
)
from anomaly_inspection.evaluation.validation_report import validation_page
from anomaly_inspection.recipes.folder import read_recipe

EVIL = '<script>alert(1)</script>'
SUMMARY = {
    'parts': 12,
    'lost': 0,
    'gate_not_followed': 0,
    'gate_not_confirmed': 0,
    'gate_causes': {},
    'latency_ms': {'p50': 20.0, 'p99': math.nan},
    'firing_error_ms': {'p50': 0.1, 'p99': 0.4},
}


def part(name: str, kind: str = 'good', verdict: str = 'PASS', **more: object) -> KnownPart:
    given = {'anomaly_score': 0.5, 'comparison': 'ssim 1 <= 2', 'time_s': 0.02, **more}
    return KnownPart(name, 'f' * 64, kind, verdict, 'WITHIN_LIMITS', **given)


def content(*parts: KnownPart, **changes: object) -> dict:
    recipe = {
        'name': 'pump',
        'product': EVIL,
        'version': 3,
        'created': '',
        'hash': 'a' * 64,
        'taught_by': EVIL,
        'image_count': 20,
        'promised_false_reject_rate': 0.1,
        'scorers': ['ssim'],
        'combination': 'any',
        'limits': {'ssim.mse': 3.0},
        'files': {'recipe.yaml': 'b' * 64},
    }
    return {
        'made': '2026-11-29',
        'known_folder': f'/{EVIL}',
        'recipe': recipe,
        'installation': installation_content(),
        'known_parts': known_parts_content(parts),
        'self_test': None,
        'time': time_content(each.time_s for each in parts),
        'gate': None,
        **changes,
    }


GOOD = [part(f'good/{n}.png') for n in range(59)]
BAD = [part(f'bad/{n}.png', 'bad', 'REJECT') for n in range(30)]


def test_upper_bounds_are_those_of_clopper_and_pearson():
    made = content(*GOOD, *BAD, part('bad/x.png', 'scratch'))['known_parts']
    assert made['false_rejects']['count'] == 0
    # 1 - 0.05 ** (1 / 59)
    assert made['false_rejects']['upper_bound'] == pytest.approx(1 - 0.05 ** (1 / 59))
    assert (made['escapes']['count'], made['escapes']['of']) == (1, 31)
    assert made['escapes_by_kind']['scratch']['upper_bound'] == 1.0
    assert made['escapes_by_kind']['bad']['count'] == 0


def test_faults_name_what_speaks_against_the_recipe():
    assert faults_of(content(*GOOD, *BAD)) == []
    assert faults_of(content(*GOOD, part('x/1.png', 'x'))) == ['1 of 1 known bad parts passed']
    assert faults_of(content(part('good/1.png', 'good', 'REJECT'), *BAD)) == [
        '1 of 1 known good parts rejected'
    ]
    assert faults_of(content(*GOOD)) == ['there are no known bad parts: nothing is shown of them']
    stopped = gate_content({**SUMMARY, 'lost': 2}, ['no gate'])
    assert faults_of(content(*GOOD, *BAD, gate=stopped)) == [
        '2 of 12 parts: lost',
        'the line was stopped: no gate',
    ]
    assert gate_content(SUMMARY, [])['exposure_to_decision_ms'] == {'p50': 20.0, 'p99': None}


def test_two_validations_of_the_same_agree_whatever_the_times_were():
    old = content(*GOOD, *BAD)
    new = content(*(part(each.name, time_s=9.0) for each in GOOD), *BAD, made='later')
    assert differences(old, new) == []


@pytest.mark.parametrize(
    ('path', 'value', 'words'),
    [
        (('recipe', 'hash'), 'c', "recipe: hash was 'aaaa"),
        (('recipe', 'files', 'recipe.yaml'), 'c', 'file of the recipe recipe.yaml was bbbb'),
        (('recipe', 'files', 'images/0.png'), 'c', 'file of the recipe images/0.png is new'),
        (('recipe', 'limits', 'ssim.mse'), 4.0, 'limit ssim.mse was 3.0 and is 4.0'),
        (('installation', 'packages', 'numpy'), '9.9', 'package numpy was'),
        (('installation', 'processor'), 'abacus', 'processor was'),
        (('known_parts', 'parts', 0, 'sha256'), 'c', 'known part good/0.png: another image'),
        (('known_parts', 'parts', 0, 'verdict'), 'REJECT', 'known part good/0.png: PASS before'),
        (('known_parts', 'parts', 0, 'anomaly_score'), 0.6, '1 known parts have the same verdict'),
        (('known_parts', 'parts', 0, 'name'), 'good/n.png', 'known part good/0.png is gone'),
        (('gate',), gate_content({**SUMMARY, 'lost': 1}, []), 'gate: not tried before, 1 of 12'),
    ],
)
def test_what_is_not_the_same_is_named(path, value, words):
    old = content(*GOOD, *BAD)
    new = copy.deepcopy(old)
    place = new
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    found = differences(old, new)
    assert any(words in sentence for sentence in found), found


def test_the_page_escapes_whatever_comes_from_outside():
    made = content(*GOOD, part(f'{EVIL}.png', EVIL, comparison=EVIL))
    page = validation_page(signed(made, b'k' * 32), [EVIL], EVIL)
    assert '<script' not in page
    assert '&lt;script&gt;' in page
    for heading in ('IQ: installation', 'OQ: known parts', 'OQ: gate', 'PQ: what to expect'):
        assert f'<h2>{heading}</h2>' in page
    assert 'Signed with the key' in page
    assert 'is not signed' in validation_page(signed(made, None), None, '')


def test_known_parts_are_judged_by_their_folders(taught_recipe: Path, tmp_path: Path):
    import cv2

    from anomaly_inspection.capture.open_source import open_source
    from support.small_recipe import SMALL_LINE

    recipe = read_recipe(taught_recipe)
    with open_source(f'{SMALL_LINE},defect_rate=0,parts=3,seed=77') as line:
        frames = [line.read().image for _ in range(3)]
    for folder in ('good', 'hole'):
        (tmp_path / folder).mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / 'good' / f'{number}.png'), frame)
        frame = frame.copy()
        frame[90:150, 130:190] = 255
        cv2.imwrite(str(tmp_path / 'hole' / f'{number}.png'), frame)
    (tmp_path / 'hole' / 'torn.png').write_bytes(b'\x89PNG')
    parts = judge_known_parts(recipe, tmp_path)
    assert [(each.name, each.kind, each.verdict) for each in parts] == [
        *((f'good/{n}.png', 'good', 'PASS') for n in range(3)),
        *((f'hole/{n}.png', 'hole', 'REJECT') for n in range(3)),
        ('hole/torn.png', 'hole', 'REJECT'),
    ]
    assert parts[-1].reason == 'FRAME_INVALID'
    assert time_content(each.time_s for each in parts)['frames'] == 6
    (tmp_path / 'loose.png').write_bytes((tmp_path / 'good' / '0.png').read_bytes())
    with pytest.raises(SourceError, match=r'nothing is known of .*loose\.png'):
        judge_known_parts(recipe, tmp_path)


def test_every_file_of_a_recipe_has_its_hash(taught_recipe: Path):
    import hashlib

    made = recipe_content(read_recipe(taught_recipe), taught_recipe)
    assert {'recipe.yaml', 'statistics.npz', 'references/000.png'} <= made['files'].keys()
    for name, digest in made['files'].items():
        assert hashlib.sha256((taught_recipe / name).read_bytes()).hexdigest() == digest


def test_the_self_test_counts_what_was_not_seen(taught_recipe: Path):
    from anomaly_inspection.capture.open_source import open_source
    from support.small_recipe import SMALL_LINE

    with open_source(f'{SMALL_LINE},defect_rate=0,parts=2,seed=77') as line:
        images = [(f'{number}.png', line.read().image) for number in range(2)]
    grid = {'sizes_px': [20.0], 'contrasts': [60.0], 'defects_each': 1}
    made = self_test_content(self_test(read_recipe(taught_recipe), images, **grid))
    rate = made['defects']
    assert 0 < rate['of'] <= 13
    cells = [cell for cell in made['cells'] if cell['kind'] == 'all']
    assert rate['count'] == round((1 - cells[0]['seen']) * cells[0]['defects'])
    old, new = content(*GOOD, *BAD, self_test=made), content(*GOOD, *BAD)
    assert differences(old, new) == ['the self-test was made in one of them alone']
    assert differences(old, copy.deepcopy(old)) == []
    changed = copy.deepcopy(old)
    changed['self_test']['cells'][0]['seen'] = 0.0
    assert differences(old, changed) == [
        f'self-test: 1 of {len(made["cells"])} cells are not the same'
    ]
    assert f'{rate["of"]} drawn defects' in validation_page(signed(old, None), None, '')
