# SPDX-License-Identifier: Apache-2.0
"""
Invariants of the overlay; how it looks is for eyes, not for golden pictures.

"""

from __future__ import annotations

import math

import numpy as np
import pytest

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.overlay import draw_overlay, enlargement, MeasureRow, VERDICT_COLOURS
from anomaly_inspection.scoring.region import Region

BRIGHT_ROWS = (
    MeasureRow('ssim.mean_ssim', 0.95, 0.9, '>=', '1', 0.4),
    MeasureRow('ssim.mse', 80.0, 60.0, '<=', 'gray_level^2', 1.4),
)


def _frame(width=640, height=480, channels=3):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(5).integers(0, 256, shape, np.uint8)


def _draw(frame, **options):
    options = {'verdict': 'REJECT', 'reason': 'limit exceeded', **options}
    before = frame.copy()
    drawn = draw_overlay(frame, **options)
    assert np.array_equal(frame, before), 'the frame itself was drawn on'
    assert drawn.dtype == np.uint8
    assert drawn.ndim == 3
    assert drawn.shape[2] == 3
    return drawn


def _as_bgr(frame):
    return np.dstack([frame] * 3) if frame.ndim == 2 or frame.shape[2] == 1 else frame


def _colours(image):
    return {tuple(colour) for colour in np.unique(image.reshape(-1, 3), axis=0).tolist()}


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('size', [(640, 480), (481, 700), (1000, 480), (2448, 2048)])
def test_good_part_looks_untouched(size, channels):
    frame = _frame(*size, channels)
    drawn = _draw(
        frame,
        anomaly_map=np.full(frame.shape[:2], 0.99, np.float32),
        verdict='PASS',
        rows=BRIGHT_ROWS,
    )
    assert np.array_equal(drawn[: size[1], : size[0]], _as_bgr(frame))


def test_frame_of_one_explicit_channel_is_gray():
    frame = _frame(640, 480, 1)[..., None]
    assert np.array_equal(_draw(frame)[:480, :640], _as_bgr(frame))


