# SPDX-License-Identifier: Apache-2.0
"""
Moved copies of good images: shifted, turned, lit and blurred as the tolerance allows.

"""

from __future__ import annotations

import cmath
from dataclasses import dataclass
import math
from typing import TYPE_CHECKING
import zlib

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
    from anomaly_inspection.imaging.tolerance import Tolerance


@dataclass(frozen=True)
class Motion:
    """
    One change that a tolerance allows.

    Parameters
    ----------
    x_px, y_px : float
        Shift, frame pixels.
    angle_rad : float
        Turn about the middle of the region of interest, positive = counter-clockwise as seen in
        the image.
    gain : float
        Factor of the brightness.
    defocus_px : float
        Sigma of the blur, pixels; 0 = none.
    noise_levels : float
        Sigma of the noise, gray levels; 0 = none.

    """

    x_px: float = 0.0
    y_px: float = 0.0
    angle_rad: float = 0.0
    gain: float = 1.0
    defocus_px: float = 0.0
    noise_levels: float = 0.0

    @classmethod
    def drawn(cls, tolerance: Tolerance, rng: np.random.Generator) -> Motion:
        """
        Draw a motion; every value is equally likely.

        Parameters
        ----------
        tolerance : Tolerance
            With its shift in pixels; see `Tolerance.in_pixels`.
        rng : numpy.random.Generator
            Decides.

        """
        assert tolerance.shift_px is not None
        x, y, angle, light = rng.uniform(-1.0, 1.0, 4)
        defocus, noise = rng.uniform(0.0, 1.0, 2)
        return cls(
            x_px=float(x * tolerance.shift_px),
            y_px=float(y * tolerance.shift_px),
            angle_rad=math.radians(float(angle * tolerance.rotation_deg)),
            gain=float(1.0 + light * tolerance.light_share),
            defocus_px=float(defocus * tolerance.defocus_px),
            noise_levels=float(noise * tolerance.noise_levels),
        )

    def pose_only(self) -> Motion:
        """
        Give the motion without what changes light and focus.

        """
        return Motion(self.x_px, self.y_px, self.angle_rad)

    def apply(
        self, frame: NDArray[np.uint8], middle: complex, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """
        Give the moved frame.

        The picture is mirrored at its border, so that what comes in is like what was there.
        Alignment leaves it out, because it marks what lies outside of the frame as not valid.

        Parameters
        ----------
        frame : ndarray of uint8, (H, W) or (H, W, 3)
            A good image.
        middle : complex
            Point that the picture is turned about, x + iy, pixels.
        rng : numpy.random.Generator
            Gives the noise.

        """
        height, width = frame.shape[:2]
        turn = cmath.rect(1.0, -self.angle_rad)
        shift = middle + complex(self.x_px, self.y_px) - turn * middle
        matrix = np.array(
            [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]
        )
        moved = cv2.warpAffine(
            frame,
            matrix,
            (width, height),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        if self.defocus_px > 0.0:
            moved = cv2.GaussianBlur(moved, (0, 0), self.defocus_px)
        lit = moved.astype(np.float32) * np.float32(self.gain)
        if self.noise_levels > 0.0:
            noise = rng.standard_normal(lit.shape, np.float32)
            lit += np.float32(self.noise_levels) * noise
        return np.asarray(np.rint(lit).clip(0, 255), np.uint8)


def moved_copy(
    name: str,
    frame: NDArray[np.uint8],
    tolerance: Tolerance,
    region: RegionOfInterest,
    number: int = 0,
) -> NDArray[np.uint8]:
    """
    Give a moved copy of a good image, always the same one for the same name, image and number.

    Parameters
    ----------
    name : str
        Of the image: copies of equal images with other names are moved differently.
    frame : ndarray of uint8, (H, W) or (H, W, 3)
        The image.
    tolerance : Tolerance
        How far to move it.
    region : RegionOfInterest
        The part is turned about its middle.
    number : int
        Tells the copies of an image apart.

    Returns
    -------
    ndarray of uint8
        Of the image's shape.

    """
    rng = rng_of(name, frame, number)
    short_side_px = min(region.width, region.height)
    motion = Motion.drawn(tolerance.in_pixels(short_side_px), rng)
    return motion.apply(frame, region.center, rng)


def rng_of(name: str, frame: NDArray[np.uint8], number: int) -> np.random.Generator:
    """
    Give the random numbers of a copy; they depend on nothing but what is given.

    """
    return np.random.default_rng(
        [zlib.crc32(name.encode('utf-8', 'surrogateescape')), zlib.crc32(frame.tobytes()), number]
    )
