# SPDX-License-Identifier: Apache-2.0
"""
The overlay: the picture an operator looks at.

"""

from __future__ import annotations

from anomaly_inspection.overlay.panel import MeasureRow, VERDICT_COLOURS
from anomaly_inspection.overlay.picture import (
    draw_map,
    draw_overlay,
    draw_part,
    enlargement,
    regions_to_draw,
)

__all__ = [
    'VERDICT_COLOURS',
    'MeasureRow',
    'draw_map',
    'draw_overlay',
    'draw_part',
    'enlargement',
    'regions_to_draw',
]
