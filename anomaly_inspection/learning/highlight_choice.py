# SPDX-License-Identifier: Apache-2.0
"""
Choose the reference colours of the colour highlight, and how far noise may take a colour.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.colour_highlight import (
    ColourHighlight,
    distances,
    HIGHEST_TOLERANCE_LEVELS,
    PLACES,
    places_of,
)
from anomaly_inspection.learning.outliers import LARGEST_SHARE_LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared

    Histograms = NDArray[np.int32]

# At most this share of the pixels of a held-out good part lies beyond the tolerance.
SHARE_BEYOND = 1e-4
LEAST_TOLERANCE_LEVELS = 4.0
# Twice as much shows faint stains on bottles clearly worse; half as much, hardly better.
RAMP_LEVELS = 8.0
# Up to as many as a ColourHighlight may hold.
_COUNTS = (1, 2, 4, 8, 16, 32, 64)
_FOLDS = 5
_SEED = 1
_CUBE_STEP = 8


def choose_highlight(parts: Iterable[Prepared]) -> ColourHighlight:
    """
    Choose reference colours and tolerance from good parts.

    The tolerance is wide enough for good parts whose own colours are not among the references: in
    nine of ten of them, at most one pixel in 10,000 lies beyond it (a tenth may be strangers).
    Several numbers of colours are tried, each with its own tolerance. The number that leaves most
    other colours foreign is taken, because a few wide colours also cover what lies between them.

    Parameters
    ----------
    parts : iterable of Prepared
        Good parts in colour, as the highlight will see them; two at least.

    Raises
    ------
    SettingError
        When every part has colours of its own.

    """
    counted, levels = [], np.zeros(256, np.int64)
    pixel_at = np.zeros((PLACES, 3), np.uint8)
    for part in parts:
        seen = places_of(part.image)[part.valid]
        counted.append(np.bincount(seen, minlength=PLACES).astype(np.int32))
        pixel_at[seen] = part.image[part.valid]
        gray = cv2.cvtColor(part.image, cv2.COLOR_BGR2GRAY)[part.valid]
        levels += np.bincount(gray, minlength=256)
    histograms = np.array(counted)
    best, fewest = None, PLACES + 1
    for count in _COUNTS:
        tolerance = _tolerance(histograms, count)
        places = _reference_places(histograms, count)
        known = int(np.count_nonzero(distances(places) <= tolerance))
        if tolerance <= HIGHEST_TOLERANCE_LEVELS and known < fewest:
            best, fewest = (places, tolerance), known
    if best is None:
        raise SettingError(
            'highlight_colours: the colours of a good part lie more than '
            f'{HIGHEST_TOLERANCE_LEVELS:g} levels from those of the others; allowed: good parts '
            'that are alike in colour'
        )
    places, tolerance = best
    return ColourHighlight(
        colours=tuple('#' + bytes(pixel[::-1]).hex() for pixel in pixel_at[places]),
        tolerance_levels=tolerance,
        ramp_levels=RAMP_LEVELS,
        toward=_toward(levels, places, tolerance),
    )


def _reference_places(histograms: Histograms, count: int) -> NDArray[np.uint16]:
    """
    Give the places of at most so many colours, spread evenly over the colours of good parts.

    By k-means. Every colour counts once, however many pixels have it, so a small label counts.

    """
    enough = max(2, int(LARGEST_SHARE_LEFT_OUT * len(histograms)) + 1)
    shared = np.flatnonzero(np.count_nonzero(histograms, axis=0) >= enough).astype(np.uint16)
    if shared.size == 0:
        raise SettingError(
            f'highlight_colours: no colour is in {enough} of {len(histograms)} good parts; '
            'allowed: good parts that are alike in colour'
        )
    points = np.stack(np.divmod(shared, 256), axis=1).astype(np.float32)
    cv2.setRNGSeed(_SEED)
    until = (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, 30, 1e-2)
    label = np.zeros((len(points), 1), np.int32)
    _, _, centres = cv2.kmeans(
        points, min(count, len(points)), label, until, 1, cv2.KMEANS_PP_CENTERS
    )
    apart = np.square(points - np.asarray(centres)[:, None]).sum(axis=2)
    return np.unique(shared[apart.argmin(axis=1)])


def _tolerance(histograms: Histograms, count: int) -> float:
    """
    Give the tolerance that held-out good parts need with this number of colours, levels.

    """
    fold_of = np.arange(len(histograms)) % _FOLDS
    reached = []
    for fold in range(min(_FOLDS, len(histograms))):
        away = distances(_reference_places(histograms[fold_of != fold], count))
        order = np.argsort(away)
        for histogram in histograms[fold_of == fold]:
            within = np.cumsum(histogram[order])
            last = np.searchsorted(within, (1 - SHARE_BEYOND) * within[-1])
            reached.append(float(away[order[last]]))
    widest = float(np.quantile(reached, 1 - LARGEST_SHARE_LEFT_OUT, method='lower'))
    return max(LEAST_TOLERANCE_LEVELS, math.ceil(10 * widest) / 10)


def _toward(levels: NDArray[np.int64], places: NDArray[np.uint16], tolerance: float) -> str:
    """
    Tell whether white or black is farther from what needs the highlight: foreign colours that are
    as bright as good pixels.

    Near white and near black there are few such colours, so few good pixels count there.

    """
    steps = np.arange(0, 256, _CUBE_STEP).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    is_foreign = distances(places)[places_of(cube)] > tolerance
    gray = cv2.cvtColor(cube, cv2.COLOR_BGR2GRAY)[is_foreign].astype(np.int64)
    return 'white' if levels[gray] @ (255 - gray) >= levels[gray] @ gray else 'black'
