# SPDX-License-Identifier: Apache-2.0
"""
Presence in the image: belts of our own drawing, parts counted once, with the frame in the middle.

"""

from __future__ import annotations

from drawn_belt import DrawnBelt, DrawnPart, FPS, HEIGHT, WIDTH
import numpy as np
import pytest

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.imaging.passage import PassageTracker, StationTracker
from anomaly_inspection.imaging.presence import PresenceDetector, PresenceSettings, Stretch
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

MIDDLE = WIDTH // 2


class Watch:
    """
    A detector and a tracker that look at a belt.

    """

    def __init__(self, *, patience_s=0.2, **settings):
        self.detector = PresenceDetector(PresenceSettings(**settings))
        self.tracker = PassageTracker(patience_s)
        self.passages = []
        self.told_at = []
        self.frames = 0

    def see(self, image):
        exposure_s = self.frames / FPS
        sight = self.detector.see(image, exposure_s)
        for passage in self.tracker.update(sight, self.frames):
            self.passages.append(passage)
            self.told_at.append(self.frames)
        self.frames += 1
        return sight

    def run(self, belt, frames):
        for _ in range(frames):
            self.see(belt.frame())
        return self.passages


def queue(starts_px, **look):
    return [DrawnPart(start_px, **look) for start_px in starts_px]


def middle_of(belt_part, passage, speed_px):
    return belt_part.start_px + speed_px * passage.frame


STEADY = {'noise': {'noise_levels': 10.0}, 'shake': {'shake_px': 3.0}, 'marks': {'marks': True}}
LIGHT = {
    'drift': {'gain': lambda n: 1 + 0.4 * np.sin(n / 60)},
    'exposure steps': {'gain': lambda n: (1.0, 1.4, 0.75, 1.15)[n // 23 % 4]},
    'slow fade': {'gain': lambda n: 0.4 + 0.6 * 0.995**n},
}
LOOKS = {
    'plain': {},
    'dark': {'level': 50},
    'faint': {'level': 122},
    'ring': {'kind': 'ring', 'length_px': 100},
    'striped': {'kind': 'striped', 'length_px': 90},
    'small': {'length_px': 26, 'height_px': 24},
}


CASES = [
    *((course, 'plain') for course in (*STEADY, *LIGHT)),
    *(('noise', look) for look in LOOKS),
    ('exposure steps', 'dark'),
    ('drift', 'striped'),
]


@pytest.mark.parametrize(('course', 'look'), CASES)
@pytest.mark.parametrize('speed_px', [8.0, -8.0], ids=['to the right', 'to the left'])
def test_every_part_is_given_once_with_its_middle_at_the_column(course, look, speed_px):
    sign = np.sign(speed_px)
    parts = queue([MIDDLE - sign * (240 + 150 * n) for n in range(3)], **LOOKS[look])
    belt = DrawnBelt(parts, speed_px, **{**STEADY, **LIGHT}[course])
    passages = Watch().run(belt, 90)
    assert len(passages) == 3
    for part, passage in zip(parts, passages, strict=True):
        assert abs(middle_of(part, passage, speed_px) - MIDDLE) <= 8
