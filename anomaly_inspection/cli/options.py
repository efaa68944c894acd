# SPDX-License-Identifier: Apache-2.0
"""
Types of options that the commands share.

"""

from __future__ import annotations

import math
from typing import Any

import click


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


#: Share of good parts that may be rejected, as `learning.good_part_limits.check_rate` allows it.
FALSE_REJECT_RATE = Number(0, 0.5, min_open=True, max_open=True)
