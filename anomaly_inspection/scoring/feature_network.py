# SPDX-License-Identifier: Apache-2.0
"""
Networks that give the features of every patch of an image: frozen, and trained on other images.

A feature network is an OpenVINO model like all others here (`model.py`). Its input is an image,
1 x height x width x 3, uint8, BGR; its one output the features, 1 x rows x columns x channels,
where a cell covers `STRIDE_PX` pixels of the image. `learning/backbones.py` makes them and keeps
them in the user's cache; a recipe holds a copy.

"""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path
import re
import threading
from typing import Any, TYPE_CHECKING
from weakref import WeakKeyDictionary
import zipfile

import cv2
import numpy as np

from anomaly_inspection.errors import RecipeError, SettingError
from anomaly_inspection.imaging.net_input import resized
from anomaly_inspection.printable import shown
from anomaly_inspection.scoring.model import Model, MODEL_BIN, MODEL_XML, read_network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared

STRIDE_PX = 8
SOURCE = 'source'
AS_TAUGHT, AS_SEEN, AS_IT_LIES = 'as_taught', 'as_seen', 'as_it_lies'
_SEEN: dict[str, Callable[[Prepared], NDArray[np.uint8]]] = {
    AS_TAUGHT: lambda part: part.image,
    AS_SEEN: lambda part: part.as_seen,
    AS_IT_LIES: lambda part: part.as_it_lies.image,
}
# Sides of the network's input are multiples of the largest stride that a feature comes from. The
# deepest layers see a part as it lies.
SIDE_STEP_PX, DEEP_SIDE_STEP_PX = 16, 32
_SHORTEST_SIDE_PX = 32
_NAME = re.compile(r'[A-Za-z0-9_-]{1,100}')
# Kept for teaching, where the same parts are fitted to again and again.
_MOST_KEPT_BYTES = 512_000_000
_LARGEST_FEATURE = 60_000.0


def input_size_px(
    shape: Sequence[int], side_px: int, step_px: int = SIDE_STEP_PX
) -> tuple[int, int]:
    """
    Give width and height of the network's input for images of a shape.

    The area is that of a square of `side_px`, so a frame takes the same time whatever its shape.
    The aspect ratio is kept but for rounding.

    """
    scale = side_px / math.sqrt(shape[0] * shape[1])
    width, height = (
        max(_SHORTEST_SIDE_PX, round(length * scale / step_px) * step_px)
        for length in (shape[1], shape[0])
    )
    return width, height


