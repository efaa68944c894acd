# SPDX-License-Identifier: Apache-2.0
"""
From changes to causes: a small table of rules that names camera, lens, light, belt or parts.

Each rule looks at what moved together. A lamp that ages darkens part and background alike; a belt
of another colour leaves the part as it was; dirt on the lens stays at its place in the picture
while the part moves. Measures that rise although nothing of the picture has changed are the parts.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: From such a share of an alarm on, something that is not alarmed itself counts as moved beside
#: something that is.
MOVED_WEIGHT = 0.35
# So many deviations of good parts it must have moved, and such a share of what has moved most:
# a strong change moves everything a little.
_MOVED_SCORE, _MOVED_SHARE = 1.0, 0.15
# What was named already stays named down to half of that, or the names would come and go.
_STAYS = 0.5
# Dirt is compact: more cells than this are a change of the whole picture.
_MOST_DIRTY_CELLS = 24
# Beside another change, so much of what changes in cells is in one place if it is dirt.
_ONE_PLACE = 0.6
# A spot is stronger in the grid in which it stays at its place. Both are as strong where parts
# hardly move; dirt is likelier then.
_CLEARLY_STRONGER = 1.15
# What is around the part has not changed when the two cancel out to this.
_SAME_SHARE = 0.5
_BELT_SHARE = 0.4
# A change of contrast between part and belt moves the sharpness by less than this share of its own
# score.
_FOCUS_SHARE = 0.3


class CauseKind(IntEnum):
    """
    The values are those of DriftCause.msg.

    """

    UNKNOWN = 0
    LIGHT = 1
    FOCUS = 2
    DIRT = 3
    CAMERA = 4
    BELT = 5
    PARTS = 6


@dataclass(frozen=True)
class Change:
    """
    How one condition or measure has changed.

    Parameters
    ----------
    name : str
        Of the condition, or 'scorer.measure'.
    score : float
        Mean of the last parts, in deviations of good parts.
    amount : float
        The same, in the unit of the condition.
    weight : float
        The sum of its chart, 1 = alarm.
    is_alarmed : bool
        Whether it is surely a change.
    since_s : float
        Since when, wall clock, s.
    is_measure : bool
        Whether it is a measure of a scorer.
    typical : float
        Of good parts, towards the bad side for a measure.
    steady : float
        Mean of the last parts, in the unit of the condition, whenever its sum rose.

    """

    name: str
    score: float
    amount: float
    weight: float
    is_alarmed: bool
    since_s: float
    is_measure: bool = False
    typical: float = 0.0
    steady: float = 0.0


@dataclass(frozen=True)
class CellChange:
    """
    How a grid of cells has changed.

    Parameters
    ----------
    cells : int
        How many have changed; see `MOVED_WEIGHT`.
    share_of_one : float
        How much of the change lies in one place, of cells that touch each other, 0 to 1.
    weight : float
        The largest sum of a chart, 1 = alarm.
    amount : float
        By how much the brightness of the strongest cell has changed, logarithm.
    in_other_grid : float
        By how much the brightness at that place has changed in the other grid, beside this one; 1
        = by as much.
    place : (float, float)
        Its middle, x and y as shares of the region of interest.
    since_s : float
        Since when, wall clock, s.

    """

    cells: int
    share_of_one: float
    weight: float
    amount: float
    in_other_grid: float
    place: tuple[float, float]
    since_s: float


@dataclass(frozen=True)
class Cause:
    """
    One thing that is no longer as it was at teaching.

    Parameters
    ----------
    kind : CauseKind
        What it is.
    condition : str
        What moved most.
    change : float
        By how much, in `unit`.
    unit : str
        '%', 'px', 'deg', or '' for a measure.
    since_s : float
        Since when, wall clock, s.
    text : str
        One sentence.
    weight : float
        How sure it is, 1 = alarm.

    """

    kind: CauseKind
    condition: str
    change: float
    unit: str
    since_s: float
    text: str
    weight: float


_PERCENT = {
    'light': 'light',
    'sharpness': 'sharpness',
    'size': 'size of the part',
    'colour_blue': 'blue of the part',
    'colour_red': 'red of the part',
    'background': 'brightness around the part',
    'background_blue': 'blue around the part',
    'background_red': 'red around the part',
}
_CONTRASTS = (
    *('light', 'colour_blue', 'colour_red'),
    *('background', 'background_blue', 'background_red'),
)
_PIXELS = ('position_x', 'position_y')
_ADVICE = {
    CauseKind.LIGHT: 'the lamp may be ageing, or exposure or aperture were changed',
    CauseKind.FOCUS: 'look at the focus of the lens and at its distance from the part',
    CauseKind.DIRT: 'the lens may be dirty, or something casts a reflection',
    CauseKind.CAMERA: 'the camera may have been moved, or the guide of the belt',
    CauseKind.BELT: 'belt or background have changed',
    CauseKind.PARTS: 'the parts themselves differ, as those of a new batch do',
}


def named_causes(
    changes: Mapping[str, Change],
    cells: Mapping[str, CellChange],
    before: tuple[Cause, ...] = (),
) -> tuple[Cause, ...]:
    """
    Name what explains the changes.

    Parameters
    ----------
    changes : mapping of str to Change
        By name; at least one of them, or of the cells, is alarmed.
    cells : mapping of str to CellChange
        By the name of the grid.
    before : tuple of Cause
        What was named after the part before.

    Returns
    -------
    tuple of Cause
        What is sure first, in the order in which it began; never empty.

    """
    moved = _moved(changes, {cause.condition for cause in before})
    found: dict[CauseKind, Cause] = {}

    def name(kind: CauseKind, *names: str) -> None:
        for change in (moved[one] for one in names if one in moved):
            if kind not in found or change.weight > found[kind].weight:
                found[kind] = _cause(kind, change)

    _name_light_and_belt(changes, moved, name)
    name(CauseKind.CAMERA, 'position_x', 'position_y', 'rotation', 'size')
    _name_sharpness(moved, found, name)
    known = {one.kind for one in before}
    contrast = max((abs(moved[one].amount) for one in _CONTRASTS if one in moved), default=0.0)
    _name_cells(cells, contrast, known, found)
    # What else is changed explains why measures have risen, also on its way back to normal.
    effects = [one for one, change in moved.items() if change.is_measure or one == 'certainty']
    if not (known | found.keys()) - {CauseKind.PARTS}:
        name(CauseKind.PARTS, *effects)
    if not any(cause.weight >= 1.0 for cause in found.values()):
        # What is alarmed explains itself, whatever it is.
        for one in moved.values():
            if one.is_alarmed and not (found and one.name in effects):
                found.setdefault(CauseKind.PARTS, _cause(CauseKind.PARTS, one))
    # What is sure stands in the order in which it began.
    return tuple(
        sorted(found.values(), key=lambda cause: (-min(cause.weight, 1.0), cause.since_s))
    )


def _moved(changes: Mapping[str, Change], named: set[str]) -> dict[str, Change]:
    """
    Give what is surely changed, and what has moved beside that.

    """
    strongest = max(
        (abs(one.score) for one in changes.values() if one.is_alarmed and not one.is_measure),
        default=0.0,
    )

    def has_moved(change: Change) -> bool:
        factor = _STAYS if change.name in named else 1.0
        return change.is_alarmed or (
            abs(change.score) >= factor * max(_MOVED_SCORE, _MOVED_SHARE * strongest)
            and change.weight >= factor * MOVED_WEIGHT
        )

    return {name: change for name, change in changes.items() if has_moved(change)}


def _name_light_and_belt(
    changes: Mapping[str, Change], moved: Mapping[str, Change], name: Callable[..., None]
) -> None:
    """
    Tell lamp, belt and parts apart by what the part and its background do.

    What is around the part is measured beside the part: a lamp leaves it, a darker part moves both
    against each other.

    """
    for part, around in (
        ('light', 'background'),
        ('colour_blue', 'background_blue'),
        ('colour_red', 'background_red'),
    ):
        own, beside = (changes[one].steady if one in changes else 0.0 for one in (part, around))
        has_moved = part in moved or around in moved
        if has_moved and own * beside < 0.0 and abs(own + beside) < _SAME_SHARE * abs(own):
            # Light that varies much hides what the part does alone; beside the belt it shows.
            name(CauseKind.PARTS, *(one for one in (part, around) if one in moved))
            continue
        # The outline of a part holds some of the belt.
        if around not in moved or abs(own) >= _BELT_SHARE * abs(beside):
            name(CauseKind.LIGHT, part)
        name(CauseKind.BELT, around)


def _name_sharpness(
    moved: Mapping[str, Change], found: Mapping[CauseKind, Cause], name: Callable[..., None]
) -> None:
    """
    Tell a lens out of focus from what else moves the sharpness.

    No lens becomes sharper by itself: coarser surfaces do. Where part or belt become brighter or
    darker, the edges between them and the noise of the camera weigh otherwise.

    """
    sharpness = moved.get('sharpness')
    if sharpness is None:
        return
    if sharpness.score > 0.0:
        if not found:
            name(CauseKind.PARTS, 'sharpness')
        return
    contrast = [moved[one].score for one in ('light', 'background') if one in moved]
    if all(abs(sharpness.score) >= _FOCUS_SHARE * abs(score) for score in contrast):
        name(CauseKind.FOCUS, 'sharpness')


def _name_cells(
    cells: Mapping[str, CellChange],
    contrast: float,
    known: set[CauseKind],
    found: dict[CauseKind, Cause],
) -> None:
    """
    Tell dirt, which stays at its place in the picture, from a mark on every part.

    Other light, belts and parts change the cells along the outline of the part as well, but by no
    more than they have changed themselves, `contrast`.

    """
    if CauseKind.CAMERA in found:
        # Another pose moves the part's own edges into other cells.
        return
    image, part = (
        change if (change := cells.get(name)) is not None and change.cells else None
        for name in ('image_cells', 'part_cells')
    )
    strongest = image
    ratio = _CLEARLY_STRONGER**2 if CauseKind.DIRT in known else _CLEARLY_STRONGER
    if part is not None and (image is None or abs(part.amount) > ratio * abs(image.amount)):
        strongest = part
    if strongest is None or strongest.cells > _MOST_DIRTY_CELLS:
        return
    is_in_both = strongest.weight >= 1.0 and ratio * strongest.in_other_grid >= 1.0
    is_dirt = strongest is image or is_in_both
    kind = CauseKind.DIRT if is_dirt else CauseKind.PARTS
    if kind is CauseKind.PARTS and found:
        # Another belt or focus changes the cells along the outline of every part.
        return
    if found and (strongest.share_of_one < _ONE_PLACE or strongest.weight < 1.0):
        # Whatever else changes moves a few cells along the edges.
        return
    if {CauseKind.BELT, CauseKind.PARTS} & found.keys() and abs(strongest.amount) <= contrast:
        return
    percent = 100.0 * math.expm1(strongest.amount)
    x, y = strongest.place
    where = f'at {100 * x:.0f} % from the left and {100 * y:.0f} % from the top'
    what = 'one place of the picture' if kind is CauseKind.DIRT else 'one place of every part'
    text = f'{what} ({where}) {percent:+.0f} %; {_ADVICE[kind]}'
    if kind not in found:
        found[kind] = Cause(kind, 'spot', percent, '%', strongest.since_s, text, strongest.weight)


def _cause(kind: CauseKind, change: Change) -> Cause:
    amount, unit, words = _shown(change)
    if kind is CauseKind.PARTS and change.name == 'light':
        words = words.replace('light', 'brightness of the part')
    advice = _ADVICE[kind]
    if kind is CauseKind.PARTS and change.name == 'sharpness':
        advice = 'the surface of the parts differs, or somebody has focused the lens anew'
    text = f'{words}; {advice}'
    return Cause(kind, change.name, amount, unit, change.since_s, text, change.weight)


def _shown(change: Change) -> tuple[float, str, str]:
    """
    Give a change in a unit for people, the unit, and words: 'light -6 %'.

    """
    name, amount = change.name, change.amount
    if name in _PERCENT:
        percent = 100.0 * math.expm1(amount)
        digits = 0 if abs(percent) >= 2.0 else 1
        return percent, '%', f'{_PERCENT[name]} {percent:+.{digits}f} %'
    if name in _PIXELS:
        axis = 'right' if name.endswith('x') else 'down'
        if amount < 0:
            axis = 'left' if name.endswith('x') else 'up'
        return amount, 'px', f'parts lie {abs(amount):.1f} px further {axis}'
    if name == 'rotation':
        # Positive is counter-clockwise as seen.
        way = 'counter-clockwise' if amount > 0 else 'clockwise'
        return amount, 'deg', f'parts lie turned by {abs(amount):.1f} degrees {way}'
    if name == 'certainty':
        return amount, '', f'certainty of the alignment {amount:+.2f}'
    return amount, '', f'{name} {amount:+.3g} (typical {abs(change.typical):.3g})'
