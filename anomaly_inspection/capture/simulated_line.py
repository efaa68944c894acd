# SPDX-License-Identifier: Apache-2.0
"""
The simulated line as a frame source: the demo, the test bench and the load generator.

"""

from __future__ import annotations

import re
import time

from anomaly_inspection.capture.simulated_defects import DEFECT_KINDS
from anomaly_inspection.capture.simulated_frame import (
    PartPose,
    render_part,
    renderer,
    SimulatedPart,
)
from anomaly_inspection.capture.simulated_settings import SimulatedLineSettings
from anomaly_inspection.capture.source import Frame, FrameSource, Truth
from anomaly_inspection.errors import SourceError

__all__ = [
    'DEFECT_KINDS',
    'PartPose',
    'SimulatedLine',
    'SimulatedLineSettings',
    'SimulatedPart',
    'render_part',
]


class SimulatedLine(FrameSource):
    """
    The simulated line as a frame source; every frame is named 'line_<seed>/<index>'.

    Opening it again starts it again with part 0.

    """

    def __init__(self, settings: SimulatedLineSettings) -> None:
        self._settings = settings
        self._next = 0
        self._is_open = False

    def open(self) -> None:
        """
        Set up the scene (some tenths of a second) and start with part 0.

        """
        renderer(self._settings)
        self._next = 0
        self._is_open = True

    def read(self) -> Frame | None:
        """
        Render the next part, stamped now; None after the last one.

        Raises
        ------
        SourceError
            When the line is not open.

        """
        index = self._next
        if not self._is_open:
            raise SourceError('the simulated line is not open: call open() before read()')
        if self._settings.parts is not None and index >= self._settings.parts:
            return None
        image = render_part(self._settings, index).image
        self._next = index + 1
        return Frame(image, time.time_ns(), time.monotonic_ns(), self.name(index))

    def close(self) -> None:
        """
        Stop the line.

        """
        self._is_open = False

    def name(self, index: int) -> str:
        """
        Name of the frame of that part.

        """
        return f'line_{self._settings.seed}/{index:06d}'

    def truth(self, name: str, *, with_mask: bool = True) -> Truth | None:
        """
        Give what is known of a frame of this line, past or to come; None for any other name.

        The mask takes rendering the part again. Without it, the last thousand parts that were
        rendered in this process are remembered.

        """
        match = re.fullmatch(r'line_\d+/(\d{6,10})', name)
        if match is None or name != self.name(int(match[1])):
            return None
        index = int(match[1])
        if self._settings.parts is not None and index >= self._settings.parts:
            return None
        if with_mask:
            return render_part(self._settings, index).truth
        return renderer(self._settings).truth_without_mask(index)
