# SPDX-License-Identifier: Apache-2.0
"""
Recipes: what is written comes back, whatever is broken is refused by name, and nobody sees half of
one.

"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
import hashlib
import itertools
import os
from pathlib import Path
import re
import shutil
import threading
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import yaml

from anomaly_inspection.errors import LimitError, RecipeError, SettingError
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.recipes import writing
from anomaly_inspection.recipes.carried_ranges import with_ranges_of
from anomaly_inspection.recipes.folder import check_place, read_recipe, write_recipe
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.recipes.recipe import (
    MeasureLimit,
    measures_of,
    Provenance,
    Recipe,
    ScorerRecipe,
)
from anomaly_inspection.scoring.frame_scorer import ScoreStatus
from anomaly_inspection.scoring.registry import scorer_class
from anomaly_inspection.scoring.registry import SCORERS as SCORERS_BY_NAME
from anomaly_inspection.scoring.variation import VariationScorer
from support.handmade_recipe import HEIGHT, made_recipe, part_frame, SCORERS, WIDTH


def content(path: Path) -> str:
    """
    Give a fingerprint of all files below a folder.

    """
    digest = hashlib.sha256()
    for file in sorted(path.rglob('*')):
        if file.is_file():
            digest.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return digest.hexdigest()


def test_what_is_written_comes_back(recipe: Recipe, written: Path) -> None:
    read = read_recipe(written)
    for name in ('name', 'product', 'provenance', 'frame_format', 'preprocessing', 'combination'):
        assert getattr(read, name) == getattr(recipe, name), name
    assert (read.version, read.created) == (1, '2031-12-24T18:00:00Z')
    assert read.path == written.resolve()
    assert [frame.tobytes() for frame in read.references] == [
        frame.tobytes() for frame in recipe.references
    ]
    assert tuple(read.scorers) == SCORERS
    for name, part in recipe.scorers.items():
        back = read.scorers[name]
        assert (back.settings, back.region, back.limits) == (
            part.settings,
            part.region,
            part.limits,
        )
        for kept, original in ((back.arrays, part.arrays), (back.good, part.good)):
            assert kept.keys() == original.keys()
            for key, array in original.items():
                assert kept[key].dtype == array.dtype
                np.testing.assert_array_equal(kept[key], array)


def test_a_recipe_scores_the_same_after_reading(recipe: Recipe, written: Path) -> None:
    frame = part_frame(99)
    cv2.line(frame, (20, 20), (30, 34), 250, 2)
    before, after = (one.frame_scorer().score(frame) for one in (recipe, read_recipe(written)))
    assert [score.measures for score in before] == [score.measures for score in after]
    assert all(score.status == ScoreStatus.OK for score in after)


def test_the_yaml_is_for_people(written: Path) -> None:
    text = (written / 'recipe.yaml').read_text()
    assert text.startswith('# A recipe of anomaly_inspection')
    for spec in measures_of('ssim'):
        assert f'# {spec.description}\n      {spec.name}: {{limit: ' in text
    assert 'Größe' in text
    assert max(map(len, text.splitlines())) < 160


def test_the_hash_is_that_of_the_contents_alone(written: Path, copy: Path) -> None:
    original = read_recipe(written).hash
    assert re.fullmatch('[0-9a-f]{64}', original)
    assert read_recipe(copy).hash == original
    text = (copy / 'recipe.yaml').read_text()
    (copy / 'recipe.yaml').write_text(text + '# a comment\n')
    changed = read_recipe(copy).hash
    assert changed != original
    (copy / 'recipe.yaml').write_text(text)
    os.rename(copy / 'references' / '002.png', copy / 'references' / '2.png')
    (copy / 'recipe.yaml').write_text(text.replace('002.png', '2.png'))
    assert read_recipe(copy).hash not in (original, changed)


def test_colour_references_come_back(tmp_path: Path) -> None:
    recipe = made_recipe()
    frames = tuple(np.dstack([frame, 255 - frame, frame // 2]) for frame in recipe.references)
    coloured = Recipe(
        **{
            **vars(recipe),
            'frame_format': FrameFormat(WIDTH, HEIGHT, 'bgr8'),
            'references': frames,
        }
    )
    read = write_recipe(coloured, tmp_path / 'colour')
    assert [frame.tobytes() for frame in read.references] == [frame.tobytes() for frame in frames]


Change = Callable[[dict[str, Any]], Any]


def at(path: str, value: Any) -> Change:
    """
    Set one value of the YAML.

    """

    def change(mapping: dict[str, Any]) -> None:
        *above, last = path.split('.')
        for key in above:
            mapping = mapping[key]
        mapping[last] = value

    return change


def without(path: str) -> Change:
    """
    Remove one key of the YAML.

    """

    def change(mapping: dict[str, Any]) -> None:
        *above, last = path.split('.')
        for key in above:
            mapping = mapping[key]
        del mapping[last]

    return change


NAN, INF = float('nan'), float('inf')
MEAN_SSIM = 'scorers.ssim.measures.mean_ssim'

KEYS = (
    *('format_version', 'name', 'version', 'product', 'created', 'provenance', 'frame'),
    *('preprocessing', 'preprocessing_fingerprint', 'combination', 'scorers', 'references'),
    # Recipes of older versions say nothing of a choice or of the images.
    *(
        f'provenance.{key}'
        for key in vars(Provenance())
        if key not in ('choice', 'images', 'independent_count')
    ),
    *('frame.width', 'frame.height', 'frame.encoding', 'frame.saturated_share'),
    *(
        f'preprocessing.{key}'
        for key in ('region_of_interest', 'colour', 'light', 'filters', 'alignment')
    ),
    *(f'scorers.variation.{key}' for key in ('settings', 'region', 'measures')),
    'scorers.variation.settings.floor_levels',
    *('scorers.ssim.region.limit', 'scorers.ssim.region.min_area_px'),
    *(f'scorers.{name}.measures.{spec.name}' for name in SCORERS for spec in measures_of(name)),
    *(f'{MEAN_SSIM}.{key}' for key in ('limit', 'typical', 'unit', 'bad_side')),
)

WRONG = (
    ('format_version', 2, '1'),
    ('format_version', True, '1'),
    ('name', 'Pump', 'lower-case letters'),
    ('name', '../pump', 'lower-case letters'),
    ('name', '', 'lower-case letters'),
    ('name', 7, 'lower-case letters'),
    ('version', 0, '1 to'),
    ('version', 2**32, '1 to'),
    ('version', 1.5, 'whole number'),
    ('version', '1', 'whole number'),
    ('product', ['pump'], 'text'),
    ('product', 'two\nlines', 'one line'),
    ('created', '24.12.2031', 'UTC'),
    ('created', '2031-13-24T18:00:00Z', 'UTC'),
    ('created', datetime(2031, 12, 24), 'UTC'),
    ('provenance', 'early shift', 'a mapping'),
    ('provenance.image_count', 0, '1 to'),
    ('provenance.image_count', 6.0, 'whole number'),
    ('provenance.false_reject_rate', 0.7, '0 to 0.5'),
    ('provenance.promised_rate', NAN, 'finite'),
    ('provenance.left_out', 'image 7', 'list of texts'),
    ('provenance.left_out', [7], 'list of texts'),
    ('frame.width', 8, '16 to'),
    ('frame.width', '64', 'whole number'),
    ('frame.height', 10**6, '16 to'),
    ('frame.encoding', 'rgb8', 'mono8'),
    ('frame.saturated_share', 0.3, '0.5 to 1'),
    ('preprocessing', None, 'a mapping'),
    ('preprocessing.colour', 'bgr', 'changed after teaching'),
    ('preprocessing.colour', 'pink', 'gray'),
    ('preprocessing.filters', [{'kind': 'fog'}], 'gauss'),
    ('preprocessing.alignment.search_px', -1, '0 to'),
    ('preprocessing_fingerprint', '0' * 64, 'changed after teaching'),
    ('preprocessing_fingerprint', 'abc', '64 hex digits'),
    ('combination', 'most', 'any'),
    ('scorers', {}, 'is empty'),
    ('scorers', [], 'a mapping'),
    ('scorers.ssim.settings', {'window_px': 7}, 'known'),
    ('scorers.variation.settings', {'floor_levels': 'much'}, 'floor_levels'),
    ('scorers.ssim.region.limit', INF, 'finite'),
    ('scorers.ssim.region.limit', '0.5', 'a finite number'),
    ('scorers.ssim.region.min_area_px', 0, '1 to'),
    (f'{MEAN_SSIM}.limit', NAN, 'finite'),
    (f'{MEAN_SSIM}.limit', None, 'finite'),
    (f'{MEAN_SSIM}.limit', True, 'finite'),
    (f'{MEAN_SSIM}.limit', -1.5, 'from -1.0'),
    (f'{MEAN_SSIM}.limit', 0.95, 'up to, not including, 0.9'),
    (f'{MEAN_SSIM}.limit', 0.9, 'up to, not including, 0.9'),
    (f'{MEAN_SSIM}.typical', 2.0, 'from -1.0 to 1.0'),
    ('scorers.variation.measures.peak_z.limit', 1e308, 'up to 1000.0'),
    ('scorers.ssim.region.limit', 1e308, '-1e+09 to 1e+09'),
    (f'{MEAN_SSIM}.unit', 'px', "'1'"),
    (f'{MEAN_SSIM}.bad_side', 'high', "'low'"),
    ('scorers.variation.measures.peak_z.limit', 1.0, 'above 2'),
    ('references', [], '1 to 20'),
    ('references', ['000.png'] * 21, '1 to 20'),
    ('references', '000.png', 'list of texts'),
    ('references', ['000.png', '777.png'], 'missing'),
    ('references', ['../../secret.png'], 'missing'),
)

UNKNOWN = (
    *('colour', 'provenance.shift', 'frame.step', 'preprocessing.sharpen'),
    *('preprocessing.alignment.speed', 'scorers.magic', 'scorers.ssim.model'),
    *('scorers.ssim.region.max_area_px', 'scorers.ssim.measures.beauty', f'{MEAN_SSIM}.weight'),
)


def refusal(copy: Path, change: Change) -> str:
    """
    Change the YAML of a good recipe and give what reading it says.

    """
    file = copy / 'recipe.yaml'
    mapping = yaml.safe_load(file.read_text())
    change(mapping)
    file.write_text(yaml.safe_dump(mapping, sort_keys=False))
    with pytest.raises(RecipeError) as caught:
        read_recipe(copy)
    assert str(copy.resolve()) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('key', KEYS)
def test_a_missing_key_is_refused_by_name(copy: Path, key: str) -> None:
    message = refusal(copy, without(key))
    assert f'{key} is missing' in message
    assert 'recipe.yaml' in message


@pytest.mark.parametrize(('key', 'value', 'allowed'), WRONG)
def test_a_wrong_value_is_refused_with_what_is_allowed(
    copy: Path, key: str, value: Any, allowed: str
) -> None:
    message = refusal(copy, at(key, value))
    assert any(name in message for name in (key, key.split('.')[0]))
    assert allowed in message


@pytest.mark.parametrize('key', UNKNOWN)
def test_an_unknown_key_is_refused_by_name(copy: Path, key: str) -> None:
    assert key.rsplit('.', 1)[-1] in refusal(copy, at(key, 1))


def test_a_scorer_left_out_of_the_yaml_leaves_arrays_over(copy: Path) -> None:
    assert 'belongs to no scorer' in refusal(copy, without('scorers.variation'))


@pytest.mark.parametrize(
    'text',
    [
        '',
        'just text',
        '- a list',
        'name: [unclosed',
        'name: !!python/object/apply:os.system ["true"]',
        'created: 2031-99-99T00:00:00Z',
        '1: 2',
        'a: &a [1]\nb: *a',
        '[' * 1000,
    ],
)
def test_yaml_that_is_no_recipe_is_refused(copy: Path, text: str) -> None:
    (copy / 'recipe.yaml').write_text(text)
    with pytest.raises(RecipeError, match=r'recipe\.yaml'):
        read_recipe(copy)


def test_a_key_that_stands_twice_is_refused(copy: Path) -> None:
    text = (copy / 'recipe.yaml').read_text()
    (copy / 'recipe.yaml').write_text(text + 'combination: all\n')
    with pytest.raises(RecipeError, match="'combination' stands there twice"):
        read_recipe(copy)


@pytest.mark.parametrize('file', ['recipe.yaml', 'statistics.npz', 'references/001.png'])
@pytest.mark.parametrize('damage', ['remove', 'empty', 'truncate', 'garbage'])
def test_a_damaged_file_is_refused_by_name(copy: Path, file: str, damage: str) -> None:
    path = copy / file
    whole = path.read_bytes()
    if damage == 'remove':
        path.unlink()
    else:
        part = {'empty': b'', 'truncate': whole[: len(whole) // 2], 'garbage': b'\xff\x00' * 99}
        path.write_bytes(part[damage])
    with pytest.raises(RecipeError, match=re.escape(file)):
        read_recipe(copy)


@pytest.mark.parametrize(
    ('frame', 'says'),
    [
        (np.full((HEIGHT, WIDTH + 1), 99, np.uint8), 'frame is 65 x 48 px'),
        (np.full((HEIGHT, WIDTH, 3), 99, np.uint8), 'frame'),
        (np.full((HEIGHT, WIDTH), 99, np.uint16), 'its pixels have 16 bits'),
        (np.zeros((HEIGHT, WIDTH), np.uint8), 'frame'),
    ],
)
def test_a_reference_of_another_kind_is_refused(copy: Path, frame: np.ndarray, says: str) -> None:
    cv2.imwrite(str(copy / 'references' / '001.png'), frame)
    with pytest.raises(RecipeError, match=re.escape(f'references/001.png: {says}')):
        read_recipe(copy)


def edited(arrays: dict[str, np.ndarray], key: str, array: np.ndarray | None) -> None:
    if array is None:
        del arrays[key]
    else:
        arrays[key] = array


@pytest.mark.parametrize(
    ('key', 'array'),
    [
        ('variation/mean', None),
        ('variation/mean', np.zeros((HEIGHT, WIDTH), np.float64)),
        ('variation/mean', np.zeros((3, 4), np.float32)),
        ('variation/mean', np.full((HEIGHT, WIDTH), NAN, np.float32)),
        ('variation/deviation', -np.ones((HEIGHT, WIDTH), np.float32)),
        ('good/ssim.mean_ssim', None),
        ('good/ssim.mean_ssim', np.zeros((2, 2))),
        ('good/ssim.mean_ssim', np.zeros(0)),
        ('good/ssim.mean_ssim', np.array([0.5, INF])),
        ('good/ssim.mean_ssim', np.array(['0.5'])),
        ('good/ssim.mean_ssim', np.array([None, 0.5])),
        ('magic/array', np.zeros(3)),
    ],
)
def test_a_broken_array_is_refused(copy: Path, key: str, array: np.ndarray | None) -> None:
    path = copy / 'statistics.npz'
    with np.load(path) as archive:
        arrays = dict(archive)
    edited(arrays, key, array)
    np.savez(path, **arrays)
    with pytest.raises(RecipeError, match=re.escape('statistics.npz')):
        read_recipe(copy)


def test_statistics_of_another_size_are_refused(copy: Path) -> None:
    path = copy / 'statistics.npz'
    with np.load(path) as archive:
        arrays = dict(archive)
    for key in ('mean', 'deviation', 'judged'):
        arrays[f'variation/{key}'] = arrays[f'variation/{key}'][:20, :30]
    np.savez(path, **arrays)
    with pytest.raises(RecipeError, match='variation cannot judge'):
        read_recipe(copy)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match='nowhere'):
        read_recipe(tmp_path / 'nowhere')
    (tmp_path / 'file').write_text('')
    with pytest.raises(RecipeError, match='file'):
        read_recipe(tmp_path / 'file')


def test_limits_change_together_or_not_at_all(recipe: Recipe) -> None:
    changed = recipe.with_limits({('ssim', 'mean_ssim'): 0.7, ('variation', 'peak_z'): 12})
    assert changed.scorers['ssim'].limits['mean_ssim'] == MeasureLimit(0.7, 0.9)
    assert changed.scorers['variation'].limits['peak_z'] == MeasureLimit(12.0, 2.0)
    assert recipe.scorers['ssim'].limits['mean_ssim'].limit == 0.4
    with pytest.raises(LimitError):
        recipe.with_limits({('ssim', 'mean_ssim'): 0.7, ('variation', 'peak_z'): NAN})


KEY = ('variation', 'peak_z')


def test_a_range_stays_with_its_limit(recipe: Recipe, tmp_path: Path) -> None:
    # Limit 40 of a typical part with 2.
    narrowed = recipe.with_ranges({KEY: (30.0, 50.0), ('ssim', 'mean_ssim'): (None, 0.6)})
    written = write_recipe(narrowed, tmp_path / 'pump')
    assert written.scorers['variation'].limits['peak_z'] == MeasureLimit(40.0, 2.0, 30.0, 50.0)
    assert written.scorers['ssim'].limits['mean_ssim'] == MeasureLimit(0.4, 0.9, None, 0.6)
    limit = next(one for one in limit_table(written) if (one.scorer, one.measure) == KEY)
    assert (limit.least, limit.most, limit.is_narrowed) == (30.0, 50.0, True)
    moved = write_recipe(written.with_limits({KEY: 50.0}), tmp_path / 'pump')
    assert moved.scorers['variation'].limits['peak_z'] == MeasureLimit(50.0, 2.0, 30.0, 50.0)
    for value in (29.9, 50.1):
        with pytest.raises(LimitError, match=r'allowed: 30\.0 to 50\.0, the range that an eng'):
            moved.with_limits({KEY: value})
    wide = write_recipe(moved.with_ranges({KEY: (None, None)}), tmp_path / 'pump')
    assert wide.scorers['variation'].limits['peak_z'] == MeasureLimit(50.0, 2.0)


@pytest.mark.parametrize('ends', [(41.0, None), (None, 39.0), (50.0, 30.0), (NAN, None)])
def test_a_range_must_hold_the_limit(recipe: Recipe, ends: tuple[float, float]) -> None:
    with pytest.raises(LimitError, match=r'peak_z: range .* refused, allowed: .* 40\.0'):
        recipe.with_ranges({KEY: ends})
    with pytest.raises(LimitError, match=r'no measure ssim\.x; there are: ssim\.mean_ssim'):
        recipe.with_ranges({('ssim', 'x'): (None, None)})


def test_a_recipe_taught_anew_keeps_the_ranges_and_says_which_it_could_not(recipe: Recipe) -> None:
    mean = ('ssim', 'mean_ssim')
    older = recipe.with_ranges({KEY: (30.0, 50.0), mean: (0.3, 0.6)})
    kept, notes = with_ranges_of(older, recipe.with_limits({KEY: 35.0}))
    assert kept.scorers['variation'].limits['peak_z'] == MeasureLimit(35.0, 2.0, 30.0, 50.0)
    assert kept.scorers['ssim'].limits['mean_ssim'] == MeasureLimit(0.4, 0.9, 0.3, 0.6)
    assert notes == ()

    wider, notes = with_ranges_of(older, recipe.with_limits({KEY: 60.0, mean: 0.2}))
    assert wider.scorers['variation'].limits['peak_z'] == MeasureLimit(60.0, 2.0, 30.0, 60.0)
    assert wider.scorers['ssim'].limits['mean_ssim'] == MeasureLimit(0.2, 0.9, 0.2, 0.6)
    assert 'the range of variation.peak_z, 30 to 50, is now 30 to 60: the new limit' in notes[1]
    assert 'ssim.mean_ssim, 0.3 to 0.6, is now 0.2 to 0.6' in notes[0]

    only_ssim = replace(recipe, scorers={'ssim': recipe.scorers['ssim']})
    fewer, notes = with_ranges_of(older, only_ssim)
    assert fewer.scorers['ssim'].limits['mean_ssim'] == MeasureLimit(0.4, 0.9, 0.3, 0.6)
    assert notes == (
        'the range of variation.peak_z, 30 to 50, is dropped: the new recipe has no such limit',
    )
    assert with_ranges_of(None, recipe) == (recipe, ())
    assert with_ranges_of(recipe, recipe) == (recipe, ())


@pytest.mark.parametrize('more', ['lowest: 41', 'highest: 39', 'lowest: x', 'highest: .nan'])
def test_a_bad_range_in_the_file_is_refused(copy: Path, more: str) -> None:
    text = (copy / 'recipe.yaml').read_text()
    changed = text.replace('peak_z: {limit: 40.0,', f'peak_z: {{{more}, limit: 40.0,')
    assert changed != text
    (copy / 'recipe.yaml').write_text(changed)
    with pytest.raises(RecipeError, match='peak_z'):
        read_recipe(copy)


def test_changed_limits_are_no_longer_what_is_on_disk(written: Path) -> None:
    changed = read_recipe(written).with_limits({('ssim', 'mean_ssim'): 0.7})
    assert (changed.path, changed.hash) == (None, '')


@pytest.mark.parametrize(
    ('where', 'value', 'says'),
    [
        (('ssim', 'mean_ssim'), 0.95, 'up to, not including, 0.9'),
        (('ssim', 'mean_ssim'), 0.9, 'up to, not including, 0.9'),
        (('ssim', 'mean_ssim'), -1.1, 'from -1.0'),
        (('variation', 'peak_z'), 1e308, 'up to 1000.0'),
        (('variation', 'largest_region'), 1e308, 'up to 160000000'),
        (('ssim', 'mean_ssim'), NAN, 'nan'),
        (('variation', 'peak_z'), 1.9, 'above 2'),
        (('variation', 'peak_z'), INF, 'inf'),
        (('variation', 'beauty'), 1.0, 'variation.peak_z'),
        (('magic', 'peak_z'), 1.0, 'variation.peak_z'),
    ],
)
def test_a_bad_limit_is_refused(
    recipe: Recipe, where: tuple[str, str], value: float, says: str
) -> None:
    with pytest.raises(LimitError, match=re.escape(says)):
        recipe.with_limits({where: value})


def test_a_frame_scorer_of_some_scorers(recipe: Recipe) -> None:
    assert recipe.frame_scorer(['variation']).scorer_names == ('variation',)
    with pytest.raises(SettingError, match='ssim, variation'):
        recipe.frame_scorer(['magic'])


def test_versions_count_up_and_the_old_one_is_kept(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / 'cell' / 'pump'
    first = write_recipe(recipe, path)
    second = write_recipe(first.with_limits({('ssim', 'mean_ssim'): 0.7}), path)
    third = write_recipe(second, path)
    assert [one.version for one in (first, second, third)] == [1, 2, 3]
    assert read_recipe(path).hash == third.hash
    assert read_recipe(path.with_name('pump.v1')).hash == first.hash
    assert read_recipe(path.with_name('pump.v2')).scorers['ssim'].limits['mean_ssim'].limit == 0.7
    assert sorted(file.name for file in path.parent.iterdir()) == ['pump', 'pump.v1', 'pump.v2']


def test_a_recipe_that_would_not_read_is_not_written(recipe: Recipe, copy: Path) -> None:
    before = content(copy.parent)
    with pytest.raises(RecipeError, match='lower-case'):
        write_recipe(Recipe(**{**vars(recipe), 'name': 'Pump Body'}), copy)
    assert content(copy.parent) == before
    with pytest.raises(RecipeError, match='name'):
        write_recipe(Recipe(**{**vars(recipe), 'name': 'Pump Body'}), copy.with_name('new'))
    assert sorted(file.name for file in copy.parent.iterdir()) == ['pump']


def test_a_folder_that_is_no_recipe_is_not_written_over(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'holiday.png').write_bytes(b'sea')
    with pytest.raises(RecipeError, match='photos'):
        write_recipe(recipe, tmp_path / 'photos')
    assert (tmp_path / 'photos' / 'holiday.png').read_bytes() == b'sea'


def test_a_kept_version_is_never_written_over(recipe: Recipe, copy: Path) -> None:
    copy.with_name('pump.v1').mkdir()
    with pytest.raises(RecipeError, match='already exists'):
        write_recipe(recipe, copy)
    assert read_recipe(copy).version == 1


def test_a_place_that_cannot_be_written_says_so(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(RecipeError, match='cannot write'):
        write_recipe(recipe, tmp_path / 'file' / 'pump')


def test_a_place_is_checked_before_the_work(copy: Path, tmp_path: Path) -> None:
    place = check_place(copy)
    assert place is not None
    assert place.version == 1
    assert check_place(tmp_path / 'new' / 'pump') is None
    assert sorted(file.name for file in tmp_path.iterdir()) == ['pump']
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'file').write_text('')
    for bad in (tmp_path / 'photos', tmp_path / 'file', tmp_path / 'file' / 'pump', '/proc/x/y'):
        with pytest.raises(RecipeError):
            check_place(bad)
    copy.with_name('pump.v1').symlink_to('nowhere')
    with pytest.raises(RecipeError, match='already exists'):
        check_place(copy)


def test_texts_that_are_no_text_are_written_all_the_same(recipe: Recipe, tmp_path: Path) -> None:
    provenance = replace(
        recipe.provenance, source='folder\udcff', left_out=('two\nlines.png: black',)
    )
    written = write_recipe(replace(recipe, provenance=provenance), tmp_path / 'new')
    assert written.provenance.source == 'folder\ufffd'
    assert written.provenance.left_out == (r'two\nlines.png: black',)


@pytest.mark.parametrize('exchanges', [True, False])
def test_a_failure_at_any_step_leaves_the_old_or_the_new(
    recipe: Recipe, copy: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    """
    Let the n-th call to the operating system fail, for every n, until the writing gets through.

    """
    if not exchanges:
        monkeypatch.setattr(writing, '_exchange', lambda one, other: False)
    changed = recipe.with_limits({('ssim', 'mean_ssim'): 0.7})
    old = content(copy)
    for failures in range(100):
        error = failure_at_call(failures, lambda: write_recipe(changed, copy), monkeypatch)
        if error is None:
            break
        assert 'No space left' in str(error)
        assert not list(copy.parent.glob('.pump.*')), 'a draft was left behind'
        if content(copy) != old:
            # Only the last step, the sync of the parent folder, comes after the exchange.
            assert read_recipe(copy).version == 2
            assert content(copy.with_name('pump.v1')) == old
            shutil.rmtree(copy)
            os.rename(copy.with_name('pump.v1'), copy)
        assert [file.name for file in copy.parent.iterdir()] == ['pump']
    assert failures >= 8
    assert read_recipe(copy).version == 2
    assert content(copy.with_name('pump.v1')) == old


def failure_at_call(
    index: int, action: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> RecipeError | None:
    """
    Let one call of fsync or rename fail, counted from 0, and give what came of it.

    """
    calls = itertools.count()

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if next(calls) == index:
                raise OSError(28, 'No space left on device')
            return original(*arguments)

        return call

    with monkeypatch.context() as patch:
        for name in ('fsync', 'rename'):
            patch.setattr(os, name, wrapped(getattr(os, name)))
        try:
            action()
        except RecipeError as error:
            return error
    return None


def test_a_reader_never_sees_half_of_a_recipe(recipe: Recipe, copy: Path) -> None:
    """
    Each version has its own product text and limit; a reader in another thread must find them in
    pairs.

    """
    seen: list[tuple[str, float]] = []
    problems: list[Exception] = []
    is_done = threading.Event()

    def read_on() -> None:
        while not is_done.is_set():
            try:
                read = read_recipe(copy)
            except RecipeError as error:
                problems.append(error)
            else:
                peaks = read.scorers['variation'].good['peak_z']
                seen.append((read.product, float(peaks[0])))

    if not writing._exchange(copy, Path(shutil.copytree(copy, copy.with_name('other')))):
        pytest.skip('this file system cannot exchange two folders in one step')
    shutil.rmtree(copy.with_name('other'))
    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        for version in range(2, 14):
            part = recipe.scorers['variation']
            good = {**part.good, 'peak_z': np.full(6, float(version))}
            scorers = {
                **recipe.scorers,
                'variation': ScorerRecipe(**{**vars(part), 'good': good}),
            }
            write_recipe(
                Recipe(**{**vars(recipe), 'product': str(version), 'scorers': scorers}), copy
            )
    finally:
        is_done.set()
        reader.join()
    assert not problems
    assert seen
    assert all(float(product) == peak for product, peak in seen if product != recipe.product)


def test_a_recipe_exchanged_while_it_is_read_does_not_mix_in(
    recipe: Recipe, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_recipe(copy).hash
    other = copy.with_name('other')
    write_recipe(Recipe(**{**vars(recipe), 'product': 'another'}), other)
    scan = os.scandir

    def scan_and_exchange(place: Any) -> Any:
        if other.exists():
            os.rename(copy, copy.with_name('away'))
            os.rename(other, copy)
        return scan(place)

    monkeypatch.setattr(os, 'scandir', scan_and_exchange)
    assert read_recipe(copy).hash == before
    monkeypatch.setattr(os, 'scandir', scan)
    assert not other.exists()
    assert read_recipe(copy).product == 'another'


def test_the_fallback_without_exchange_keeps_the_old_version(
    recipe: Recipe, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, '_exchange', lambda one, other: False)
    old = content(copy)
    assert write_recipe(recipe, copy).version == 2
    assert content(copy.with_name('pump.v1')) == old


# ------------------------------------------------------------------------------ files of a scorer


class VariationWithFiles(VariationScorer):
    """
    A scorer that keeps files beside its arrays, as one with a network does.

    """

    name: ClassVar[str] = 'variation'

    def to_arrays(self) -> dict[str, Any]:
        return {**super().to_arrays(), 'model.xml': b'', 'loss.by-epoch.svg': b''}


@pytest.fixture
def with_files(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setitem(SCORERS_BY_NAME, 'variation', VariationWithFiles)
    return with_arrays(recipe, {'model.xml': FILE, 'loss.by-epoch.svg': FILE[:3]})


FILE = np.frombuffer(b'<net/>\x00\xff\r\n', np.uint8)


def with_arrays(recipe: Recipe, arrays: dict[str, np.ndarray]) -> Recipe:
    part = recipe.scorers['variation']
    changed = replace(part, arrays=part.arrays | arrays)
    return replace(recipe, scorers={**recipe.scorers, 'variation': changed})


def test_arrays_with_a_dot_in_their_name_are_files(with_files: Recipe, tmp_path: Path) -> None:
    path = tmp_path / 'pump'
    read = write_recipe(with_files, path)
    files = {str(file.relative_to(path)) for file in path.rglob('*') if file.is_file()}
    assert {'model/variation/model.xml', 'model/variation/loss.by-epoch.svg'} <= files
    assert (path / 'model/variation/model.xml').read_bytes() == FILE.tobytes()
    with np.load(path / 'statistics.npz') as archive:
        assert not [key for key in archive.files if key.endswith(('.xml', '.svg'))]
    arrays = read.scorers['variation'].arrays
    np.testing.assert_array_equal(arrays['model.xml'], FILE, strict=True)
    np.testing.assert_array_equal(arrays['loss.by-epoch.svg'], FILE[:3], strict=True)
    (path / 'model/variation/model.xml').write_bytes(b'<net />')
    assert read_recipe(path).hash != read.hash


@pytest.mark.parametrize(
    'stranger',
    [
        'model/model.xml',
        'model/variation/deeper/model.xml',
        'model/variation/name_without_dot',
        'model/variation/white space.xml',
        'model/variation/unknown.bin',
        'model/ssim/model.xml',
        'model/retired_scorer/model.xml',
    ],
)
def test_a_stranger_among_the_files_of_a_scorer_is_refused(
    with_files: Recipe, tmp_path: Path, stranger: str
) -> None:
    path = tmp_path / 'pump'
    write_recipe(with_files, path)
    (path / stranger).parent.mkdir(parents=True, exist_ok=True)
    (path / stranger).write_bytes(b'x')
    with pytest.raises(RecipeError, match=re.escape(stranger.removesuffix('/model.xml'))):
        read_recipe(path)


def test_a_file_of_a_scorer_hidden_among_its_arrays_is_refused(
    with_files: Recipe, tmp_path: Path
) -> None:
    path = tmp_path / 'pump'
    write_recipe(with_files, path)
    with np.load(path / 'statistics.npz') as archive:
        arrays = dict(archive)
    np.savez(path / 'statistics.npz', **arrays, **{'variation/model.xml': FILE})
    with pytest.raises(RecipeError, match=r"'variation/model\.xml' belongs to no scorer"):
        read_recipe(path)


@pytest.mark.parametrize(
    ('key', 'array'),
    [
        ('../../escaped.xml', FILE),
        ('/tmp/escaped.xml', FILE),
        ('..', FILE),
        ('.hidden', FILE),
        ('model.', FILE),
        ('under/model.xml', FILE),
        ('model.xml', FILE.astype(np.int16)),
        ('model.xml', FILE.reshape(2, 5)),
    ],
)
def test_what_cannot_be_a_file_of_a_scorer_is_not_written(
    with_files: Recipe, tmp_path: Path, key: str, array: np.ndarray
) -> None:
    with pytest.raises(RecipeError, match=re.escape(f"'variation/{key}'")):
        write_recipe(with_arrays(with_files, {key: array}), tmp_path / 'recipes' / 'pump')
    assert list(tmp_path.rglob('*.*')) == []


def test_array_names_are_those_of_the_arrays(recipe: Recipe) -> None:
    """
    What a scorer does not name here is refused in a recipe.

    """
    for name, part in recipe.scorers.items():
        assert set(scorer_class(name).array_names) == set(part.arrays)


@pytest.mark.parametrize('name', SCORERS_BY_NAME)
def test_every_measure_has_a_finite_range_of_limits(name: str) -> None:
    for spec in measures_of(name):
        low, high = spec.limit_range
        assert -1e9 <= low < high <= 1e9


def test_the_home_folder_may_be_written_as_a_tilde(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recipe(recipe, tmp_path / 'pump')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert read_recipe('~/pump').path == tmp_path / 'pump'