def test_heat_lies_only_where_the_map_exceeds_the_limit_and_grows_over_it():
    frame = np.full((480, 640), 128, np.uint8)
    anomaly_map = np.tile(np.linspace(0, 5, 640, dtype=np.float32), (480, 1))
    picture = _draw(frame, anomaly_map=anomaly_map, map_limit=2.0)[:480, :640].astype(int)
    change = np.abs(picture - 128).sum(axis=2)
    assert not change[anomaly_map <= 2.0].any()
    assert change[anomaly_map > 2.1].all()
    assert change[0, 640 * 4 // 5] > 3 * change[0, 640 * 2 // 5 + 8]


def test_part_is_seen_through_full_heat():
    frame = np.full((480, 640), 60, np.uint8)
    frame[:, 320:] = 200
    picture = _draw(frame, anomaly_map=np.full(frame.shape, 9, np.float32)).astype(int)
    assert (picture[100, 400] - picture[100, 200]).min() > 25


def test_nan_in_the_map_is_transparent_and_infinity_is_hot():
    frame = _frame()
    anomaly_map = np.zeros((480, 640), np.float32)
    anomaly_map[10, 10], anomaly_map[20, 20] = np.nan, np.inf
    anomaly_map[30, 30] = 9
    changed = np.argwhere((_draw(frame, anomaly_map=anomaly_map)[:480, :640] != frame).any(axis=2))
    assert changed.tolist() == [[20, 20], [30, 30]]


@pytest.mark.parametrize('limit', [math.inf, -math.inf, math.nan, 3e38])
def test_extreme_map_limits_draw_no_heat(limit):
    frame = _frame()
    anomaly_map = np.full((480, 640), np.inf, np.float32)
    drawn = _draw(frame, anomaly_map=anomaly_map, map_limit=limit)
    assert np.array_equal(drawn[:480, :640], frame)


@pytest.mark.parametrize('limit', [0.0, -1.0])
def test_map_limit_may_be_zero_or_negative(limit):
    frame = _frame()
    anomaly_map = np.full((480, 640), limit, np.float32)
    anomaly_map[5, 7] = limit + 1
    changed = np.argwhere(
        (_draw(frame, anomaly_map=anomaly_map, map_limit=limit)[:480, :640] != frame).any(axis=2)
    )
    assert changed.tolist() == [[5, 7]]


@pytest.mark.parametrize('size', [(640, 480), (160, 128), (2448, 2048)])
def test_box_stands_exactly_around_its_half_open_pixels(size):
    width, height = size
    frame = np.full((height, width), 128, np.uint8)
    factor = enlargement(width, height)
    # No room for a label anywhere: the other region is the whole frame.
    regions = (Region(40, 50, 60, 71, 100, 2.0), Region(0, 0, width, height, 9, 1.0))
    picture = _draw(frame, regions=regions)[: height * factor, : width * factor]
    x_min, y_min, x_max, y_max = (n * factor for n in (40, 50, 60, 71))
    assert (picture[y_min:y_max, x_min:x_max] == 128).all()
    ring = np.concatenate(
        [
            picture[y_min - 1, x_min:x_max],
            picture[y_max, x_min:x_max],
            picture[y_min:y_max, x_min - 1],
            picture[y_min:y_max, x_max],
        ]
    )
    assert len(_colours(ring)) == 1
    assert (ring != 128).any()


def test_region_at_the_edge_of_the_frame_keeps_all_four_lines():
    frame = np.full((480, 640), 128, np.uint8)
    picture = _draw(frame, regions=(Region(0, 0, 640, 480, 9, 2.0),))[:480, :640]
    for row_or_column in (picture[:3], picture[-3:], picture[:, :3], picture[:, -3:]):
        assert len(_colours(row_or_column)) > 1
    assert (picture[3:-3, 3:-3] == 128).all()


def test_labels_never_cover_a_region():
    frame = np.full((480, 640), 128, np.uint8)
    regions = [
        Region(x, y, x + 24, y + 18, 20, x / 7)
        for x in range(0, 600, 37)
        for y in range(0, 440, 29)
    ]
    picture = _draw(frame, regions=regions)[:480, :640]
    for region in regions:
        inside = picture[max(region.y_min, 3) : region.y_max, max(region.x_min, 3) : region.x_max]
        assert (inside == 128).all()


def test_strip_has_the_colour_of_its_verdict_alone():
    for verdict, colour in VERDICT_COLOURS.items():
        colours = _colours(_draw(_frame(), verdict=verdict)[:, 640:])
        assert colour in colours
        others = set(VERDICT_COLOURS.values()) - {colour}
        assert not colours & others


def test_verdicts_differ_for_the_colour_blind():
    shapes = [
        _draw(_frame(), verdict=verdict)[:, 640:].min(axis=2) > 200 for verdict in VERDICT_COLOURS
    ]
    for first, second in ((0, 1), (1, 2), (0, 2)):
        assert np.count_nonzero(shapes[first] != shapes[second]) > 200


def test_bar_grows_with_the_anomaly_score():
    def filled(score):
        row = MeasureRow('a.b', 1.0, 2.0, '<=', '1', score)
        return np.count_nonzero(
            (_draw(_frame(), verdict='UNDECIDED', rows=(row,))[:, 640:] == (130, 190, 60)).all(2)
        )

    amounts = [filled(score) for score in (0.0, 0.3, 0.6, 1.0, 1.4, 1.5)]
    assert amounts == sorted(set(amounts))
    assert filled(math.inf) == filled(99.0) == amounts[-1]
    assert filled(-math.inf) == filled(-3.0) == filled(math.nan) == amounts[0]


@pytest.mark.parametrize(
    ('value', 'limit', 'relation', 'is_anomalous'),
    [
        (0.9, 0.9, '>=', False),
        (0.89, 0.9, '>=', True),
        (60.0, 60.0, '<=', False),
        (60.1, 60.0, '<=', True),
        (math.nan, 60.0, '<=', True),
        (1.0, math.nan, '>=', True),
    ],
)
def test_measure_at_its_limit_is_good_and_an_unknown_one_is_not(
    value, limit, relation, is_anomalous
):
    assert MeasureRow('a.b', value, limit, relation).is_anomalous is is_anomalous


def test_anomalous_measure_is_shown_however_many_there_are():
    good = [MeasureRow(f'a.m{n}', 1.0, 2.0, '<=', '1', 0.5) for n in range(80)]
    bad = MeasureRow('a.bad', 3.0, 2.0, '<=', '1', 2.0)
    red = (92, 98, 255)
    assert red not in _colours(_draw(_frame(), rows=good)[:, 640:])
    assert red in _colours(_draw(_frame(), rows=[*good, bad])[:, 640:])


EXTREMES = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e300, -1e-300, 123456789.123)


