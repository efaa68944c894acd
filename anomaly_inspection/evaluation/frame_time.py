# SPDX-License-Identifier: Apache-2.0
"""
How long a recipe takes for a frame on this machine, and how many parts per second that allows.

"""

from __future__ import annotations

from dataclasses import dataclass
import time
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.capture.source import Frame
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge

if TYPE_CHECKING:
    from anomaly_inspection.recipes.recipe import Recipe

_FRAMES = 10
# Above this share of the rate that scoring allows, a short load peak can cause a TIMEOUT.
_COMFORTABLE_SHARE = 0.7


@dataclass(frozen=True)
class FrameTime:
    """
    Time from an image to its judgement, on this machine under its load at that time.

    Parameters
    ----------
    typical_s : float
        Median over some frames, seconds, over 0.
    shortest_s : float
        The shortest of these times, seconds: the least affected by other load.

    """

    typical_s: float
    shortest_s: float

    @property
    def most_parts_per_s(self) -> float:
        """
        Parts per second that one thread can score, one frame a part.

        """
        return 1 / self.typical_s

    def __str__(self) -> str:
        return (
            f'{1e3 * self.typical_s:.3g} ms a frame on this machine = '
            f'at most {_rate_text(self.most_parts_per_s)} parts/s on each core'
        )

    def refusal(self, rate_hz: float | None, deadline_s: float, workers: int = 1) -> str | None:
        """
        Say why a cell could only time out; None when it may keep up.

        Uses the quickest frame, so that other load on the machine does not count.

        Parameters
        ----------
        rate_hz : float or None
            Parts per second; None when the camera sets the rate.
        deadline_s : float
            How long the decider waits for a part's scores, seconds.
        workers : int
            How many frames are scored at the same time, each on a core of its own.

        """
        if self.shortest_s >= deadline_s:
            return (
                f'scoring takes at least {1e3 * self.shortest_s:.3g} ms a frame on this machine, '
                f'and the decider waits {1e3 * deadline_s:.3g} ms (deadline_s): '
                'every part would time out. Allow more time, or teach a quicker scorer'
            )
        if rate_hz is not None and rate_hz * self.shortest_s >= workers:
            at_once = f', {workers} frames at the same time' if workers > 1 else ''
            return (
                f'{rate_hz:g} parts/s are too fast for this recipe: scoring takes at least '
                f'{1e3 * self.shortest_s:.3g} ms a frame on this machine{at_once}, so parts would '
                'time out and stop the line. Allowed: up to '
                f'{_rate_text(workers / self.shortest_s)} parts/s'
            )
        return None

    def warning(self, rate_hz: float | None, deadline_s: float, workers: int = 1) -> str | None:
        """
        Say that a cell will hardly keep up; None when there is time to spare.

        Parameters are those of `refusal`.

        """
        busy_share = self.typical_s * max((rate_hz or 0.0) / workers, 1 / deadline_s)
        if busy_share <= _COMFORTABLE_SHARE:
            return None
        asked = f'{rate_hz:g} parts/s' if rate_hz else f'a deadline_s of {deadline_s:g} s'
        return f'{asked} may be too much: {self}. Parts may time out and stop the line'


def _rate_text(rate_hz: float) -> str:
    return f'{rate_hz:.0f}' if rate_hz >= 10 else f'{rate_hz:.2g}'


def measure_frame_time(recipe: Recipe) -> FrameTime:
    """
    Judge some of the recipe's own good parts and measure the time.

    """
    judge = RecipeJudge(recipe)
    frames = [recipe.references[place % len(recipe.references)] for place in range(_FRAMES)]
    # What the first use sets up must not count.
    judge.judge(Frame(frames[0], 0, 0))
    times_s = []
    for frame in frames:
        started_s = time.perf_counter()
        judge.judge(Frame(frame, 0, 0))
        times_s.append(time.perf_counter() - started_s)
    return FrameTime(float(np.median(times_s)), min(times_s))
