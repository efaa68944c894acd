# SPDX-License-Identifier: Apache-2.0
"""
A belt drawn by hand, for tests of the part detector: parts that move over it, light, noise, shake.

"""

from dataclasses import dataclass, field

import cv2
import numpy as np

WIDTH, HEIGHT, FPS = 320, 240, 30.0


@dataclass
class DrawnPart:
    """
    One part: the column of its middle when the clip begins, and how it looks.

    """

    start_px: float
    length_px: int = 60
    height_px: int = 120
    level: int = 190
    kind: str = 'plain'

    def draw(self, frame, middle_px):
        left, top = round(middle_px - self.length_px / 2), (HEIGHT - self.height_px) // 2
        right, bottom = left + self.length_px, top + self.height_px
        if self.kind == 'ring':
            center = (round(middle_px), HEIGHT // 2)
            cv2.circle(frame, center, self.length_px // 2 - 13, (self.level,) * 3, 26)
            return
        cv2.rectangle(frame, (left, top), (right - 1, bottom - 1), (self.level,) * 3, -1)
        if self.kind == 'striped':
            # Across the belt, in the belt's own level: the part has structure, not ends.
            for x in range(left + 12, right - 8, 14):
                cv2.rectangle(frame, (x, top), (x + 3, bottom - 1), (90, 90, 90), -1)


@dataclass
class DrawnBelt:
    """
    Gives frame after frame; `speed_px` may be a number or a function of the frame's number.

    """

    parts: list = field(default_factory=list)
    speed_px: object = 8.0
    gain: object = 1.0
    noise_levels: float = 4.0
    shake_px: float = 0.0
    marks: bool = False
    scene: object = None
    seed: int = 1
    number: int = 0
    travel_px: float = 0.0

    def __post_init__(self):
        self._random = np.random.default_rng(self.seed)
        self._noise = self._random.normal(0, 1, (HEIGHT + 200, WIDTH + 200, 3)).astype(np.float32)
        rows = np.linspace(0, 12, HEIGHT)[:, None]
        belt = np.repeat(90 + rows + np.linspace(0, 8, WIDTH)[None], 3).reshape(HEIGHT, WIDTH, 3)
        # Rails above and below: edges that a shaken camera moves.
        belt[:20], belt[-20:] = 30, 160
        self._belt = belt.astype(np.uint8)

    def _at(self, value):
        return value(self.number) if callable(value) else value

    def frame(self):
        """
        Draw the next frame.

        """
        picture = self._belt.copy()
        if self.marks:
            # Scratches that travel with the belt.
            for x in range(0, 640, 37):
                column = int((x + self.travel_px) % 640)
                cv2.line(picture, (column, 60), (column + 3, 190), (80, 84, 82), 1)
        if self.scene is not None:
            self.scene(self.number, picture)
        for part in self.parts:
            part.draw(picture, part.start_px + self.travel_px)
        if self.shake_px:
            move = np.float32([[1, 0, 0], [0, 1, 0]])
            move[:, 2] = self._random.uniform(-self.shake_px, self.shake_px, 2)
            picture = cv2.warpAffine(
                picture, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE
            )
        # A piece of one noise picture, at a place drawn anew: ten times faster than new noise.
        y, x = self._random.integers(0, 200, 2)
        noise = self.noise_levels * self._noise[y : y + HEIGHT, x : x + WIDTH]
        self.travel_px += self._at(self.speed_px)
        picture = picture * self._at(self.gain) + noise
        self.number += 1
        return np.clip(picture, 0, 255).astype(np.uint8)
