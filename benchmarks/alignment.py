# SPDX-License-Identifier: Apache-2.0
"""
Measure how well parts are aligned. Good images of real sets are moved by a known amount, get other
light and noise, and are brought back by our alignment, by ECC, by the true motion, and not at all.

SSIM compares an aligned image with its own original, over the pixels visible in both. The unmoved
image under the same light and noise shows the best possible SSIM.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import csv
from dataclasses import dataclass
import math
from pathlib import Path
import time
from typing import Any, TYPE_CHECKING

import click
import cv2
import numpy as np

from anomaly_inspection.capture.simulated_line import render_part, SimulatedLineSettings
from anomaly_inspection.errors import AlignmentError
from anomaly_inspection.imaging.alignment import Alignment, AlignmentSettings
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.light import LightMeter
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings, Preprocessor
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.scoring.ssim import SsimReference
from benchmarks.alignments import ecc, error_px
from benchmarks.charts import share_curves
from benchmarks.real_sets import DATASETS, FIRST_SETS, REGIONS
from benchmarks.report import machine, publish, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Gray = NDArray[np.uint8]
    Map = NDArray[np.float64]

SIMULATED = 'simulated line'
LINE = SimulatedLineSettings(
    seed=21, defect_rate=0.0, shift_px=0.0, rotation_deg=0.0, light=0.0, noise_levels=0.0
)

IMAGES = 20
SHIFT_PX, TURN_DEG, LIGHT, NOISE_LEVELS = 12.0, 8.0, 0.25, 4.0
SETTINGS = PreprocessingSettings(
    light='gain_offset',
    alignment=AlignmentSettings(kind='rigid', search_px=16.0, search_deg=10.0),
)
LARGEST_LOSS = 0.03
# A part that is further off than this is compared with the wrong places.
MISALIGNED_PX = 3.0
# A window with a single pixel from outside is left out.
_WINDOW_PX = 9

OURS, ECC, TRUE, NONE = 'ours', 'ECC, quarter size', 'true motion', 'not aligned'


@dataclass(frozen=True)
class Case:
    """
    One moved image, aligned in one way.

    Parameters
    ----------
    error_px : float
        Root mean square over the part; infinite = refused.
    loss : float
        SSIM of the unmoved image under the same light and noise, minus that of the aligned one;
        infinite = refused.
    time_ms : float
        For the alignment alone; ours includes the check of the frame and the warp.

    """

    error_px: float
    loss: float
    time_ms: float

    @property
    def is_refused(self) -> bool:
        """
        Tell whether the alignment was refused.

        """
        return math.isinf(self.error_px)


def good_images(name: str, count: int = IMAGES) -> list[Gray]:
    """
    Give this many good images of a set as gray frames, spread evenly over it.

    """
    if name == SIMULATED:
        return [
            np.asarray(cv2.cvtColor(render_part(LINE, index).image, cv2.COLOR_BGR2GRAY), np.uint8)
            for index in range(count)
        ]
    with (DATASETS / name / 'labels.csv').open(newline='') as lines:
        files = [
            row['file']
            for row in csv.DictReader(lines)
            if row['label'] == 'good' and row['file'].startswith('train')
        ]
    places = np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)
    images = [cv2.imread(str(DATASETS / name / files[i]), cv2.IMREAD_GRAYSCALE) for i in places]
    return [np.asarray(image, np.uint8) for image in images]


def cases_of(
    image: Gray, region: RegionOfInterest, moves: int, rng: np.random.Generator
) -> Iterator[dict[str, Case]]:
    """
    Move one image several times and align it in every way.

    """
    height, width = image.shape
    whole = RegionOfInterest(0, 0, width, height)
    corner = np.array([[1.0, 0.0, region.x], [0.0, 1.0, region.y], [0.0, 0.0, 1.0]])
    frame_format = FrameFormat(width, height, 'mono8')
    preprocessor = Preprocessor(
        PreprocessingSettings(
            region_of_interest=region, light=SETTINGS.light, alignment=SETTINGS.alignment
        ),
        frame_format,
        image,
    )
    rows, columns = (
        slice(region.y, region.y + region.height),
        slice(region.x, region.x + region.width),
    )
    reference = np.ascontiguousarray(image[rows, columns])
    meter = LightMeter(SETTINGS.light, reference)

    def ours(frame: Gray) -> Map | None:
        try:
            return preprocessor.prepare(frame).to_frame
        except AlignmentError:
            return None

    def quarter_size_ecc(frame: Gray) -> Map | None:
        found = ecc(
            np.ascontiguousarray(_cut(image, region)), np.ascontiguousarray(_cut(frame, region))
        )
        return None if found is None else np.asarray((corner @ np.vstack([found, [0, 0, 1]]))[:2])

    for _ in range(moves):
        x_px, y_px = rng.uniform(-SHIFT_PX, SHIFT_PX, 2)
        angle_rad = math.radians(rng.uniform(-TURN_DEG, TURN_DEG))
        motion = Alignment(float(x_px), float(y_px), angle_rad, 1.0, 1.0).to_frame(whole)
        gain = rng.uniform(1 - LIGHT, 1 + LIGHT)
        noise = rng.normal(0, NOISE_LEVELS, image.shape)
        moved = cv2.warpAffine(
            image.astype(np.float32),
            motion,
            (width, height),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        frame, still = (_photographed(scene, gain, noise) for scene in (moved, image))
        true = np.asarray((np.vstack([motion, [0, 0, 1]]) @ corner)[:2])
        visible = _seen(true, image.shape, region)
        ways: dict[str, Callable[[Gray], Map | None]] = {
            OURS: ours,
            ECC: quarter_size_ecc,
            TRUE: lambda frame, true=true: true,  # type: ignore[misc]
            NONE: lambda frame: corner[:2],
        }
        cases = {}
        for name, way in ways.items():
            began_s = time.perf_counter()
            found = way(frame)
            time_ms = 1e3 * (time.perf_counter() - began_s)
            if found is None:
                cases[name] = Case(math.inf, math.inf, time_ms)
                continue
            valid = visible & _seen(found, image.shape, region)
            aligned = _laid(frame, found, region)
            loss = math.inf
            if valid.any():
                unmoved = meter.measure(_cut(still, region), visible).remove(_cut(still, region))
                aligned = meter.measure(aligned, valid).remove(aligned)
                loss = _similarity(unmoved, reference, valid) - _similarity(
                    aligned, reference, valid
                )
            error = error_px(found, true, 0, 0, region.width - 1, region.height - 1)
            cases[name] = Case(error, loss, time_ms)
        yield cases


def _photographed(scene: NDArray[Any], gain: float, noise: NDArray[np.float64]) -> Gray:
    return np.clip(np.rint(scene * gain + noise), 0, 255).astype(np.uint8)


def _cut(image: Gray, region: RegionOfInterest) -> Gray:
    return image[region.y : region.y + region.height, region.x : region.x + region.width]


def _laid(frame: Gray, to_frame: Map, region: RegionOfInterest) -> Gray:
    laid = cv2.warpAffine(
        frame,
        to_frame,
        (region.width, region.height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(laid, np.uint8)


def _seen(to_frame: Map, shape: tuple[int, ...], region: RegionOfInterest) -> NDArray[np.bool_]:
    """
    Give the places where whole SSIM windows of the region lie inside the frame.

    """
    ones = np.ones(shape, np.uint8)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(ones, to_frame, (region.width, region.height), flags=flags)
    window = np.ones((_WINDOW_PX, _WINDOW_PX), np.uint8)
    return np.asarray(cv2.erode(seen, window, borderValue=0), np.uint8) > 0


def _similarity(image: Gray, reference: Gray, where: NDArray[np.bool_]) -> float:
    first, second = (SsimReference.of(np.ascontiguousarray(one)) for one in (image, reference))
    return float(first.similarity_map(second)[where].mean())


def _row(name: str, way: str, cases: list[Case]) -> dict[str, Any]:
    errors = [case.error_px for case in cases if not case.is_refused]
    losses = [case.loss for case in cases if math.isfinite(case.loss)]
    return {
        'set': name,
        'way': way,
        'cases': len(cases),
        'error_px': {'p50': _percentile(errors, 50), 'p95': _percentile(errors, 95)},
        'ssim_loss': {'p50': _percentile(losses, 50), 'p95': _percentile(losses, 95)},
        'within_goal': sum(case.loss <= LARGEST_LOSS for case in cases) / len(cases),
        'refused': sum(case.is_refused for case in cases) / len(cases),
        'misaligned_passed': sum(error > MISALIGNED_PX for error in errors),
        'time_ms': math.nan
        if way in (TRUE, NONE)
        else _percentile([case.time_ms for case in cases], 50),
    }


def _percentile(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else math.nan


def measure(
    moves: int, *, sets: tuple[str, ...] | None = None, folder: Path | None = None
) -> Path:
    """
    Move, align and compare.

    Parameters
    ----------
    moves : int
        How often each image is moved.
    sets : tuple of str, optional
        Names of sets; by default the simulated line and the real sets that are there.
    folder : Path, optional
        Where the report goes.

    Returns
    -------
    Path
        The folder of the report.

    """
    before = machine()
    cv2.setNumThreads(1)
    chosen = sets or (SIMULATED, *(name for name in FIRST_SETS if (DATASETS / name).is_dir()))
    by_set: dict[str, dict[str, list[Case]]] = {}
    for name in chosen:
        rng = np.random.default_rng(7)
        ways = by_set[name] = {way: [] for way in (OURS, ECC, TRUE, NONE)}
        for image in good_images(name):
            region = REGIONS.get(name) or RegionOfInterest(0, 0, image.shape[1], image.shape[0])
            for cases in cases_of(image, region, moves, rng):
                for way, case in cases.items():
                    ways[way].append(case)
    rows = [_row(name, way, cases) for name, ways in by_set.items() for way, cases in ways.items()]
    table = Table(
        'Alignment to the original, after a move and with other light and noise',
        (
            'set',
            'way',
            'cases',
            'error p50 / px',
            'p95 / px',
            'SSIM lost p50',
            'p95',
            f'lost <= {LARGEST_LOSS:g}',
            'refused',
            f'passed > {MISALIGNED_PX:g} px off',
            'ms',
        ),
        [
            (
                row['set'],
                row['way'],
                row['cases'],
                row['error_px']['p50'],
                row['error_px']['p95'],
                *(f'{row["ssim_loss"][key]:+.3f}' for key in ('p50', 'p95')),
                f'{100 * row["within_goal"]:.0f} %',
                f'{100 * row["refused"]:.0f} %',
                row['misaligned_passed'],
                row['time_ms'],
            )
            for row in rows
        ],
        'SSIM lost: that of the unmoved image under the same light and noise, minus that of the '
        'aligned one, over pixels visible in both; below 0 because the warp smooths the noise. '
        'Refused cases count as lost. "True motion" is what a perfect alignment would give.',
    )
    absent = [name for name in FIRST_SETS if name not in chosen] if sets is None else []
    missing = f' Missing in ../shared/datasets: {", ".join(absent)}.' if absent else ''
    return publish(
        'alignment',
        f'{IMAGES} good images of each set (fewer where there are fewer), moved {moves} times '
        f'each by up to {SHIFT_PX:g} px and {TURN_DEG:g} degrees, brightness '
        f'+-{100 * LIGHT:g} %, noise of {NOISE_LEVELS:g} gray levels; one thread.{missing}',
        [table],
        plot=share_curves(
            'Share of cases by SSIM lost (dashed: the goal)',
            {
                name: {way: [case.loss for case in cases] for way, cases in ways.items()}
                for name, ways in by_set.items()
            },
            axis_title='SSIM lost at most',
            low=-0.1,
            high=0.3,
            goal=LARGEST_LOSS,
        ),
        figures={'rows': rows},
        before=before,
        folder=folder,
    )


@click.command()
@click.option('--moves', type=click.IntRange(1), default=3, show_default=True)
@click.option('--set', 'sets', multiple=True, help='Name of a set; may be given several times.')
def main(moves: int, sets: tuple[str, ...]) -> None:
    """
    Measure how well parts are aligned, beside ECC and the true motion.
    """
    for name in sets:
        if name != SIMULATED and not (DATASETS / name).is_dir():
            raise click.BadParameter(f'there is no set {name} in ../shared/datasets')
    measure(moves, sets=sets or None)


if __name__ == '__main__':
    main()
