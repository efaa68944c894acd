# SPDX-License-Identifier: Apache-2.0
"""
Measure the time of scoring: our SSIM map against scikit-image's, our alignment against textbook
ones, whole frames, and many references against one.

Things that are compared are timed in turn. The run also checks that our map equals scikit-image's.

"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TYPE_CHECKING

import click
import cv2
import numpy as np

from anomaly_inspection.capture.simulated_line import (
    PartPose,
    render_part,
    SimulatedLineSettings,
)
from anomaly_inspection.errors import InspectionError
from anomaly_inspection.imaging.preprocessing import Preprocessor
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.nodes.freed_memory import keep_freed_memory
from anomaly_inspection.scoring import one_pass
from anomaly_inspection.scoring.ssim import SsimReference, SsimScorer
from benchmarks.alignments import ecc, error_px, orb, phase_correlation
from benchmarks.charts import bars
from benchmarks.patch_scorers import patch_scorers, patch_table
from benchmarks.report import machine, publish, Table, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.recipes.recipe import Recipe

LINE = SimulatedLineSettings(seed=11, defect_rate=0.0)
SIZES = ((640, 480), (1280, 960), (2448, 2048))
TAUGHT_PARTS, FRAMES = 24, 8
# float32 against float64, for a map from -1 to 1.
LARGEST_DIFFERENCE = 1e-4
OURS, SCIKIT_IMAGE = 'ours', 'scikit-image'
SCIKIT_IMAGE_MAP = 'scikit-image, SSIM map'


@contextmanager
def opencv_threads(count: int) -> Iterator[None]:
    """
    Let OpenCV use this many threads.

    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _scikit_image_map(
    reference: NDArray[np.uint8], image: NDArray[np.uint8]
) -> NDArray[np.float64]:
    from skimage.metrics import structural_similarity

    full: NDArray[np.float64] = structural_similarity(  # type: ignore[no-untyped-call]
        reference, image, data_range=255, full=True
    )[1]
    return full


@contextmanager
def numpy_alone() -> Iterator[None]:
    """
    Score without the C++ functions, as where only `pip install .` was run.

    """
    before, one_pass._library = one_pass._library, None
    try:
        yield
    finally:
        one_pass._library = before


def ssim_maps(repeats: int, sizes: tuple[tuple[int, int], ...]) -> list[dict[str, Any]]:
    """
    Time the SSIM map against one reference, and check that both ways give the same.

    """
    results = []
    for width, height in sizes:
        line = replace(LINE, width_px=width, height_px=height)
        reference, image = (_gray(render_part(line, index).image) for index in (0, 1))
        cached = SsimReference.of(reference)

        # The defaults bind values that the next round of the loop replaces.
        def ours(
            _: int, cached: SsimReference = cached, image: NDArray[np.uint8] = image
        ) -> NDArray[np.float32]:
            return cached.similarity_map(SsimReference.of(image))

        def theirs(
            _: int, reference: NDArray[np.uint8] = reference, image: NDArray[np.uint8] = image
        ) -> NDArray[np.float64]:
            return _scikit_image_map(reference, image)

        difference = float(np.abs(ours(0) - theirs(0)).max())
        if difference > LARGEST_DIFFERENCE:
            raise AssertionError(f'SSIM maps differ by {difference} at {width}x{height}')
        # A large map of scikit-image takes a second.
        rounds = max(3, round(repeats * 640 * 480 / (width * height)))
        calls: dict[str, Callable[[int], object]] = {OURS: ours, SCIKIT_IMAGE: theirs}
        with opencv_threads(1):
            timing = timed(calls, repeats=rounds, in_a_row=5)
            cold = timed(calls, repeats=rounds)
        results.append(
            {
                'size': f'{width}x{height}',
                'ours': timing[OURS],
                'scikit_image': timing[SCIKIT_IMAGE],
                'times_as_fast': timing[SCIKIT_IMAGE].p50 / timing[OURS].p50,
                'ours_cold': cold[OURS],
                'times_as_fast_cold': cold[SCIKIT_IMAGE].p50 / cold[OURS].p50,
                'largest_difference': difference,
                'repeats': rounds,
            }
        )
    return results


@lru_cache
def _frames(colour: str) -> tuple[NDArray[np.uint8], ...]:
    parts = (render_part(LINE, index).image for index in range(TAUGHT_PARTS + FRAMES))
    return tuple(_gray(image) if colour == 'gray' else image for image in parts)


@lru_cache
def _taught(colour: str) -> Recipe:
    """
    Teach on the first frames, and keep colour where teaching alone would drop it.

    """
    settings = None
    if colour == 'bgr':
        settings = replace(_taught('gray').preprocessing, colour=colour)
    return teach(
        _frames(colour)[:TAUGHT_PARTS],
        name='bench',
        options=TeachOptions(scorers=('ssim', 'variation'), preprocessing=settings),
    )


def _on_each(
    images: Sequence[NDArray[np.uint8]], work: Callable[[NDArray[np.uint8]], object]
) -> Callable[[int], object]:
    return lambda index: work(images[index % len(images)])


