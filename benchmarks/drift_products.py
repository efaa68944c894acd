# SPDX-License-Identifier: Apache-2.0
"""
The products on which the drift watch is measured: simulated, drawn and, where they are, real ones.

The rules that name a cause were made on the products called 'developed'; the others were held out.

"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from anomaly_inspection.capture.simulated_drift import changed_frame, LineChange, render_changed
from anomaly_inspection.capture.simulated_frame import render_part
from anomaly_inspection.capture.simulated_settings import SimulatedLineSettings
from benchmarks.real_sets import DATASETS

WIDTH_PX, HEIGHT_PX = 320, 240
_TAUGHT_AT_MOST = 100
_FIELDS = 8

Shape = Literal['bracket', 'board', 'ring', 'carton', 'blade']


@dataclass(frozen=True)
class Product:
    """
    One product on its line.

    Parameters
    ----------
    name : str
        For the tables.
    render : callable (index, change, is_coarse) -> ndarray of uint8
        A good part; `is_coarse`: of a batch with coarser tool marks or grain.
    is_held_out : bool
        Whether no rule was made on it.
    scorers : tuple of str
        What its recipe is taught.
    taught : int
        How many parts it is taught on.
    scale : float
        Its pixels beside those of a frame 320 px wide.
    has_mask : bool
        Whether it is known where the part is, so that belt or part alone can change.

    """

    name: str
    render: Callable[[int, LineChange, bool], NDArray[np.uint8]]
    is_held_out: bool
    scorers: tuple[str, ...] = ('variation',)
    taught: int = 60
    scale: float = 1.0
    has_mask: bool = True


def pump(
    *, is_gray: bool = False, belt: tuple[float, float, float] = (1.0, 1.0, 1.0), **settings: Any
) -> Callable[[int, LineChange, bool], NDArray[np.uint8]]:
    """
    Give the line that `anomaly-inspection` simulates, on any belt.

    """
    given = {'light': 0.04, 'shift_px': 3.0, 'rotation_deg': 3.0, **settings}
    line = SimulatedLineSettings(
        **{'width_px': WIDTH_PX, 'height_px': HEIGHT_PX, 'defect_rate': 0.0, **given}
    )
    coarse = replace(line, part_variation=2.2)

    def render(index: int, change: LineChange, is_coarse: bool) -> NDArray[np.uint8]:
        mixed = tuple(own * more for own, more in zip(belt, change.belt_bgr, strict=True))
        frame = render_changed(
            coarse if is_coarse else line, index, replace(change, belt_bgr=mixed)
        )
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8) if is_gray else frame

    return render


def faulty_pump(
    seed: int, defect_rate: float
) -> Callable[[int, LineChange, bool], NDArray[np.uint8]]:
    """
    Give a simulated line that does not change and makes defective parts; the taught ones are good.

    """
    line = SimulatedLineSettings(
        seed=seed,
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        light=0.04,
        shift_px=3.0,
        rotation_deg=3.0,
        defect_rate=defect_rate,
    )

    def render(index: int, change: LineChange, is_coarse: bool) -> NDArray[np.uint8]:
        return render_part(line, index, with_defect=index >= _TAUGHT_AT_MOST).image

    return render


@dataclass(frozen=True)
class DrawnLine:
    """
    A line with drawn parts on a belt of any colour; calling it renders one part.

    Parameters
    ----------
    shape : str
        Which part.
    seed : int
        Draws its texture, its place and its light.
    part_bgr, belt_bgr : tuple of float
        Colours, gray levels.
    is_gray : bool
        Whether the camera is a gray one.
    light : float
        How far the brightness of a frame is from nominal at most, relative.
    shift_px, rotation_deg : float
        How far a part lies from the middle at most, and is turned.
    grain_levels : float
        Deviation of each part's own grain, gray levels.
    noise_levels : float
        Of the camera.
    scale : float
        Pixels beside those of a frame 320 px wide.

    """

    shape: Shape
    seed: int
    part_bgr: tuple[float, float, float]
    belt_bgr: tuple[float, float, float]
    is_gray: bool = False
    light: float = 0.04
    shift_px: float = 3.0
    rotation_deg: float = 3.0
    grain_levels: float = 3.0
    noise_levels: float = 2.0
    scale: float = 1.0

    def __call__(self, index: int, change: LineChange, is_coarse: bool) -> NDArray[np.uint8]:
        """
        Render one good part.

        """
        rng = np.random.default_rng([self.seed, index])
        x, y, turn, size, light, slope, belt_tone = rng.uniform(-1.0, 1.0, 7)
        width, height = round(self.scale * WIDTH_PX), round(self.scale * HEIGHT_PX)
        canvas, alpha = drawn_part(self.shape)
        side = canvas.shape[0]
        middle = (width / 2 + self.shift_px * x, height / 2 + self.shift_px * y)
        factor = 0.85 * height / side * (1.0 + 0.002 * size)
        affine = cv2.getRotationMatrix2D((side / 2, side / 2), self.rotation_deg * turn, factor)
        affine[:, 2] += np.array(middle) - side / 2
        share, albedo = (
            cv2.warpAffine(plane, affine, (width, height), flags=cv2.INTER_AREA)
            for plane in (alpha, canvas)
        )
        amount = self.grain_levels * (2.2 if is_coarse else 1.0)
        grain = amount * _noise(rng, height, width, 1.2) + 0.5 * amount * _noise(
            rng, height, width, 12.0
        )
        weave = 0.04 * _noise(rng, height, width, 1.5) + 0.03 * _noise(rng, height, width, 20.0)
        belt = np.array(self.belt_bgr, np.float32) * (1.0 + 0.03 * np.float32(belt_tone))
        part = albedo[:, :, None] * np.array(self.part_bgr, np.float32) + grain[:, :, None]
        shadow = 1.0 - 0.3 * cv2.GaussianBlur(share, (0, 0), 5.0 * self.scale)[:, :, None]
        frame = share[:, :, None] * part
        frame += (1.0 - share[:, :, None]) * shadow * (1.0 + weave)[:, :, None] * belt
        across = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :, None]
        frame *= 1.0 + self.light * np.float32(light) + 0.12 * self.light * slope * across
        frame = np.clip(frame, 0.0, 255.0)
        if self.is_gray:
            frame = cv2.cvtColor(frame.astype(np.float32), cv2.COLOR_BGR2GRAY)
        return changed_frame(
            frame, change, part_share=share, noise_levels=self.noise_levels, rng=rng
        )


@lru_cache(maxsize=8)
def drawn_part(shape: Shape) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Draw a part on a square canvas: how bright it is, and where it is; both 0..1.

    """
    side, solid = 480, 255
    alpha, tone = np.zeros((side, side), np.uint8), np.full((side, side), 200, np.uint8)
    rng = np.random.default_rng(len(shape))
    if shape == 'bracket':
        corners = [(60, 60), (420, 60), (420, 190), (200, 190), (200, 420), (60, 420)]
        cv2.fillPoly(alpha, [np.array(corners)], solid)
        for place, radius in (((110, 115), 26), ((370, 125), 34), ((130, 360), 22)):
            cv2.circle(tone, place, radius + 14, 150, -1)
            cv2.circle(tone, place, radius, 35, -1)
        for at in range(230, 350, 12):
            cv2.line(tone, (at, 75), (at, 105), 120, 2)
    elif shape == 'board':
        cv2.rectangle(alpha, (40, 90), (440, 390), solid, -1)
        for _ in range(70):
            x, y = rng.integers(50, 410), rng.integers(100, 370)
            far = (int(x + rng.integers(6, 36)), int(y + rng.integers(5, 22)))
            cv2.rectangle(tone, (int(x), int(y)), far, int(rng.integers(40, 255)), -1)
    elif shape == 'ring':
        cv2.circle(alpha, (240, 240), 195, solid, -1)
        cv2.circle(alpha, (240, 240), 80, 0, -1)
        cv2.rectangle(alpha, (225, 30), (262, 80), 0, -1)
        for turn in np.linspace(0.3, 5.6, 9):
            place = (round(240 + 140 * np.cos(turn)), round(240 + 140 * np.sin(turn)))
            cv2.circle(tone, place, int(rng.integers(8, 20)), int(rng.integers(60, 140)), -1)
        cv2.circle(tone, (240, 240), 172, 120, 3)
    elif shape == 'carton':
        cv2.rectangle(alpha, (50, 110), (430, 370), solid, -1)
        for row, words in enumerate(('LOT 4711', 'KEEP DRY', '12 x 0.5 l')):
            place = (75, 190 + 60 * row)
            cv2.putText(tone, words, place, cv2.FONT_HERSHEY_SIMPLEX, 1.5, 60, 5, cv2.LINE_AA)
        cv2.rectangle(tone, (330, 140), (410, 200), 90, -1)
    else:
        cv2.fillPoly(
            alpha, [np.array([(30, 210), (350, 150), (455, 240), (350, 330), (30, 270)])], solid
        )
        for at in range(60, 330, 22):
            cv2.line(tone, (at, 215), (at + 30, 268), 90, 3)
        cv2.circle(tone, (385, 240), 22, 40, -1)
    smooth = cv2.GaussianBlur(np.minimum(tone, 220), (0, 0), 1.5).astype(np.float32) / 220
    return smooth, cv2.GaussianBlur(alpha, (0, 0), 1.0).astype(np.float32) / solid


