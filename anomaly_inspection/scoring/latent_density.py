# SPDX-License-Identifier: Apache-2.0
"""
Latent density: how near a latent vector of a network lies to those of good parts.

With r the distance of a latent vector to the nearest taught one, and s the median of the same
distance between the taught ones, each to the nearest other ::

    density = 1 / (1 + (r / 5s)^2)

It is Cauchy's kernel on the nearest neighbour: 1 for a taught image, about 0.96 for a good part,
0.5 at five times the usual distance, 0.01 at fifty times, 0 infinitely far away. Both distances
grow alike with the number of latent dimensions, and both shrink alike with the number of images,
so neither sets the scale. (A Gaussian kernel density in thousands of dimensions is a
nearest-neighbour distance too, but one whose zero and unit hang on dimensions, images and
bandwidth.) The kernel is five wide so that good parts lie where it falls with r squared: limits
are extrapolated from them, and one narrower presses what is beyond them against 0.

"""

from __future__ import annotations

from typing import Self, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import FrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH = 5.0
# What is compared with at every frame: 32 MB at most, and a millisecond or two.
_MOST_VECTORS, _MOST_VALUES = 1000, 8_000_000


class LatentDensity:
    """
    The latent vectors of good parts.

    Parameters
    ----------
    centre : ndarray of float32, (d,)
        What is taken off every vector, so that small distances keep their digits.
    taught : ndarray of float32, (n, d)
        Less the centre; n >= 1.
    spacing : float
        The s of the formula, over 0.

    """

    def __init__(
        self, centre: NDArray[np.float32], taught: NDArray[np.float32], spacing: float
    ) -> None:
        self.centre = centre
        self.taught = taught
        self.spacing = spacing
        self._squares = np.einsum('ij,ij->i', taught, taught)

    @classmethod
    def of(cls, latents: NDArray[np.float32]) -> Self:
        """
        Take the latent vectors of good images, (n, d); an even choice of very many.

        Raises
        ------
        FrameError
            When fewer than two of them differ.

        """
        different = {one.tobytes(): index for index, one in enumerate(latents)}
        taught = latents[list(different.values())]
        most = min(_MOST_VECTORS, max(2, _MOST_VALUES // taught.shape[1]))
        if len(taught) > most:
            taught = taught[np.linspace(0, len(taught) - 1, most).round().astype(int)]
        if len(taught) < 2:
            raise FrameError(
                f'{len(latents)} good images give {len(taught)} different latent vectors; needed: '
                'at least 2'
            )
        centre = taught.mean(axis=0, dtype=np.float32)
        taught = taught - centre
        apart = np.einsum('ij,ij->i', taught, taught) - 2.0 * (taught @ taught.T)
        np.fill_diagonal(apart, np.inf)
        to_nearest = np.linalg.norm(taught[np.argmin(apart, axis=1)] - taught, axis=1)
        return cls(centre, taught, float(np.median(to_nearest)))

    def at(self, latent: NDArray[np.float32]) -> float:
        """
        Give the density at one latent vector, (d,): 0 to 1.

        """
        # |t - x|^2 less |x|^2 takes one product; the one distance that counts is taken exactly.
        centred = latent - self.centre
        nearest = int(np.argmin(self._squares - 2.0 * (self.taught @ centred)))
        distance = float(np.linalg.norm(self.taught[nearest] - centred))
        return 1.0 / (1.0 + (distance / (_WIDTH * self.spacing)) ** 2)