def whole_frames(repeats: int) -> list[dict[str, Any]]:
    """
    Time everything that is done with a frame: preparation, both scorers, regions.

    """
    results = []
    for colour in ('gray', 'bgr'):
        recipe, new = _taught(colour), _frames(colour)[TAUGHT_PARTS:]
        preprocessor = Preprocessor(
            recipe.preprocessing, recipe.frame_format, recipe.references[0], recipe.references[1:]
        )
        gray = [image if image.ndim == 2 else _gray(image) for image in new]
        with numpy_alone():
            by_numpy = recipe.frame_scorer().score

        def frame_by_numpy(
            image: NDArray[np.uint8], score: Callable[[NDArray[np.uint8]], object] = by_numpy
        ) -> object:
            with numpy_alone():
                return score(image)

        reference = _taught('gray').references[0]
        calls: dict[str, Callable[[int], object]] = {
            SCIKIT_IMAGE_MAP: _on_each(gray, partial(_scikit_image_map, reference)),
            'whole frame': _on_each(new, recipe.frame_scorer().score),
            'whole frame, NumPy alone': _on_each(new, frame_by_numpy),
            'preparation': _on_each(new, preprocessor.prepare),
        }
        for name in recipe.scorers:
            calls[f'{name} alone'] = _on_each(new, recipe.frame_scorer([name]).score)
        for threads in (1, 2):
            with opencv_threads(threads):
                timing = timed(calls, repeats=repeats)
            results += [
                {
                    'frame': f'640x480 {colour}',
                    'threads': threads,
                    'what': name,
                    'time': time,
                    'share': time.p50 / timing[SCIKIT_IMAGE_MAP].p50,
                }
                for name, time in timing.items()
            ]
    return results


def _pose_map(pose: PartPose) -> NDArray[np.float64]:
    turn = pose.scale * np.exp(1j * np.radians(pose.angle_deg))
    return np.array(
        [[turn.real, -turn.imag, pose.x_px], [turn.imag, turn.real, pose.y_px], [0, 0, 1]]
    )


def alignments(repeats: int) -> list[dict[str, Any]]:
    """
    Time alignment alone, ours and textbook ones, on parts with a known pose.

    """
    parts = [render_part(LINE, index) for index in range(TAUGHT_PARTS + FRAMES)]
    images = _frames('gray')
    recipe = _taught('gray')
    reference = recipe.references[0]
    at = next(
        place
        for place, image in enumerate(images[:TAUGHT_PARTS])
        if np.array_equal(image, reference)
    )
    new = list(range(TAUGHT_PARTS, TAUGHT_PARTS + FRAMES))
    still = replace(
        recipe.preprocessing, light='none', filters=(), colour='gray', region_of_interest=None
    )
    preprocessor = Preprocessor(still, recipe.frame_format, reference, recipe.references[1:])

    def ours(image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        try:
            return preprocessor.prepare(image).to_frame
        except InspectionError:
            return None

    ways: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.float64] | None]] = {
        OURS: ours,
        'ECC, quarter size': lambda image: ecc(reference, image),
        'phase correlation': lambda image: phase_correlation(reference, image),
        'ORB and RANSAC': lambda image: orb(reference, image),
    }
    with opencv_threads(1):
        timing = timed(
            {name: _on_each([images[i] for i in new], way) for name, way in ways.items()},
            repeats=repeats,
        )
        results = []
        for name, way in ways.items():
            errors_px = []
            for index in new:
                found = way(images[index])
                true = _pose_map(parts[index].pose) @ np.linalg.inv(_pose_map(parts[at].pose))
                pose = parts[at].pose
                errors_px.append(
                    float('inf')
                    if found is None
                    else error_px(found, true[:2], pose.x_px - 145, pose.y_px - 145, 290, 290)
                )
            results.append(
                {'way': name, 'time': timing[name], 'error_px': float(np.median(errors_px))}
            )
    return results


def many_references(repeats: int) -> list[dict[str, Any]]:
    """
    Time SSIM scoring with one reference and with twenty, beside trying each of the twenty.

    """
    recipe = _taught('gray')
    preprocessor = Preprocessor(
        recipe.preprocessing, recipe.frame_format, recipe.references[0], recipe.references[1:]
    )
    prepared = [preprocessor.prepare(image) for image in _frames('gray')]
    one, twenty = (
        SsimScorer.fit(
            prepared[:TAUGHT_PARTS], {**SsimScorer.default_settings, 'references': count}
        )
        for count in (1, 20)
    )
    cached = [SsimReference.of(each.image) for each in prepared[:20]]

    def each_of_twenty(index: int) -> float:
        moments = SsimReference.of(prepared[TAUGHT_PARTS + index % FRAMES].image)
        return max(float(reference.similarity_map(moments).mean()) for reference in cached)

    with opencv_threads(1):
        timing = timed(
            {
                '1 reference': lambda i: one.score(prepared[TAUGHT_PARTS + i % FRAMES]),
                '20 references': lambda i: twenty.score(prepared[TAUGHT_PARTS + i % FRAMES]),
                '20 references, each one tried': each_of_twenty,
            },
            repeats=repeats,
        )
    first = timing['1 reference'].p50
    return [
        {'what': name, 'time': time, 'times_one': time.p50 / first}
        for name, time in timing.items()
    ]