def _noise(rng: np.random.Generator, height: int, width: int, sigma: float) -> NDArray[np.float32]:
    """
    Cut noise of unit deviation out of one of a few large fields, which repeat at their edges.

    """
    field = _noise_field(height, width, sigma, int(rng.integers(_FIELDS)))
    shift = (int(rng.integers(height)), int(rng.integers(width)))
    return np.roll(field, shift, axis=(0, 1))


@lru_cache(maxsize=64)
def _noise_field(height: int, width: int, sigma: float, number: int) -> NDArray[np.float32]:
    margin = int(4 * sigma) + 1
    noise = np.random.default_rng([number, round(10 * sigma)]).standard_normal((height, width))
    wrapped = cv2.copyMakeBorder(noise, *(4 * [margin]), cv2.BORDER_WRAP)
    smooth = cv2.GaussianBlur(wrapped, (0, 0), sigma)[margin:-margin, margin:-margin]
    return np.asarray(smooth / smooth.std(), np.float32)


def folder_line(
    folder: Path, taught: int, seed: int, width_px: int
) -> Callable[[int, LineChange, bool], NDArray[np.uint8]]:
    """
    Give a line of real good parts in an order drawn at random; after the taught ones, the others
    come round and round.

    """
    paths = sorted(folder.iterdir())
    np.random.default_rng(seed).shuffle(paths)

    @lru_cache(maxsize=400)
    def read(at: int) -> NDArray[np.uint8]:
        image = np.asarray(cv2.imread(str(paths[at]), cv2.IMREAD_COLOR), np.uint8)
        height_px = round(image.shape[0] * width_px / image.shape[1])
        return np.asarray(
            cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_AREA), np.uint8
        )

    def render(index: int, change: LineChange, is_coarse: bool) -> NDArray[np.uint8]:
        at = index if index < taught else taught + index % (len(paths) - taught)
        rng = np.random.default_rng([seed, index])
        return changed_frame(read(at), change, part_share=None, noise_levels=0.0, rng=rng)

    return render


