# SPDX-License-Identifier: Apache-2.0
"""
The self-test: what a recipe sees, from good images alone.

"""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
import re
from typing import Any
from xml.etree import ElementTree

from click.testing import CliRunner
import cv2
import numpy as np
from numpy.typing import NDArray
import pytest

from anomaly_inspection.cli import main
from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.charts import share_map
from anomaly_inspection.evaluation.figures import Estimate
from anomaly_inspection.evaluation.self_test import self_test
from anomaly_inspection.evaluation.self_test_report import write_self_test
from anomaly_inspection.evaluation.self_test_result import SelfTest, shares_text, to_json
from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
from anomaly_inspection.learning.defect_kinds import KINDS
from anomaly_inspection.learning.synthetic_defects import FRINGE_PX
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import write_recipe
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.recipes.recipe import Recipe

CANNOT_FIND = 'this recipe cannot find defects'


def plate(seed: int, noise: float = 10.0) -> NDArray[np.uint8]:
    """
    A plate with two bores on a dark ground; no two are alike only for the camera's noise.

    """
    image = np.full((112, 112), 30, np.uint8)
    cv2.rectangle(image, (12, 16), (99, 95), 140, -1)
    for centre in ((35, 40), (75, 70)):
        cv2.circle(image, centre, 9, 60, -1, cv2.LINE_AA)
    noisy = image + np.random.default_rng(seed).normal(0.0, noise, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


NEW = [(f'new {seed}', plate(seed)) for seed in range(100, 106)]


def taught_on(count: int) -> Recipe:
    return teach(
        [plate(seed) for seed in range(count)],
        name='plate',
        options=TeachOptions(
            scorers=['variation'],
            preprocessing=PreprocessingSettings(alignment=AlignmentSettings('none')),
        ),
    )


@pytest.fixture(scope='module')
def recipe() -> Recipe:
    return taught_on(16)


@pytest.fixture(scope='module')
def result(recipe: Recipe) -> SelfTest:
    return self_test(recipe, NEW, sizes_px=(4, 16), contrasts=(8, 60), defects_each=3, seed=3)


def test_large_and_strong_defects_are_seen_and_small_weak_ones_are_not(result: SelfTest) -> None:
    strong, weak = result.seen(16, 60), result.seen(4, 8)
    assert strong is not None
    assert weak is not None
    assert strong.value > 0.9
    assert weak.value < 0.3
    assert weak.low <= weak.value <= weak.high < strong.low


def test_every_kind_is_tried_on_every_image(result: SelfTest) -> None:
    assert {defect.kind for defect in result.defects} == set(result.kinds)
    assert {defect.image for defect in result.defects} == {name for name, _ in NEW}
    on_surface = [one for one in result.defects if not KINDS[one.kind].is_structural]
    # A part may have no piece of some size and contrast; a surface defect can always be drawn.
    assert len(on_surface) == sum(not kind.is_structural for kind in KINDS.values()) * 2 * 2 * 3
    whole = result.seen_in_all()
    assert whole is not None
    assert whole.value == pytest.approx(np.mean([one.is_seen for one in result.defects]))


def test_the_kinds_are_summed_up_with_the_least_seen_first(result: SelfTest) -> None:
    words = result.kinds_in_words()
    found = re.findall(r'([a-z ]+?) (\d+) %', words)
    assert sorted(kind.strip() for kind, _ in found) == sorted(result.kinds)
    assert [int(share) for _, share in found] == sorted(int(share) for _, share in found)
    seen = result.seen_in_all('stain')
    assert seen is not None
    assert f'stain {100 * seen.value:.0f} %' in words


def test_the_verdict_counts_and_the_score_says_the_same(result: SelfTest) -> None:
    assert all(defect.is_seen == (defect.judgement.anomaly_score > 1) for defect in result.defects)


def test_a_defect_is_drawn_again_as_it_was_judged(recipe: Recipe, result: SelfTest) -> None:
    defect = result.defects[-1]
    image, mask = result.damaged(defect)
    good = result.images[defect.image].frame
    assert (image != good).any()
    part = result.images[defect.image].mask_of_part
    assert mask[part].any()
    outwards = cv2.distanceTransform((~part).astype(np.uint8), cv2.DIST_L2, 3)
    assert not (image != good)[outwards > max(FRINGE_PX, defect.size_px / 2)].any()
    assert mask.any()
    score = recipe.frame_scorer().score(image)[0]
    limits = recipe.scorers['variation'].limits
    worst = max(
        (score.measures[name] - limit.typical) / (limit.limit - limit.typical)
        for name, limit in limits.items()
    )
    assert worst == pytest.approx(defect.judgement.anomaly_score)


def test_the_same_seed_gives_the_same_result(recipe: Recipe, result: SelfTest) -> None:
    again = self_test(recipe, NEW, sizes_px=(16, 4), contrasts=(60, 8), defects_each=3, seed=3)
    assert again.defects == result.defects


def test_words_say_from_which_size_on(result: SelfTest) -> None:
    first, second = result.in_words()
    assert re.fullmatch(r'at 8 levels: sees 16 px, the largest size tried, only in .*', first)
    assert re.fullmatch(r'at 60 levels: sees (4|16) px in \d+ % \(\d+\.\.\d+\).*', second)
    assert shares_text(Estimate(0.97, 0.9, 0.994)) == '97 % (90..99)'


def test_new_images_need_no_note(result: SelfTest) -> None:
    assert result.notes == ()


def test_taught_images_are_left_out_where_all_are_known(recipe: Recipe) -> None:
    taught = [(f'taught {seed}', plate(seed)) for seed in range(16)]
    mixed = self_test(recipe, taught + NEW, sizes_px=(16,), contrasts=(60,), defects_each=1)
    assert set(mixed.images) <= {name for name, _ in NEW}
    assert mixed.notes == ('16 images that the recipe was taught on are left out',)


def test_only_taught_images_are_used_but_said(recipe: Recipe) -> None:
    taught = [(f'taught {seed}', plate(seed)) for seed in range(16)]
    only = self_test(recipe, taught, sizes_px=(16,), contrasts=(60,), defects_each=1)
    assert len(only.defects) == len(only.kinds)
    assert 'the shares seen may be too high' in only.notes[0]


def test_images_stay_where_nobody_can_tell_which_were_taught() -> None:
    recipe = taught_on(30)
    taught = [(f'taught {seed}', plate(seed)) for seed in range(30)]
    mixed = self_test(recipe, taught + NEW, sizes_px=(16,), contrasts=(60,), defects_each=1)
    assert len(mixed.images) + len(mixed.rejected) == 36
    assert f'{len(recipe.references)} of the {len(recipe.references)} good parts' in mixed.notes[0]


def test_images_that_are_rejected_as_they_are_get_no_defects(recipe: Recipe) -> None:
    strange = plate(7, noise=60.0)
    tested = self_test(
        recipe, [*NEW, ('strange', strange)], sizes_px=(16,), contrasts=(60,), defects_each=1
    )
    assert list(tested.rejected) == ['strange']
    assert 'strange' not in tested.images
    assert 'the recipe rejects 1 of 7 good images as they are' in tested.notes[0]
    assert tested.faults() == []


def test_a_recipe_that_rejects_most_good_parts_is_not_praised(recipe: Recipe) -> None:
    strange = [(f'strange {seed}', plate(seed, noise=60.0)) for seed in range(39)]
    mixed = self_test(recipe, [*strange, NEW[0]], sizes_px=(16,), contrasts=(60,), defects_each=1)
    assert mixed.seen_in_all() is not None
    (fault,) = mixed.faults()
    assert fault.startswith('39 of 40 good parts rejected: teach again')
    none_passes = self_test(recipe, strange)
    assert none_passes.defects == ()
    assert none_passes.in_words() == []
    assert none_passes.faults()[0].startswith('39 of 39 good parts rejected')


def test_a_recipe_that_sees_no_defect_is_faulty(recipe: Recipe) -> None:
    far = {(limit.scorer, limit.measure): limit.maximum / 2 for limit in limit_table(recipe)}
    blind = self_test(
        recipe.with_limits(far), NEW, sizes_px=(16,), contrasts=(60,), defects_each=1
    )
    (fault,) = blind.faults()
    assert fault == f'0 of {len(blind.defects)} synthetic defects rejected: {CANNOT_FIND}'


@pytest.mark.parametrize('combination', ['any', 'all'])
def test_a_limit_at_the_end_of_its_range_is_said_to_reject_nothing(combination: str) -> None:
    taught = teach(
        [plate(seed) for seed in range(8)],
        name='plate',
        options=TeachOptions(
            scorers=['ssim', 'variation'],
            preprocessing=PreprocessingSettings(alignment=AlignmentSettings('none')),
        ),
    ).with_limits({('ssim', 'lowest_ssim'): -1.0})
    recipe = replace(taught, combination=combination)
    tested = self_test(recipe, NEW, sizes_px=(16,), contrasts=(60,), defects_each=1)
    # With `all`, every limit must be exceeded, so this one keeps the others from rejecting.
    said = tested.faults() if combination == 'all' else tested.notes
    assert any('ssim.lowest_ssim >= -1' in text for text in said)
    assert any('can never reject a part' in text for text in said)
    if combination == 'any':
        assert tested.faults() == []


def test_images_of_another_size_are_refused_with_both_sizes(recipe: Recipe) -> None:
    small = [(name, image[:100, :96]) for name, image in NEW]
    with pytest.raises(
        SettingError, match=r'frame is 96 x 100 px, the recipe wants 112 x 112 px \(all 6 images\)'
    ):
        self_test(recipe, small)


def test_a_test_that_is_cut_short_gives_what_a_whole_one_would(
    recipe: Recipe, result: SelfTest
) -> None:
    asked = iter(range(1000))
    cut = self_test(
        recipe,
        NEW,
        sizes_px=(4, 16),
        contrasts=(8, 60),
        defects_each=3,
        seed=3,
        is_time_up=lambda: next(asked) >= 20,
    )
    # A few cells cannot be drawn.
    assert 12 < len(cut.defects) <= 20
    assert set(cut.defects) < set(result.defects)
    # Within a turn, each cell comes once.
    cells = {(one.kind, one.size_px, one.contrast_levels) for one in cut.defects}
    assert len(cells) == len(cut.defects)
    assert cut.notes == ('the time was up after 20 of 156 defects',)


def test_what_the_part_is_too_small_for_is_left_blank(recipe: Recipe) -> None:
    tested = self_test(recipe, NEW, sizes_px=(8, 90), contrasts=(60,), defects_each=1)
    assert tested.seen(90, 60) is None
    assert tested.seen(8, 60) is not None
    entry = json.loads(to_json(tested))['cells'][1]
    assert entry == {
        'kind': 'all',
        'size_px': 90,
        'contrast_levels': 60,
        'defects': 0,
        'seen': None,
        'interval': None,
    }


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'sizes_px': (2,)}, 'size of a defect is 2; allowed: 3 to as large as the part'),
        ({'sizes_px': ()}, 'no size of a defect is given'),
        ({'contrasts': (8, 500)}, 'contrast of a defect is 500; allowed: 6 to 120'),
        ({'contrasts': (float('nan'),)}, 'contrast of a defect is nan; allowed'),
        ({'defects_each': 0}, 'defects_each is 0; allowed: 1 to 1000'),
        ({'images': []}, 'there are no good images'),
    ],
)
def test_bad_input_is_refused(recipe: Recipe, change: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        self_test(recipe, **{'images': NEW} | change)


def test_the_page_shows_maps_and_examples(result: SelfTest, tmp_path: Path) -> None:
    page = write_self_test(result, tmp_path / 'page').read_text()
    assert page.count('<svg') == 1 + len(result.kinds)
    for source in re.findall(r'src="([^"]+)"', page):
        assert cv2.imread(str(tmp_path / 'page' / source)) is not None
    assert 'src="images/example_missed_1.png"' in page
    assert 'src="images/example_seen_1.png"' in page
    assert 'http://' not in page.replace('xmlns="http://www.w3.org/2000/svg"', '')
    ElementTree.parse(tmp_path / 'page' / 'seen.svg')
    occupied = tmp_path / 'file'
    occupied.write_text('')
    with pytest.raises(SettingError, match='cannot be written'):
        write_self_test(result, occupied)


def test_the_map_is_blue_where_all_is_seen_and_empty_where_nothing_was_tried() -> None:
    drawn = share_map('a < b', ['4', '8'], ['60'], [[(1.0, 0.9, 1.0), None]], ('px', 'levels'))
    assert '#2f6fab' in drawn
    assert drawn.count('100 %') == 1
    assert 'a &lt; b' in drawn
    ElementTree.fromstring(drawn)


def test_the_command_prints_a_table_and_writes_files(recipe: Recipe, tmp_path: Path) -> None:
    write_recipe(recipe, tmp_path / 'plate')
    (tmp_path / 'good').mkdir()
    for name, image in NEW:
        cv2.imwrite(str(tmp_path / 'good' / f'{name}.png'), image)
    options = ['--sizes', '4,16', '--contrasts', '8,60', '--defects-each', '2']
    given = ['self-test', str(tmp_path / 'plate'), str(tmp_path / 'good'), *options]
    files = ['--json', str(tmp_path / 'x.json'), '--html', str(tmp_path / 'page')]
    done = CliRunner().invoke(main, [*given, *files])
    assert done.exit_code == 0, done.output
    assert 'levels' in done.output
    assert 'rejected' not in done.output
    assert 'at 60 levels: sees' in done.output
    figures = json.loads((tmp_path / 'x.json').read_text())
    assert len(figures['cells']) == (1 + len(KINDS)) * 4
    assert 'by kind, all sizes and contrasts: ' in done.output
    assert all(kind in figures['kinds_in_words'] for kind in KINDS)
    assert figures['recipe']['name'] == 'plate'
    assert (tmp_path / 'page' / 'index.html').is_file()


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--sizes', '4,x'], "'4,x' is not a list of numbers"),
        (['--sizes', '1'], 'size of a defect is 1; allowed: 3 to'),
        (['--sizes', ''], 'is not a list of numbers'),
        (['--json', '/no/such/folder/x.json'], 'there is no folder /no/such/folder'),
    ],
)
def test_the_command_refuses_bad_options(
    recipe: Recipe, tmp_path: Path, options: list[str], words: str
) -> None:
    write_recipe(recipe, tmp_path / 'plate')
    (tmp_path / 'good').mkdir()
    cv2.imwrite(str(tmp_path / 'good' / 'a.png'), NEW[0][1])
    small = [] if '--sizes' in options else ['--sizes', '16']
    given = [str(tmp_path / 'plate'), str(tmp_path / 'good'), '--defects-each', '1', *small]
    done = CliRunner().invoke(main, ['self-test', *given, *options])
    assert done.exit_code == 2
    assert words in ' '.join(done.output.split())


def test_the_command_ends_with_1_when_the_recipe_rejects_good_parts(
    recipe: Recipe, tmp_path: Path
) -> None:
    write_recipe(recipe, tmp_path / 'plate')
    (tmp_path / 'good').mkdir()
    for seed in range(12):
        cv2.imwrite(str(tmp_path / 'good' / f'{seed}.png'), plate(seed, noise=60.0))
    given = ['self-test', str(tmp_path / 'plate'), str(tmp_path / 'good')]
    done = CliRunner().invoke(main, [*given, '--html', str(tmp_path / 'page')])
    assert done.exit_code == 1
    assert done.output.lstrip().startswith('12 of 12 good parts rejected: teach again')
    assert '12 of 12 good parts rejected' in (tmp_path / 'page' / 'index.html').read_text()