@pytest.mark.parametrize('size', [(64, 64), (64, 2448), (2448, 64), (480, 90), (1, 1), (700, 400)])
@pytest.mark.parametrize('channels', [1, 3])
def test_nothing_raises_and_nothing_leaves_the_panel(size, channels):
    width, height = size
    frame = np.full((height, width, channels), 128, np.uint8)
    novel = 'an_extremely_long_name_without_end ' * 30 + '\n\t\0 \u00fc\u4e2d\U0001f600 \udc80'
    rows = [
        MeasureRow(novel, value, limit, relation, novel, score)
        for value in EXTREMES
        for limit in EXTREMES
        for relation in ('<=', '>=')
        for score in EXTREMES[:3]
    ]
    drawn = _draw(frame, rows=rows, reason=novel, title=novel, recipe=novel)
    factor = enlargement(width, height)
    assert max(width, height) * factor >= 480
    assert (drawn[: height * factor, : width * factor] == 128).all()
    # Text that ran over the edge would touch the margin.
    margin = drawn[:, -5:] if drawn.shape[1] > width * factor else drawn[-5:]
    assert len(_colours(margin)) == 1
    for row in rows[::7]:
        _draw(frame, rows=[row])


@pytest.mark.parametrize('size', [(64, 64), (640, 480), (2448, 2048)])
def test_a_hundred_odd_regions_do_no_harm(size):
    width, height = size
    random = np.random.default_rng(3)
    regions = [
        Region(*map(int, random.integers(-50, 3000, 4)), 1, EXTREMES[n % len(EXTREMES)])
        for n in range(100)
    ]
    drawn = _draw(np.zeros((height, width), np.uint8), regions=regions)
    assert drawn[: height * enlargement(*size), : width * enlargement(*size)].any()


@pytest.mark.parametrize('empty', ['', ' '])
def test_words_may_be_empty(empty):
    _draw(_frame(), verdict='UNDECIDED', reason=empty, title=empty, recipe=empty)


@pytest.mark.parametrize(
    ('size', 'factor'), [((640, 480), 1), ((480, 100), 1), ((479, 100), 2), ((128, 128), 4)]
)
def test_small_frames_are_enlarged_by_an_integer(size, factor):
    assert enlargement(*size) == factor


@pytest.mark.parametrize(
    'frame',
    [
        np.zeros((480, 640), np.float32),
        np.zeros((480, 640, 4), np.uint8),
        np.zeros((0, 640), np.uint8),
        np.zeros(640, np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(frame):
    with pytest.raises(FrameError, match='allowed: uint8'):
        draw_overlay(frame, verdict='PASS', reason='')


def test_map_of_another_size_is_refused():
    with pytest.raises(FrameError, match=r'\(479, 640\); allowed: \(480, 640\)'):
        draw_overlay(
            _frame(), anomaly_map=np.zeros((479, 640), np.float32), verdict='PASS', reason=''
        )


def test_unknown_words_are_refused():
    with pytest.raises(SettingError, match="'MAYBE'; allowed: PASS, REJECT, UNDECIDED"):
        draw_overlay(_frame(), verdict='MAYBE', reason='')
    with pytest.raises(SettingError, match="'<'; allowed: '<=', '>='"):
        MeasureRow('a.b', 1.0, 2.0, '<')