def products() -> list[Product]:
    """
    Give all products; the real ones only where their images are.

    """
    return [
        Product('pump body', pump(seed=1), is_held_out=False),
        Product(
            'pump body, gray, 480x360',
            pump(seed=11, is_gray=True, width_px=480, height_px=360, shift_px=4.0),
            is_held_out=False,
            scorers=('ssim',),
            scale=1.5,
        ),
        Product(
            'bracket on a bright belt',
            DrawnLine('bracket', 21, (105, 100, 90), (190, 195, 200)),
            is_held_out=False,
            scorers=('ssim', 'variation'),
        ),
        Product(
            'board, 30 taught',
            DrawnLine('board', 22, (60, 110, 50), (70, 70, 75), rotation_deg=2.0),
            is_held_out=False,
            scorers=('patch_statistics',),
            taught=30,
        ),
        Product(
            'pump body, green belt, light +-10 %',
            pump(seed=5, belt=(0.9, 1.7, 0.8), light=0.1, rotation_deg=6.0),
            is_held_out=False,
            scorers=('ssim', 'variation'),
        ),
        Product(
            'ring, gray, 30 taught',
            DrawnLine('ring', 31, (165, 165, 165), (60, 60, 60), is_gray=True, rotation_deg=5.0),
            is_held_out=False,
            taught=30,
        ),
        Product(
            'carton on a blue belt',
            DrawnLine('carton', 32, (130, 175, 205), (130, 80, 45), shift_px=5.0),
            is_held_out=True,
            scorers=('patch_statistics',),
        ),
        Product(
            'blade',
            DrawnLine('blade', 33, (190, 195, 190), (40, 45, 50), noise_levels=3.0),
            is_held_out=True,
            scorers=('ssim',),
        ),
        *real_products(),
    ]


def real_products() -> list[Product]:
    """
    Give the real products whose images are there.

    """
    found = []
    for name, scorers, taught, width_px in (
        ('mvtec_bottle', ('variation',), 60, 320),
        ('casting', ('patch_statistics',), 60, 300),
    ):
        folder = DATASETS / name / 'train' / 'good'
        if folder.is_dir():
            found.append(
                Product(
                    f'real: {name}',
                    folder_line(folder, taught, 7, width_px),
                    is_held_out=True,
                    scorers=scorers,
                    taught=taught,
                    scale=width_px / WIDTH_PX,
                    has_mask=False,
                )
            )
    return found


def faulty_lines() -> list[Product]:
    """
    Give lines that do not change, with many defective parts.

    """
    return [
        Product(f'{rate:.0%} defective', faulty_pump(seed, rate), is_held_out=True)
        for seed, rate in ((41, 0.3), (42, 0.6))
    ]