class FeatureNetwork:
    """
    A feature network, ready to run on prepared images of one shape.

    Parameters
    ----------
    files : mapping of str to ndarray of uint8
        With 'model.xml' and 'model.bin'.
    shape : sequence of int
        Of the prepared images.
    side_px : int
        See `input_size_px`.
    sees : str
        What the network is shown: the part in the light of the reference (`AS_TAUGHT`), in the
        light that the camera saw (`AS_SEEN`), or so and not aligned (`AS_IT_LIES`).
    is_keeping : bool
        Keep the features of each part as long as it lives: for teaching, where the same parts are
        fitted to and scored again and again.

    Raises
    ------
    RecipeError
        When the files are no feature network.

    """

    def __init__(
        self,
        files: Mapping[str, NDArray[np.uint8]],
        shape: Sequence[int],
        side_px: int,
        *,
        sees: str = AS_TAUGHT,
        is_keeping: bool = False,
    ) -> None:
        self.files = dict(files)
        network = read_network(files)
        self.sees = sees
        step_px = DEEP_SIDE_STEP_PX if sees == AS_IT_LIES else SIDE_STEP_PX
        self._size_px = width, height = input_size_px(shape, side_px, step_px)
        taken = network.inputs[0].get_partial_shape()
        if (
            taken.rank.is_dynamic
            or len(taken) != 4
            or not (taken[3].is_dynamic or taken[3].get_length() == 3)
        ):
            raise RecipeError(
                f'{MODEL_XML} takes {taken}; allowed: 1 x height x width x 3, an image'
            )
        self._model = Model(network, (1, height, width, 3))
        given = [tuple(output.get_partial_shape().to_shape()) for output in network.outputs]
        self.grid = height // STRIDE_PX, width // STRIDE_PX
        if len(given) != 1 or len(given[0]) != 4 or given[0][:3] != (1, *self.grid):
            raise RecipeError(
                f'{MODEL_XML} gives {given} for an image of {width} x {height} px; allowed: one '
                f'output, 1 x {self.grid[0]} x {self.grid[1]} x channels'
            )
        self.channels = int(given[0][3])
        self._is_keeping = is_keeping
        self._lock = threading.Lock()
        self._kept: WeakKeyDictionary[Prepared, NDArray[np.float16]] = WeakKeyDictionary()

    def features(self, part: Prepared) -> NDArray[np.float32]:
        """
        Give the features of every patch, (rows, columns, channels).

        Parameters
        ----------
        part : Prepared
            Its image has the shape given above.

        """
        with self._lock:
            found = self._kept.get(part)
        if found is None:
            image = self._input(_SEEN[self.sees](part))
            [(_, values)] = self._model.outputs(image[np.newaxis])
            # Half precision always, so that it does not matter whether they were kept.
            bounded = np.clip(values[0], -_LARGEST_FEATURE, _LARGEST_FEATURE)
            found = bounded.astype(np.float16)
            with self._lock:
                if self._is_keeping and (len(self._kept) + 1) * found.nbytes <= _MOST_KEPT_BYTES:
                    self._kept[part] = found
        return found.astype(np.float32)

    def allow_threads(self, count: int) -> None:
        """
        Let so many threads ask for features at the same time.

        """
        self._model.allow_threads(count)

    def _input(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        small = resized(image, self._size_px)
        if small.ndim == 2:
            small = np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR))
        return np.asarray(small, np.uint8)


def cache_folder() -> Path:
    """
    Give the folder where converted backbones are kept: ``$XDG_CACHE_HOME``, or ``~/.cache``.

    """
    # The specification of XDG has a relative path ignored.
    given = Path(os.environ.get('XDG_CACHE_HOME', ''))
    base = given if given.is_absolute() else Path.home() / '.cache'
    return base / 'anomaly_inspection' / 'backbones'


def backbone_path(name: str) -> Path:
    """
    Give the place of a converted backbone.

    Raises
    ------
    SettingError
        When this is no name of a backbone.

    """
    if not _NAME.fullmatch(name):
        raise SettingError(
            f'features.backbone is {shown(name)}; allowed: the name of a backbone, of letters, '
            'digits, _ and -. To import a model file, give it with --backbone'
        )
    return cache_folder() / f'{name}.npz'


def read_backbone(path: Path) -> dict[str, NDArray[Any]]:
    """
    Read a converted backbone.

    Returns
    -------
    dict of str to ndarray
        'model.xml' and 'model.bin', and 'source': what it was made from, a text.

    Raises
    ------
    SettingError
        When it is missing or damaged.

    """
    try:
        # The archive has a checksum of each array.
        with path.open('rb') as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in (MODEL_XML, MODEL_BIN, SOURCE)}
    except FileNotFoundError:
        raise SettingError(
            f'there is no backbone {path.stem!r} in {path.parent}. Run: pip install '
            "'anomaly_inspection[pretrained]', or give a model file with --backbone"
        ) from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise SettingError(f'{path} is damaged ({error}); delete it and teach again') from error


def network_of_backbone(
    name: str, shape: Sequence[int], side_px: int, *, sees: str = AS_TAUGHT
) -> FeatureNetwork:
    """
    Give the network of a converted backbone, ready to run; see `FeatureNetwork`.

    The same one each time, so that it keeps the features of parts from one fit to the next.

    """
    path = backbone_path(name)
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError:
        changed_ns = 0
    return _network_of_file(path, changed_ns, tuple(shape), side_px, sees)


@functools.lru_cache(maxsize=4)
def _network_of_file(
    path: Path, _changed_ns: int, shape: tuple[int, ...], side_px: int, sees: str
) -> FeatureNetwork:
    files = read_backbone(path)
    del files[SOURCE]
    return FeatureNetwork(files, shape, side_px, sees=sees, is_keeping=True)
