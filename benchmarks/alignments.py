# SPDX-License-Identifier: Apache-2.0
"""
The alignments that ours is compared with, each as in a textbook.

Each gives the (2, 3) map from pixels of the reference to pixels of the frame, or None when it
finds nothing.

"""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = NDArray[np.float64]
    Gray = NDArray[np.uint8]

_ECC_ROUNDS, _ECC_STEP = 50, 1e-4
_ORB_FEATURES, _FEWEST_MATCHES = 1000, 6


def enlarged(to_frame: NDArray[Any], factor: int) -> Map:
    """
    Give a map found on images reduced by `factor` for the images in full size.

    """
    # The middle of a reduced pixel lies between pixels of the full image.
    full = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
    small = np.vstack([to_frame.astype(np.float64), [0, 0, 1]])
    return np.asarray((full @ small @ np.linalg.inv(full))[:2])


def ecc(reference: Gray, frame: Gray, reduced_by: int = 4) -> Map | None:
    """
    Enhanced correlation coefficient: rigid, starting from no motion, at quarter size.

    """
    size = (reference.shape[1] // reduced_by, reference.shape[0] // reduced_by)
    edge = (slice(0, size[1] * reduced_by), slice(0, size[0] * reduced_by))
    one, two = (
        cv2.resize(image[edge], size, interpolation=cv2.INTER_AREA) for image in (reference, frame)
    )
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ECC_ROUNDS, _ECC_STEP)
    start = np.eye(2, 3, dtype=np.float32)
    try:
        _, found = cv2.findTransformECC(one, two, start, cv2.MOTION_EUCLIDEAN, until)
    except cv2.error:
        return None
    return enlarged(np.asarray(found), reduced_by)


def phase_correlation(reference: Gray, frame: Gray) -> Map | None:
    """
    Shift alone, from the phase of the spectrum.

    """
    one, two = (np.asarray(image, np.float32) for image in (reference, frame))
    (x, y), _ = cv2.phaseCorrelate(one, two, cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F))
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


def orb(reference: Gray, frame: Gray) -> Map | None:
    """
    ORB features, brute-force matches, RANSAC.

    """
    detector: Any = cv2.ORB_create(nfeatures=_ORB_FEATURES)  # type: ignore[attr-defined]
    (points, words), (frame_points, frame_words) = (
        detector.detectAndCompute(image, None) for image in (reference, frame)
    )
    if words is None or frame_words is None:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(words, frame_words)
    if len(matches) < _FEWEST_MATCHES:
        return None
    found, _ = cv2.estimateAffinePartial2D(
        np.array([points[match.queryIdx].pt for match in matches]),
        np.array([frame_points[match.trainIdx].pt for match in matches]),
    )
    return None if found is None else np.asarray(found, np.float64)


def error_px(found: Map, true: Map, x: float, y: float, width: float, height: float) -> float:
    """
    Give how far two maps disagree over a rectangle: root of the mean square, frame pixels.

    """
    columns, rows = np.meshgrid(np.linspace(x, x + width, 9), np.linspace(y, y + height, 9))
    points = np.stack([columns.ravel(), rows.ravel(), np.ones(columns.size)])
    return float(np.sqrt(np.square((found - true) @ points).sum(axis=0).mean()))
