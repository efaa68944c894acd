# SPDX-License-Identifier: Apache-2.0
"""
The template scorer: finding the like of a frame in a bank, and what differs from it.

"""

from __future__ import annotations

from click.testing import CliRunner
import cv2
import numpy as np
import pytest

from anomaly_inspection.capture.source import Frame
from anomaly_inspection.cli import main
from anomaly_inspection.deciding.frame_judge import Reason, Verdict
from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.imaging.preprocessing import Prepared, PreprocessingSettings
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.scoring import template
from anomaly_inspection.scoring.measure import BadSide
from anomaly_inspection.scoring.template import TemplateScorer
from anomaly_inspection.scoring.template_matching import best_match

SIZE = (72, 96)
ROOM = 16


def clipped(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def scene(kind, channels=()):
    shape = (SIZE[0] + 2 * ROOM, SIZE[1] + 2 * ROOM, *channels)
    rng = np.random.default_rng(kind)
    return clipped(cv2.GaussianBlur(rng.normal(128, 300, shape), (0, 0), 3))


def part(kind, seed=0, shift=(0, 0), levels=2.0, channels=()):
    """
    Give a part of a kind, moved by (x, y) px.

    """
    rows = slice(ROOM - shift[1], ROOM - shift[1] + SIZE[0])
    columns = slice(ROOM - shift[0], ROOM - shift[0] + SIZE[1])
    image = scene(kind, channels)[rows, columns]
    noise = np.random.default_rng(1000 + seed).normal(0, levels, image.shape)
    return clipped(image + noise)


def prepared(image, valid=None, part_class=''):
    valid = np.ones(image.shape[:2], np.bool_) if valid is None else valid
    return Prepared(image, valid, np.eye(2, 3), None, part_class=part_class)


def bank(kinds=12, each=1, settings=None, channels=()):
    images = [
        prepared(part(kind, 50 * kind + seed, channels=channels))
        for seed in range(each)
        for kind in range(kinds)
    ]
    return TemplateScorer.fit(images, settings or {})


def marked(image, x=50, y=30):
    image = image.copy()
    image[y : y + 5, x : x + 5] = np.where(image[y : y + 5, x : x + 5] < 128, 255, 0)
    return image


@pytest.mark.parametrize('channels', [(), (3,)])
@pytest.mark.parametrize('each', [1, 4])
def test_finds_the_right_one_of_many(each, channels):
    scorer = bank(each=each, channels=channels)
    assert scorer.to_arrays()['counts'].tolist() == [each] * 12
    for kind in (0, 5, 11):
        output = scorer.score(prepared(part(kind, 999, channels=channels)))
        assert output.measures['best_ncc'] > 0.98
        assert output.measures['peak_difference'] < 2
        assert set(output.measures) == {measure.name for measure in TemplateScorer.measures}
        assert all(type(value) is float for value in output.measures.values())
        assert output.anomaly_map.shape == SIZE
        assert output.anomaly_map.dtype == np.float32


def test_takes_the_best_and_not_the_first_that_is_alike():
    # Nine tenths of the one are the other: both correlate, one does so better.
    like = part(0).astype(np.float32)
    other = part(1).astype(np.float32)
    variants = [clipped(like), clipped(0.85 * like + 0.15 * other)]
    for order in (variants, variants[::-1]):
        names = [f'variant of level {one.mean():.2f}' for one in order]
        scorer = TemplateScorer.fit(
            [prepared(one, part_class=name) for one, name in zip(order, names, strict=True)], {}
        )
        for one, name in zip(order, names, strict=True):
            output = scorer.score(prepared(one))
            assert output.part_class == name
            assert output.measures == {
                'best_ncc': pytest.approx(1, abs=1e-6),
                'peak_difference': 0.0,
            }


def test_variants_that_differ_in_fine_structure_alone_are_told_apart():
    rng = np.random.default_rng(0)
    variants = [clipped(part(0) + rng.normal(0, 25, SIZE)) for _ in range(5)]
    scorer = TemplateScorer.fit([prepared(one) for one in variants], {})
    assert scorer.to_arrays()['counts'].tolist() == [1] * 5
    for one in variants:
        frame = cv2.warpAffine(one, np.array([[1.0, 0, 1], [0, 1, 2]]), SIZE[::-1])
        assert scorer.score(prepared(frame)).measures['best_ncc'] > 0.99


def test_a_part_of_no_taught_class_is_nothing_like():
    scorer = bank(each=3)
    stranger = scorer.score(prepared(part(77))).measures
    assert stranger['best_ncc'] < 0.7
    assert stranger['peak_difference'] > 5
    flat = scorer.score(prepared(np.full(SIZE, 128, np.uint8))).measures
    assert flat['best_ncc'] < 0.1


@pytest.mark.parametrize('shift', [(0, 0), (2, -3)])
@pytest.mark.parametrize('each', [1, 6])
def test_a_defect_shows_where_it_is(each, shift):
    output = bank(each=each).score(prepared(marked(part(4, 99, shift))))
    assert output.measures['peak_difference'] > 8
    y, x = np.unravel_index(output.anomaly_map.argmax(), SIZE)
    assert 30 <= y < 35
    assert 50 <= x < 55
    elsewhere = output.anomaly_map.copy()
    elsewhere[24:41, 44:61] = 0
    assert elsewhere.max() < 2


@pytest.mark.parametrize('shift', [(3, 0), (0, -3), (-3, 3), (-2, -1)])
def test_a_shift_within_the_search_stays_quiet(shift):
    output = bank().score(prepared(part(2, 99, shift)))
    assert output.measures['best_ncc'] > 0.98
    assert output.measures['peak_difference'] < 2


def test_a_shift_beyond_the_search_does_not():
    far = prepared(part(2, 99, (10, 0)))
    assert bank().score(far).measures['best_ncc'] < 0.8
    assert bank().score(far).measures['peak_difference'] > 4
    # The search ends at an eighth of the smaller side.
    near = prepared(part(2, 99, (8, 0)))
    wide = bank(settings={'search_px': 20, 'candidates': 12}).score(near)
    assert wide.measures['best_ncc'] > 0.98


def test_what_the_shift_leaves_below_a_pixel_is_tolerated():
    move = np.array([[1, 0, 0.5], [0, 1, 0.5]])
    moved = cv2.warpAffine(part(2), move, SIZE[::-1], borderMode=cv2.BORDER_REFLECT)
    strict, tolerant = (
        bank(settings={'edge_px': edge}).score(prepared(moved)).measures['peak_difference']
        for edge in (0, 1)
    )
    assert strict > 2 * tolerant
    assert tolerant < 2


def test_a_single_part_may_bend_and_still_shows_a_defect():
    bent = np.hstack([part(2, 1)[:, :48], part(2, 1, (1, 1))[:, 48:]])
    stiff, loose = (bank(settings={'bend_px': bend_px, 'edge_px': 0}) for bend_px in (0, 1))
    peak = 'peak_difference'
    good = loose.score(prepared(bent)).measures[peak]
    assert stiff.score(prepared(bent)).measures[peak] > 2 * good
    assert loose.score(prepared(marked(bent))).measures[peak] > 2 * good


def test_parts_of_a_class_are_moved_onto_each_other():
    shifts = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    images = [part(0, seed, shift) for seed, shift in enumerate(shifts)]
    arrays = TemplateScorer.fit([prepared(image) for image in images], {}).to_arrays()
    assert arrays['counts'].tolist() == [9]
    assert np.median(arrays['deviations'] / 2) == pytest.approx(2.0, abs=0.6)


def test_the_same_difference_counts_less_where_the_parts_vary():
    images = [part(0, seed) for seed in range(20)]
    rng = np.random.default_rng(0)
    for image in images:
        image[:, 60:] = clipped(image[:, 60:] + rng.normal(0, 7, (SIZE[0], SIZE[1] - 60)))
    scorer = TemplateScorer.fit([prepared(image) for image in images], {})
    assert scorer.to_arrays()['counts'].tolist() == [20]
    anomaly_map = scorer.score(prepared(clipped(part(0, 99) + 20.0))).anomaly_map
    assert anomaly_map[4:-4, 4:56].mean() > 1.1 * anomaly_map[4:-4, 64:92].mean()


def test_a_class_has_the_name_it_is_given_and_as_many_templates_as_it_takes():
    names = {0: 'one', 1: 'two', 2: 'two', 3: 'three'}
    images = [
        prepared(part(kind, 9 * kind + seed), part_class=names[kind])
        for kind in names
        for seed in range(3)
    ]
    arrays = TemplateScorer.fit(images, {}).to_arrays()
    assert sorted(arrays['names'].tolist()) == ['one', 'three', 'two', 'two']
    scorer = TemplateScorer.fit(images, {})
    for kind, name in names.items():
        assert scorer.score(prepared(part(kind, 99))).part_class == name


def test_parts_that_are_alike_are_not_one_template_when_their_classes_differ():
    images = [prepared(part(0, seed), part_class='ab'[seed % 2]) for seed in range(6)]
    arrays = TemplateScorer.fit(images, {}).to_arrays()
    assert arrays['names'].tolist() == ['a', 'b']
    assert arrays['counts'].tolist() == [3, 3]


def test_classes_without_a_name_are_numbered_the_largest_first():
    images = [prepared(part(kind, seed)) for kind in range(3) for seed in range(2 + 2 * kind)]
    scorer = TemplateScorer.fit(images, {})
    assert [scorer.score(prepared(part(kind, 99))).part_class for kind in (2, 1, 0)] == [
        'class 1',
        'class 2',
        'class 3',
    ]


def test_every_class_has_its_own_limit():
    # Quiet parts differ by the camera's noise; loud ones have a spot somewhere.
    rng = np.random.default_rng(0)

    def spotted(image):
        y, x = rng.integers(10, 50), rng.integers(10, 80)
        image[y : y + 3, x : x + 3] = 255 if image[y, x] < 128 else 0
        return image

    quiet = [prepared(part(0, seed), part_class='quiet') for seed in range(20)]
    loud = [prepared(spotted(part(1, seed)), part_class='loud') for seed in range(20)]
    single = [prepared(part(2), part_class='single')]
    scorer = TemplateScorer.fit([*quiet, *loud, *single], {})
    arrays = scorer.to_arrays()
    typical = dict(zip(arrays['names'].tolist(), arrays['typical'].tolist(), strict=True))
    assert typical['quiet'] == 1
    assert typical['loud'] > typical['single'] > typical['quiet']
    peaks = {
        name: np.median(
            [
                scorer.score(prepared(spotted(part(kind, seed)))).measures['peak_difference']
                for seed in range(90, 100)
            ]
        )
        for kind, name in enumerate(('quiet', 'loud'))
    }
    assert peaks['quiet'] > 2 * peaks['loud']
    assert 0.3 < peaks['loud'] < 2


def test_a_class_of_few_parts_is_taken_to_be_like_the_others():
    found = template._typical(['a', 'b', 'c'], [[4.0] * 27, [1.5], []])
    common = np.log([4.0] * 27 + [1.5]).mean()
    assert found[0] == pytest.approx(np.exp((27 * np.log(4) + 3 * common) / 30))
    assert found[1] == pytest.approx(np.exp((np.log(1.5) + 3 * common) / 4))
    assert found[2] == pytest.approx(np.exp(common))
    assert template._typical(['a', 'b'], [[], []]) == [1, 1]
    assert template._typical(['a', 'b'], [[0.0], []]) == [1, 1]
    assert template._typical(['a', 'b'], [[1e9], []]) == [5, 5]


def turned(image, angle_deg):
    """
    Turn a part about its centre; the corners come from the scene.

    """
    centre = ((SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2)
    rotation = cv2.getRotationMatrix2D(centre, angle_deg, 1.0)
    return cv2.warpAffine(image, rotation, SIZE[::-1], borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize('angle_deg', [-2.7, 1.6, 5.0])
def test_a_turn_within_the_search_is_found(angle_deg):
    settings = {'search_deg': 6.0}
    frame = turned(part(3, 99, (1, -1)), angle_deg)
    stiff = bank(settings={'search_deg': 0.0}).score(prepared(frame))
    found = bank(settings=settings).score(prepared(frame))
    assert found.part_class == bank(settings=settings).score(prepared(part(3, 98))).part_class
    assert found.measures['best_ncc'] > 0.98 > stiff.measures['best_ncc']
    centre = np.s_[12:-12, 12:-12]
    assert found.anomaly_map[centre].max() < 2
    bad = bank(settings=settings).score(
        prepared(turned(marked(part(3, 99), x=10, y=9), angle_deg))
    )
    y, x = np.unravel_index(bad.anomaly_map.argmax(), SIZE)
    mark = np.zeros(SIZE, np.uint8)
    mark[9:14, 10:15] = 255
    assert turned(mark, angle_deg)[y, x] > 127
    assert bad.measures['peak_difference'] > 3


def test_a_turn_of_a_long_strip_is_found():
    rng = np.random.default_rng(5)
    grain = cv2.GaussianBlur(rng.normal(0, 60, (120, 2000)), (0, 0), 4) * 8 + 120
    strip = clipped(grain)
    turn = cv2.getRotationMatrix2D((999.5, 59.5), 1.2, 1.0)
    frame = cv2.warpAffine(strip, turn, strip.shape[::-1], borderMode=cv2.BORDER_REFLECT)
    all_valid = np.ones(strip.shape, np.bool_)
    _, pose = best_match(frame, all_valid, [(strip, all_valid)], 6, 4.0)
    assert pose.turn_deg == pytest.approx(-1.2, abs=0.1)
    assert pose.ncc > 0.9


def test_parts_of_a_class_are_turned_onto_each_other():
    images = [turned(part(0, seed), angle) for seed, angle in enumerate((-2.0, 0.0, 0.0, 2.0))]
    arrays = TemplateScorer.fit([prepared(image) for image in images], {}).to_arrays()
    assert arrays['counts'].tolist() == [4]
    assert np.median(arrays['deviations'][0][12:-12, 12:-12] / 2) < 4


def test_what_comes_in_at_the_border_is_not_judged():
    image = part(2, 99, (2, 0))
    image[:, :3] = 255
    output = bank().score(prepared(image))
    assert output.measures['peak_difference'] < 2


def test_a_full_bank_keeps_those_that_stand_for_most():
    images = [prepared(part(kind, seed)) for kind in range(4) for seed in range(kind + 1)]
    arrays = TemplateScorer.fit(images, {'templates': 2}).to_arrays()
    assert arrays['counts'].tolist() == [4, 3]


def test_the_bank_has_an_end(monkeypatch):
    monkeypatch.setattr(template, '_MOST_VALUES', 5 * SIZE[0] * SIZE[1])
    assert len(bank(kinds=8).to_arrays()['means']) == 5


def test_pixels_outside_the_valid_area_do_not_matter():
    valid = np.ones(SIZE, np.bool_)
    valid[:, :20] = False
    image = part(5, 99, (1, 2))
    image[:, :20] = 255
    output = bank().score(prepared(image, valid))
    assert output.measures['best_ncc'] > 0.98
    assert output.measures['peak_difference'] < 2
    assert (output.anomaly_map[:, :20] == 0).all()
    other = image.copy()
    other[:, :20] = 0
    again = bank().score(prepared(other, valid))
    assert again.measures['peak_difference'] == output.measures['peak_difference']
    assert again.measures['best_ncc'] == output.measures['best_ncc']
    with pytest.raises(FrameError, match='no template covers half'):
        bank().score(prepared(image, np.zeros(SIZE, np.bool_)))


def test_what_no_taught_part_showed_is_not_judged():
    valid = np.ones(SIZE, np.bool_)
    valid[:12] = False
    images = [part(kind, seed) for kind in (0, 1) for seed in (3, 4)]
    for seed, image in enumerate(images):
        image[:12] = 80 * seed
    scorer = TemplateScorer.fit([prepared(image, valid) for image in images], {})
    assert scorer.to_arrays()['counts'].tolist() == [2, 2]
    for mean in scorer.to_arrays()['means']:
        np.testing.assert_allclose(mean[:12], mean[12:].mean(), atol=1)
    output = scorer.score(prepared(part(1, 99)))
    assert output.measures['best_ncc'] > 0.98
    assert output.measures['peak_difference'] < 2
    assert (output.anomaly_map[:12] == 0).all()


def test_scores_do_not_depend_on_the_frames_before():
    scorer = bank(each=2)
    first = scorer.score(prepared(part(3, 99)))
    kept = first.anomaly_map.copy()
    scorer.score(prepared(marked(part(3, 98))))
    np.testing.assert_array_equal(first.anomaly_map, kept)
    assert scorer.score(prepared(part(3, 99))).measures == first.measures


@pytest.mark.parametrize('channels', [(), (3,)])
def test_comes_back_the_same_from_its_arrays(channels):
    settings = {'search_px': 2, 'smooth_px': 3}
    scorer = bank(each=3, settings=settings, channels=channels)
    again = TemplateScorer.from_arrays(scorer.to_arrays(), settings)
    for frame in (part(7, 99, channels=channels), part(77, channels=channels)):
        one, two = (each.score(prepared(frame)) for each in (scorer, again))
        assert one.measures == two.measures
        np.testing.assert_array_equal(one.anomaly_map, two.anomaly_map)


@pytest.mark.parametrize(
    ('key', 'value', 'match'),
    [
        ('means', None, "lack 'means'"),
        ('deviations', None, "lack 'deviations'"),
        ('counts', None, "lack 'counts'"),
        ('names', None, "lack 'names'"),
        ('names', np.array(['a', '', 'c']), "the name of a class is ''"),
        ('names', np.array(['a', 'b']), 'sizes disagree'),
        ('names', np.arange(3), 'str_'),
        ('typical', None, "lack 'typical'"),
        ('typical', np.array([1, 0.5, 1], np.float32), 'allowed: 1 to 5'),
        ('typical', np.array([1, np.nan, 1], np.float32), 'finite'),
        ('means', np.zeros((3, *SIZE), np.float32), 'uint8'),
        ('means', np.zeros(SIZE, np.uint8), '3 or 4 dimensions'),
        ('means', np.zeros((0, *SIZE), np.uint8), 'shape'),
        ('means', np.zeros((3, *SIZE, 2), np.uint8), 'channels'),
        ('deviations', np.zeros((3, 72, 95), np.uint8), 'sizes disagree'),
        ('deviations', np.full((3, *SIZE), 255, np.uint8), 'no judged pixel'),
        ('counts', np.ones(2, np.int32), 'sizes disagree'),
        ('counts', np.array([1, 0, 1], np.int32), 'a count is 0'),
    ],
)
def test_broken_arrays_are_refused(key, value, match):
    arrays = bank(kinds=3).to_arrays()
    if value is None:
        del arrays[key]
    else:
        arrays[key] = value
    if match == 'channels':
        arrays['deviations'] = value
    with pytest.raises(RecipeError, match=match):
        TemplateScorer.from_arrays(arrays, {})


def test_wrong_settings_images_and_frames_are_refused():
    with pytest.raises(SettingError, match=r'search_px is 33; allowed: a whole number from 0'):
        bank(settings={'search_px': 33})
    with pytest.raises(SettingError, match="no setting 'classes'"):
        bank(settings={'classes': 3})
    with pytest.raises(FrameError, match='0 good images'):
        TemplateScorer.fit([], {})
    for image in (part(0)[:, 1:], part(0, channels=(3,)), part(0).astype(np.float32)):
        with pytest.raises(FrameError, match='96x72 uint8'):
            bank(kinds=1).score(prepared(image))


@pytest.mark.parametrize('size', [(1, 9), (2, 9), (9, 40)])
def test_small_images_are_compared_too(size):
    rng = np.random.default_rng(0)
    images = [prepared(rng.integers(0, 256, size, np.uint8)) for _ in range(4)]
    output = TemplateScorer.fit(images, {}).score(images[2])
    assert output.measures['best_ncc'] == pytest.approx(1.0)
    assert output.measures['peak_difference'] == 0.0


PLAIN = PreprocessingSettings.from_mapping({'alignment': {'kind': 'none'}, 'light': 'none'})


def taught(frames, classes=None):
    return teach(
        frames,
        name='dice',
        classes=classes,
        options=TeachOptions(scorers=('template',), preprocessing=PLAIN),
    )


def named_dice(kinds=3, each=12):
    frames = [
        (f'{kind}/{seed}.png', part(kind, 50 * kind + seed))
        for kind in range(kinds)
        for seed in range(each)
    ]
    return frames, {name: f'face {name[0]}' for name, _ in frames}


def test_a_recipe_is_taught_and_judges_by_it(tmp_path):
    recipe = read_recipe(write_recipe(taught(*named_dice()), tmp_path / 'dice').path)
    assert recipe.scorers['template'].arrays['counts'].tolist() == [12, 12, 12]
    judge = RecipeJudge(recipe)
    for kind in range(3):
        judgement, scores = judge.judge(Frame(part(kind, 999), 0, 0))
        assert judgement.verdict is Verdict.PASS
        assert scores[0].part_class == f'face {kind}'
        assert f"class 'face {kind}' -> PASS" in judgement.comparison
        judgement, _ = judge.judge(Frame(marked(part(kind, 999)), 0, 0))
        assert judgement.reason is Reason.LIMIT_EXCEEDED
        assert judgement.comparison.startswith('template.peak_difference')
    judgement, _ = judge.judge(Frame(part(77), 0, 0))
    assert judgement.verdict is Verdict.REJECT
    assert judgement.reason is Reason.UNKNOWN_CLASS
    assert judgement.comparison.startswith('template.best_ncc')
    assert "most like 'face " in judgement.comparison
    assert judgement.anomaly_score > 1


def test_a_class_of_one_part_is_kept_and_its_like_passes():
    frames, classes = named_dice()
    frames.append(('rare.png', part(5)))
    recipe = taught(frames, {**classes, 'rare.png': 'rare'})
    assert recipe.provenance.left_out == ()
    assert 'rare' in recipe.scorers['template'].arrays['names']
    assert len(recipe.scorers['template'].good['best_ncc']) == 36
    score = recipe.frame_scorer().score(part(5, 999))[0]
    assert score.part_class == 'rare'
    for spec in recipe.measures('template'):
        limit = recipe.scorers['template'].limits[spec.name].limit
        sign = 1 if spec.bad_side is BadSide.HIGH else -1
        assert sign * score.measures[spec.name] <= sign * limit


def test_every_class_is_measured_however_the_images_are_ordered():
    # With five folds and five classes in turn, a fold could be a class.
    frames, classes = named_dice(kinds=5, each=5)
    frames.sort(key=lambda frame: frame[0].split('/')[::-1])
    recipe = taught(frames, classes)
    assert len(recipe.scorers['template'].good['best_ncc']) == 25


def test_a_part_in_the_wrong_class_is_left_out_by_name():
    frames, classes = named_dice()
    recipe = taught(frames, {**classes, '1/4.png': 'face 2'})
    assert recipe.provenance.left_out == ("1/4.png: called 'face 2', looks like 'face 1'",)


def test_folders_that_are_no_classes_are_refused_with_what_to_do():
    frames = [(f'{day}/{n}.png', part(0, 20 * day + n)) for day in range(3) for n in range(4)]
    with pytest.raises(SettingError, match=r'looks like .* put their images into one folder$'):
        taught(frames, {name: f'day {name[0]}' for name, _ in frames})


def test_either_all_images_have_a_class_or_none():
    frames, classes = named_dice()
    del classes['1/4.png']
    with pytest.raises(SettingError, match=r"1 of 36 good images have no class.* '1/4\.png'"):
        taught(frames, classes)


def test_the_folders_of_the_images_are_their_classes(tmp_path):
    frames, _ = named_dice(each=4)
    for name, image in frames:
        (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'images' / name), image)
    arguments = ['teach', str(tmp_path / 'images'), '--recipe', str(tmp_path / 'dice')]
    result = CliRunner().invoke(main, [*arguments, '--scorer', 'template'])
    assert result.exit_code == 0, result.output
    arrays = read_recipe(tmp_path / 'dice').scorers['template'].arrays
    assert sorted(set(arrays['names'].tolist())) == ['0', '1', '2']
    rows = [line.split()[:3] for line in result.output.splitlines()]
    for name in ('0', '1', '2'):
        assert [name, '1', '4'] in rows


def test_limits_of_many_variants_come_from_those_that_have_their_like():
    single = [part(kind, kind) for kind in range(20, 36)]
    with pytest.raises(SettingError, match='0 of 16 good images have their like'):
        taught(single)
    pairs = [part(kind, 50 * kind + seed) for kind in range(8) for seed in range(2)]
    recipe = taught([*single, *pairs])
    scorer = recipe.scorers['template']
    assert sorted(scorer.arrays['counts'].tolist()) == [1] * 16 + [2] * 8
    assert len(scorer.good['best_ncc']) == 16
    assert scorer.limits['best_ncc'].limit == 0.9
    assert recipe.provenance.left_out == ()
