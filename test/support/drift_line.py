# SPDX-License-Identifier: Apache-2.0
"""
A small simulated line with its drift watch: taught, then changed.

"""

from __future__ import annotations

from dataclasses import replace

from anomaly_inspection.capture.simulated_drift import LineChange, render_changed
from anomaly_inspection.capture.simulated_settings import SimulatedLineSettings
from anomaly_inspection.drift.reference import condition_arrays, DriftReference
from anomaly_inspection.imaging.conditions import ConditionMeter
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings, Preprocessor

LINE = SimulatedLineSettings(
    width_px=320, height_px=240, defect_rate=0.0, light=0.04, shift_px=3.0, rotation_deg=3.0
)
AS_TAUGHT = LineChange()
#: Each cause of drift alone.
LAMP, FOCUS = LineChange(lamp=0.92), LineChange(defocus_px=0.7)
DIRT = LineChange(dirt_share=0.25, dirt_diameter_px=14.0)
TURNED, SHIFTED = LineChange(turned_deg=4.0), LineChange(shifted_px=4.5)
BELT = LineChange(belt_bgr=(1.2, 1.1, 1.0))
DARK_BATCH = LineChange(part_light=0.93)


class TaughtLine:
    """
    The line as it was taught.

    """

    def __init__(self, count=40):
        frames = [self.frame(index) for index in range(count)]
        frame_format = FrameFormat(LINE.width_px, LINE.height_px, 'bgr8')
        self.preprocessor = Preprocessor(
            PreprocessingSettings(), frame_format, frames[0], frames[1:4]
        )
        self.meter = ConditionMeter(self.preprocessor, frames[0])
        self.references = frames[:4]
        self.taught = [self.conditions_of(frame) for frame in frames]
        self.reference = DriftReference.of_arrays(
            condition_arrays(self.taught), {}, frozenset(), count
        )

    def frame(self, index, change=AS_TAUGHT, seed=LINE.seed):
        return render_changed(replace(LINE, seed=seed), index, change)

    def alignment_of(self, frame):
        return self.preprocessor.prepare(frame).alignment

    def conditions_of(self, frame):
        return self.meter.measure(frame, self.alignment_of(frame))

    def conditions(self, index, change=AS_TAUGHT):
        return self.conditions_of(self.frame(index, change))

    def feed(self, watch, change=AS_TAUGHT, parts=100, first=1000, until_alarm=False):
        """
        Feed good parts of a changed line; give how many came.

        """
        for index in range(first, first + parts):
            verdict = watch.feed(
                self.conditions(index, change), {}, has_passed=True, now_s=float(index)
            )
            if until_alarm and verdict.causes:
                return index - first + 1
        return parts
