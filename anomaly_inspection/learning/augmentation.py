# SPDX-License-Identifier: Apache-2.0
"""
The images that a network is trained on: slightly different good parts (augmentation), spoiled so
that the network must restore the good part (denoising). Fresh for every image in every epoch.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.setting_check import check_integer, check_number

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Augmentation:
    """
    How else a good part may look.

    This is a statement about the part: the network learns that whatever is allowed here is good,
    and then misses a defect that looks the same. The default allows only what alignment and light
    normalisation leave over.

    Parameters
    ----------
    shift_px : float
        Largest shift in x and in y, pixels of the prepared image, 0 to 100.
    rotation_deg : float
        Largest turn about the middle of the image, either way, 0 to 180.
    brightness : float
        Largest change of gain, 0 to 0.5: 0.02 multiplies gray levels by 0.98 to 1.02.
    flips : bool
        Whether the part may lie mirrored, left to right and top to bottom. A real part seldom may:
        a missing bore on one side is not one on the other.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    shift_px: float = 1.0
    rotation_deg: float = 0.5
    brightness: float = 0.02
    flips: bool = False

    def __post_init__(self) -> None:
        check_number('shift_px', self.shift_px, 0, 100)
        check_number('rotation_deg', self.rotation_deg, 0, 180)
        check_number('brightness', self.brightness, 0, 0.5)


@dataclass(frozen=True)
class Denoising:
    """
    What is spoiled in the input of a network; its output must restore it.

    Spoiling keeps a network with a large latent vector from copying its input with its defects.

    Parameters
    ----------
    lines : int
        Straight lines of one pixel, of random gray or colour, 0 to 50.
    noise : float
        Standard deviation of Gaussian noise, 0 to 0.5 of the full scale.
    blocks : int
        Rectangles that are erased to one random gray or colour, 0 to 20.
    block_share : float
        Largest side of a rectangle as a share of the image's, 0.02 to 0.5.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    lines: int = 0
    noise: float = 0.0
    blocks: int = 0
    block_share: float = 0.15

    def __post_init__(self) -> None:
        check_integer('lines', self.lines, 0, 50)
        check_number('noise', self.noise, 0, 0.5)
        check_integer('blocks', self.blocks, 0, 20)
        check_number('block_share', self.block_share, 0.02, 0.5)


def varied(
    image: NDArray[np.uint8],
    augmentation: Augmentation,
    rng: np.random.Generator,
    patch_px: int = 0,
) -> NDArray[np.uint8]:
    """
    Give an image, or a patch from anywhere in it, as another good part could have given it.

    Pixels that come in over the border repeat the border.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
        A prepared image.
    augmentation : Augmentation
        What may differ.
    rng : numpy.random.Generator
        All chance comes from it.
    patch_px : int
        Edge of the square patch, at most h and w; 0 = the whole image.

    """
    height, width = image.shape[:2]
    size_px = (patch_px, patch_px) if patch_px else (width, height)
    corner = [
        rng.integers(0, full - part + 1)
        for full, part in zip((width, height), size_px, strict=True)
    ]
    turn = math.radians(rng.uniform(-1, 1) * augmentation.rotation_deg)
    shift = rng.uniform(-augmentation.shift_px, augmentation.shift_px, 2)
    mirrored = rng.random(2) < 0.5 if augmentation.flips else np.zeros(2, np.bool_)
    gain = 1.0 + rng.uniform(-augmentation.brightness, augmentation.brightness)

    middle = np.array([width - 1, height - 1]) / 2
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = rotation * np.where(mirrored, -1.0, 1.0)
    # From the pixels of the result to those of the image.
    offset = middle + shift + linear @ (corner - middle)
    laid = cv2.warpAffine(
        image,
        np.column_stack([linear, offset]),
        size_px,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if gain == 1.0:
        return np.asarray(laid, np.uint8)
    levels = np.clip(np.rint(gain * np.arange(256)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(laid, levels), np.uint8)


def spoiled(
    image: NDArray[np.float32], denoising: Denoising, rng: np.random.Generator
) -> NDArray[np.float32]:
    """
    Give a copy of the input with lines, erased blocks and noise, within 0 and 1.

    Parameters
    ----------
    image : ndarray of float32, (side, side, c)
        What `net_input` gives, 0..1.
    denoising : Denoising
        What is spoiled.
    rng : numpy.random.Generator
        All chance comes from it.

    """
    side, channels = image.shape[0], image.shape[2]
    result = image.copy()
    for _ in range(denoising.blocks):
        size = rng.integers(1, max(2, round(denoising.block_share * side) + 1), 2)
        x, y = rng.integers(0, side - size + 1)
        result[y : y + size[1], x : x + size[0]] = rng.random(channels)
    for _ in range(denoising.lines):
        start, end = rng.integers(0, side, (2, 2)).tolist()
        cv2.line(result, start, end, rng.random((channels,)).tolist())
    if denoising.noise:
        result += rng.normal(0, denoising.noise, result.shape).astype(np.float32)
    return np.clip(result, 0, 1, out=result)
