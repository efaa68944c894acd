# SPDX-License-Identifier: Apache-2.0
"""
The rules that name causes: what a strong change moves besides is not named, and names stay.

"""

import pytest

from anomaly_inspection.drift.causes import CauseKind, CellChange, Change, named_causes


def change(name, score, amount, *, is_alarmed=True, weight=None, since_s=0.0, **more):
    if weight is None:
        weight = 1.2 if is_alarmed else 0.5
    return Change(name, score, amount, weight, is_alarmed, since_s, steady=amount, **more)


def kinds(*changes, cells=None, before=()):
    named = named_causes({each.name: each for each in changes}, cells or {}, before)
    return [cause.kind for cause in named]


def spot(amount, *, cells=2, share_of_one=1.0, weight=1.2, other=0.3):
    return CellChange(cells, share_of_one, weight, amount, other, (0.4, 0.5), 5.0)


LAMP = change('light', -4.0, -0.08)
BELT = change('background', -6.0, -0.15)
BLUR = change('sharpness', -9.0, -0.3)


@pytest.mark.parametrize(
    ('changes', 'wanted'),
    [
        ([LAMP], [CauseKind.LIGHT]),
        ([BELT], [CauseKind.BELT]),
        ([BLUR], [CauseKind.FOCUS]),
        # A darker part moves itself and, the other way, what is measured beside it.
        ([LAMP, change('background', 3.0, 0.08)], [CauseKind.PARTS]),
        # So it is where the light varies so much that the part alone shows nothing.
        (
            [BELT, change('light', 1.0, 0.14, is_alarmed=False, weight=0.1)],
            [CauseKind.PARTS],
        ),
        # An outline holds some of the belt.
        ([BELT, change('light', -2.0, -0.02)], [CauseKind.BELT]),
        ([BELT, LAMP], [CauseKind.LIGHT, CauseKind.BELT]),
        # The edge between part and belt and the noise weigh otherwise in another light.
        ([BELT, change('sharpness', -1.5, -0.05)], [CauseKind.BELT]),
        ([BELT, BLUR], [CauseKind.BELT, CauseKind.FOCUS]),
        # Strong changes move everything a little.
        ([BLUR, change('light', -1.2, -0.03, is_alarmed=False)], [CauseKind.FOCUS]),
        (
            [LAMP, change('rotation', 2.0, 3.0, is_alarmed=False)],
            [CauseKind.LIGHT, CauseKind.CAMERA],
        ),
        # No lens becomes sharper by itself.
        ([change('sharpness', 4.0, 0.12)], [CauseKind.PARTS]),
        ([LAMP, change('sharpness', 4.0, 0.12)], [CauseKind.LIGHT]),
    ],
)
def test_each_rule(changes, wanted):
    assert sorted(kinds(*changes)) == sorted(wanted)


def test_the_stronger_of_two_changes_of_one_cause_is_told():
    named = named_causes(
        {
            'background': change('background', -4.0, -0.1, weight=1.4),
            'background_red': change('background_red', 2.0, 0.03, is_alarmed=False),
        },
        {},
    )

    assert [cause.condition for cause in named] == ['background']


def test_what_is_named_stays_named_until_it_has_clearly_gone():
    weak = change('rotation', 0.6, 1.0, is_alarmed=False, weight=0.2)
    before = named_causes({'light': LAMP, 'rotation': change('rotation', 3.0, 4.0)}, {})

    assert kinds(LAMP, weak) == [CauseKind.LIGHT]
    assert sorted(kinds(LAMP, weak, before=before)) == [CauseKind.LIGHT, CauseKind.CAMERA]


def test_what_is_sure_stands_in_the_order_in_which_it_began():
    first = change('rotation', 3.0, 4.0, since_s=10.0, weight=1.0)
    second = change('light', -6.0, -0.1, since_s=20.0, weight=1.5)

    assert kinds(second, first) == [CauseKind.CAMERA, CauseKind.LIGHT]


@pytest.mark.parametrize(
    ('image', 'part', 'wanted'),
    [
        (spot(-0.2), None, CauseKind.DIRT),
        (spot(-0.2), spot(-0.21), CauseKind.DIRT),
        (spot(-0.2), spot(-0.3), CauseKind.PARTS),
        (None, spot(-0.2), CauseKind.PARTS),
        # Where parts hardly move, it is at its place in both grids.
        (None, spot(-0.2, other=0.95), CauseKind.DIRT),
    ],
)
def test_dirt_stays_at_its_place_in_the_picture(image, part, wanted):
    cells = {'image_cells': image, 'part_cells': part}
    cells = {name: each for name, each in cells.items() if each is not None}
    rise = change('ssim.mse', 5.0, 10.0, is_measure=True)

    assert kinds(cells=cells) == [wanted]
    # The spot explains the measure.
    assert kinds(rise, cells=cells) == [wanted]


@pytest.mark.parametrize(
    ('other', 'found', 'is_dirt'),
    [
        (LAMP, spot(-0.2), True),
        (LAMP, spot(-0.2, weight=0.6), False),
        (LAMP, spot(-0.2, cells=6, share_of_one=0.3), False),
        # Along the outline nothing changes by more than belt or part have changed.
        (BELT, spot(-0.1), False),
        (BELT, spot(-0.3), True),
        (change('rotation', 5.0, 4.0), spot(-0.3), False),
    ],
)
def test_beside_another_change_dirt_must_be_sure_and_in_one_place(other, found, is_dirt):
    named = kinds(other, cells={'image_cells': found})

    assert (CauseKind.DIRT in named) is is_dirt


def test_what_has_only_begun_to_move_explains_a_measure_that_is_sure():
    rise = change('ssim.mse', 5.0, 10.0, is_measure=True)
    begun = change('background_blue', 2.0, 0.05, is_alarmed=False)

    assert kinds(rise, begun) == [CauseKind.BELT]
    assert kinds(rise) == [CauseKind.PARTS]


def test_an_alarm_that_no_rule_explains_is_the_parts():
    alarmed = change('colour_red', 3.0, 0.05)
    beside = change('background_red', -3.0, -0.05)

    assert kinds(alarmed, beside) == [CauseKind.PARTS]
    assert kinds(change('certainty', -3.0, -0.05)) == [CauseKind.PARTS]
