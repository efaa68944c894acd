# SPDX-License-Identifier: Apache-2.0
"""
Types of options that the commands share.

"""

from __future__ import annotations

import math
import re
from typing import Any, TYPE_CHECKING

import click

from anomaly_inspection.errors import SettingError

if TYPE_CHECKING:
    from anomaly_inspection.imaging.tolerance import Tolerance

SMALLEST_SIDE_PX, LARGEST_SIDE_PX = 16, 16384


class Number(click.FloatRange):
    """
    A finite number in a range; `click.FloatRange` alone lets NaN through.

    """

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f'{value} is not in the range {self._describe_range()}.', param, ctx)
        return number


def width_and_height(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    """
    Read a size in pixels: '640x480'.

    """
    if value is None:
        return None
    found = re.fullmatch(r'([0-9]{1,6})x([0-9]{1,6})', value)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(SMALLEST_SIDE_PX <= side <= LARGEST_SIDE_PX for side in (width, height)):
        raise click.BadParameter(
            f"{value!r} is refused; allowed: width and height such as '640x480', each "
            f'{SMALLEST_SIDE_PX} to {LARGEST_SIDE_PX} px'
        )
    return width, height


def tolerance(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> Tolerance | None:
    """
    Read how far a good part may lie from the taught ones: 'shift=12px,rotation=any,light=15%'.

    """
    from anomaly_inspection.imaging.tolerance import Tolerance

    if value is None:
        return None
    try:
        return Tolerance.from_text(value)
    except SettingError as error:
        raise click.BadParameter(str(error)) from None


#: Share of good parts that may be rejected, as `learning.good_part_limits.check_rate` allows it.
FALSE_REJECT_RATE = Number(0, 0.5, min_open=True, max_open=True)
