# SPDX-License-Identifier: Apache-2.0
"""
Fit the size and the contrast of a drawn defect to what is wanted.

A defect is drawn again and again. Each time its size and its strength are scaled by what the
finished image still lacks. The synthetic defects of `learning/` and the defects of the simulated
line both use this; how a defect is drawn and measured is theirs.

"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math
from typing import Protocol, TypeVar

# Stands for a size or contrast of nothing, whose logarithm does not exist.
_LEAST = 0.5


class MeasuredDefect(Protocol):
    """
    A defect in a finished image.

    """

    @property
    def diameter_px(self) -> float:
        """
        Diameter of the circle of the changed area.

        """

    @property
    def contrast_levels(self) -> float:
        """
        Mean change over that area, gray levels.

        """


Defect = TypeVar('Defect', bound=MeasuredDefect)


@dataclass(frozen=True)
class FitSteps:
    """
    How far one step of a fit goes, and when the fit ends.

    Parameters
    ----------
    rounds : int
        Most drawings.
    close_enough : float
        Error at which the fit stops; see `fit_error`.
    size_step, strength_step : (float, float)
        Smallest and largest factor of one step.
    invisible_step : (float, float)
        Factors of size and strength when nothing of the drawing is visible.
    largest_size, highest_strength : float
        Bounds of what is drawn.

    """

    rounds: int
    close_enough: float
    size_step: tuple[float, float]
    strength_step: tuple[float, float]
    invisible_step: tuple[float, float]
    largest_size: float
    highest_strength: float


def fit_error(wanted: tuple[float, float], diameter_px: float, contrast_levels: float) -> float:
    """
    Give how far a defect is from what is wanted: the larger of both relative errors.

    Parameters
    ----------
    wanted : (float, float)
        Diameter in pixels and contrast in gray levels.
    diameter_px, contrast_levels : float
        As measured.

    Returns
    -------
    float
        0 = exact; logarithmic, so twice and half are as far.

    """
    measured = (diameter_px, contrast_levels)
    return max(abs(math.log(w / max(m, _LEAST))) for w, m in zip(wanted, measured, strict=True))


def fit_defect(
    draw: Callable[[float, float], Defect | None],
    wanted: tuple[float, float],
    start: tuple[float, float],
    steps: FitSteps,
) -> Defect | None:
    """
    Draw a defect until it measures as wanted.

    Parameters
    ----------
    draw : callable (size, strength) -> defect or None
        Draws and measures; None when nothing of it is visible.
    wanted : (float, float)
        Diameter in pixels and contrast in gray levels.
    start : (float, float)
        First size and strength.
    steps : FitSteps
        How to go on from there.

    Returns
    -------
    defect or None
        The drawing with the smallest error; None when none was visible.

    """
    size, strength = start
    best: Defect | None = None
    lowest = math.inf
    for _ in range(steps.rounds):
        found = draw(size, strength)
        if found is None:
            size_factor, strength_factor = steps.invisible_step
        else:
            error = fit_error(wanted, found.diameter_px, found.contrast_levels)
            if error < lowest:
                best, lowest = found, error
            if error < steps.close_enough:
                break
            size_factor = _within(wanted[0] / found.diameter_px, steps.size_step)
            strength_factor = _within(wanted[1] / found.contrast_levels, steps.strength_step)
        size = min(steps.largest_size, size * size_factor)
        strength = min(steps.highest_strength, strength * strength_factor)
    return best


def _within(factor: float, step: tuple[float, float]) -> float:
    return min(step[1], max(step[0], factor))
