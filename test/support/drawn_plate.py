# SPDX-License-Identifier: Apache-2.0
"""
Small frames of a plate, for commands that must not take long.

"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = (112, 112)


def plate(seed: int, noise: float = 4.0) -> NDArray[np.uint8]:
    """
    A plate with two bores on a dark ground; plates differ by the camera's noise alone.

    """
    image = np.full(SIZE, 30, np.uint8)
    cv2.rectangle(image, (12, 16), (99, 95), 140, -1)
    for centre in ((35, 40), (75, 70)):
        cv2.circle(image, centre, 9, 60, -1, cv2.LINE_AA)
    noisy = image + np.random.default_rng(seed).normal(0.0, noise, SIZE)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_plates(folder: Path, count: int, first_seed: int = 0, noise: float = 4.0) -> Path:
    """
    Write good plates into a folder, '0.png' and on.

    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        cv2.imwrite(str(folder / f'{number}.png'), plate(first_seed + number, noise))
    return folder