def _tables(figures: Mapping[str, list[dict[str, Any]]]) -> list[Table]:
    return [
        Table(
            'SSIM map against one reference, gray, median',
            (
                'size',
                'ours / ms',
                'scikit-image / ms',
                'times',
                'ours, cold / ms',
                'times, cold',
                'largest difference',
            ),
            [
                (
                    row['size'],
                    row['ours'].p50,
                    row['scikit_image'].p50,
                    row['times_as_fast'],
                    row['ours_cold'].p50,
                    row['times_as_fast_cold'],
                    f'{row["largest_difference"]:.1e}',
                )
                for row in figures['ssim_maps']
            ],
            'One thread each. The moments of the reference are taken once, those of the image '
            'every time. scikit-image: uniform 7x7 window, full map. Five calls in a row; cold: '
            'one of each in turn, so that each finds the cache filled by the other.',
        ),
        Table(
            'A whole frame of 640x480: preparation (alignment included), ssim, variation, regions',
            ('frame', 'what', 'OpenCV threads', 'p50 / ms', 'p99 / ms', 'share of scikit-image'),
            [
                (
                    row['frame'],
                    row['what'],
                    row['threads'],
                    row['time'].p50,
                    row['time'].p99,
                    row['share'],
                )
                for row in figures['whole_frames']
            ],
            '"Alone": preparation and that scorer. NumPy alone: without the C++ functions. Share: '
            'of the time that scikit-image takes for the SSIM map of the gray frame. Freed memory '
            'is kept for the next frame, as in the scorer node.'
            + ('' if one_pass.is_built() else ' The C++ functions are not built here.'),
        ),
        Table(
            'Alignment alone, 640x480 gray, one thread',
            ('way', 'p50 / ms', 'p99 / ms', 'median error / px'),
            [
                (row['way'], row['time'].p50, row['time'].p99, row['error_px'])
                for row in figures['alignments']
            ],
            'Ours is timed with the check of the frame and the warp of the image, the others '
            'find the map and no more. Error: root mean square over the part. Parts '
            'differ in size by up to 0.3 %, which a rigid map cannot follow and ORB does.',
        ),
        Table(
            'SSIM scorer with many references, 640x480 gray, one thread',
            ('what', 'p50 / ms', 'p99 / ms', 'times one reference'),
            [
                (row['what'], row['time'].p50, row['time'].p99, row['times_one'])
                for row in figures['references']
            ],
        ),
        patch_table(figures['patch_scorers']),
    ]


def _plot(figures: Mapping[str, list[dict[str, Any]]]) -> str:
    return bars(
        'Median time of one call',
        {
            **{
                f'SSIM map, {row["size"]}': {
                    OURS: row['ours'].p50,
                    SCIKIT_IMAGE: row['scikit_image'].p50,
                }
                for row in figures['ssim_maps']
            },
            'Alignment, 640x480': {row['way']: row['time'].p50 for row in figures['alignments']},
            'SSIM scorer, 640x480': {
                row['what'] if 'each' in row['what'] else f'{OURS}, {row["what"]}': row['time'].p50
                for row in figures['references']
            },
            'Whole frame': {
                f'{OURS}, {row["frame"]}, {row["threads"]} thr.': row['time'].p50
                for row in figures['whole_frames']
                if row['what'] == 'whole frame'
            },
        },
        unit='ms',
        ours=OURS,
    )


def measure(
    repeats: int, *, sizes: tuple[tuple[int, int], ...] = SIZES, folder: Path | None = None
) -> Path:
    """
    Run all timings.

    Parameters
    ----------
    repeats : int
        Repeats of each timing; fewer for large SSIM maps.
    sizes : tuple of (int, int)
        Width and height of the SSIM maps.
    folder : Path, optional
        Where the report goes.

    Returns
    -------
    Path
        The folder of the report.

    """
    before = machine()
    keep_freed_memory()
    figures = {
        'ssim_maps': ssim_maps(repeats, sizes),
        'whole_frames': whole_frames(repeats),
        'alignments': alignments(repeats),
        'references': many_references(repeats),
        'patch_scorers': patch_scorers(
            _frames('bgr'), TAUGHT_PARTS, repeats, _scikit_image_map, numpy_alone
        ),
    }
    return publish(
        'scoring',
        f'Medians over {repeats} calls (large SSIM maps: fewer), what is compared timed in turn. '
        'Parts of the simulated line.',
        _tables(figures),
        plot=_plot(figures),
        figures=figures,
        before=before,
        folder=folder,
    )


@click.command()
@click.option('--repeats', type=click.IntRange(3), default=60, show_default=True)
def main(repeats: int) -> None:
    """
    Measure how long scoring takes, beside scikit-image and the textbook's alignments.
    """
    measure(repeats)


if __name__ == '__main__':
    main()
