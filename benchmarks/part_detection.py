# SPDX-License-Identifier: Apache-2.0
"""
Measure how well parts are counted on real belts: recorded sequences, counted by a person, and by
our detector with one setting for all.

The baseline is a background subtractor, with a part wherever the trigger column becomes covered.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import csv
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
import time
from typing import TYPE_CHECKING

import click
import cv2
import numpy as np

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.detecting.passage import PassageTracker, Travel
from anomaly_inspection.detecting.presence import PresenceDetector, PresenceSettings
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from benchmarks.charts import timelines
from benchmarks.real_sets import DATASETS
from benchmarks.report import machine, publish, RESULTS, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLIPS_FOLDER = 'line_clips'
PATIENCE_S = 0.2
OURS, OURS_TOLD, USUAL = 'ours', 'ours, travel told', 'background subtractor'
_NO_PART = '(not a part)'
_SHEET_PX = 300


@dataclass(frozen=True)
class Clip:
    """
    One recorded belt, as the set's README describes it.

    """

    source: str
    trigger_x_px: int
    fps: float
    travel: Travel
    region: RegionOfInterest | None = None


CLIPS = {
    'bolt': Clip('bolt/frames', 240, 16.7, Travel.TO_THE_RIGHT),
    'delta_belt': Clip(
        *('delta_belt/conveyor_belt.mp4', 214, 30.0, Travel.TO_THE_LEFT),
        RegionOfInterest(60, 200, 307, 140),
    ),
    'rice_bags': Clip('rice_bags/frames', 213, 29.65, Travel.TO_THE_LEFT),
}


@dataclass(frozen=True)
class Window:
    """
    The first and last frame in which something covered the trigger column.

    """

    enter: int
    leave: int
    is_part: bool


@dataclass
class Chosen:
    """
    The result of one method for a clip: a frame for each part that it saw.

    """

    frames: list[int] = field(default_factory=list)
    distances_px: list[float] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Tally:
    """
    Compares chosen frames with the windows; each part that was hit once is counted.

    """

    parts: int
    counted: int
    missed: int
    double: int
    elsewhere: int
    from_middle: tuple[float, ...]

    @classmethod
    def of(cls, windows: list[Window], frames: list[int]) -> Tally:
        """
        Count; frames in no part's window are 'elsewhere'.

        """
        parts = [window for window in windows if window.is_part]
        hits = [[f for f in frames if part.enter <= f <= part.leave] for part in parts]
        return cls(
            parts=len(parts),
            counted=sum(bool(hit) for hit in hits),
            missed=sum(not hit for hit in hits),
            double=sum(max(0, len(hit) - 1) for hit in hits),
            elsewhere=len(frames) - sum(len(hit) for hit in hits),
            from_middle=tuple(
                abs(hit[0] - (part.enter + part.leave) / 2)
                for part, hit in zip(parts, hits, strict=True)
                if hit
            ),
        )


def windows_of(clip: str) -> list[Window]:
    """
    Read the counts of a person.

    """
    with open(DATASETS / CLIPS_FOLDER / clip / 'events.csv', newline='') as file:
        return [
            Window(int(row['enter_frame']), int(row['leave_frame']), _NO_PART not in row['part'])
            for row in csv.DictReader(file)
        ]


def frames_of(clip: str) -> Iterator[NDArray[np.uint8]]:
    """
    Give the frames of a clip.

    """
    with open_source(str(DATASETS / CLIPS_FOLDER / CLIPS[clip].source)) as source:
        while (frame := source.read()) is not None:
            assert frame.image is not None, frame.problem
            yield frame.image


def with_ours(name: str, *, travel: Travel = Travel.EITHER) -> Chosen:
    """
    Run our detector on a clip.

    """
    clip = CLIPS[name]
    detector = PresenceDetector(
        PresenceSettings(region_of_interest=clip.region, trigger_x_px=clip.trigger_x_px)
    )
    tracker: PassageTracker[int] = PassageTracker(PATIENCE_S, travel)
    chosen = Chosen()
    for number, image in enumerate(frames_of(name)):
        began_s = time.perf_counter()
        passages = tracker.update(detector.see(image, number / clip.fps), number)
        chosen.times_ms.append(1e3 * (time.perf_counter() - began_s))
        chosen.frames += [passage.frame for passage in passages]
        chosen.distances_px += [passage.distance_px for passage in passages]
    return chosen


def with_background_subtractor(name: str) -> Chosen:
    """
    Run the baseline: OpenCV's MOG2, with a part at each rise of the covered share of the column.

    """
    clip = CLIPS[name]
    subtractor = cv2.createBackgroundSubtractorMOG2(detectShadows=False)
    chosen, covered = Chosen(), []
    for image in frames_of(name):
        began_s = time.perf_counter()
        region = clip.region or RegionOfInterest(0, 0, image.shape[1], image.shape[0])
        mask = subtractor.apply(
            image[region.y : region.y + region.height, region.x : region.x + region.width]
        )
        column = clip.trigger_x_px - region.x
        covered.append(np.count_nonzero(mask[:, column - 2 : column + 3]) > 0.2 * 5 * len(mask))
        chosen.times_ms.append(1e3 * (time.perf_counter() - began_s))
    chosen.frames = [n for n, (was, now) in enumerate(pairwise(covered), 1) if now and not was]
    return chosen


WAYS: dict[str, Callable[[str], Chosen]] = {
    OURS: with_ours,
    OURS_TOLD: lambda name: with_ours(name, travel=CLIPS[name].travel),
    USUAL: with_background_subtractor,
}


def contact_sheet(name: str, chosen: Chosen) -> NDArray[np.uint8]:
    """
    Draw the chosen frames of a clip side by side, with the trigger column.

    """
    clip, tiles = CLIPS[name], []
    for number, image in enumerate(frames_of(name)):
        if number not in chosen.frames:
            continue
        tile = image.copy()
        cv2.line(tile, (clip.trigger_x_px, 0), (clip.trigger_x_px, len(tile)), (0, 0, 255), 1)
        if clip.region is not None:
            region = clip.region
            tile = tile[region.y : region.y + region.height, region.x : region.x + region.width]
        size = (_SHEET_PX, round(_SHEET_PX * tile.shape[0] / tile.shape[1]))
        tile = cv2.resize(tile, size, interpolation=cv2.INTER_AREA)
        cv2.putText(tile, f'{name} {number}', (6, 18), 0, 0.5, (0, 0, 255), 1, cv2.LINE_AA)
        tiles.append(cv2.copyMakeBorder(tile, 0, 4, 0, 4, cv2.BORDER_CONSTANT, value=(255,) * 3))
    across = min(4, len(tiles))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % across)
    rows = [np.hstack(tiles[n : n + across]) for n in range(0, len(tiles), across)]
    return np.asarray(np.vstack(rows), np.uint8)


def measure(folder: Path | None = None) -> Path:
    """
    Count the parts of every clip with every method.

    Returns
    -------
    Path
        The folder of the report, with a sheet of the chosen frames of each clip.

    """
    before = machine()
    folder = folder or RESULTS / 'part_detection'
    folder.mkdir(parents=True, exist_ok=True)
    rows, figures, drawn = [], {}, {}
    for name in CLIPS:
        windows = windows_of(name)
        chosen = {way: look(name) for way, look in WAYS.items()}
        cv2.imwrite(str(folder / f'{name}.png'), contact_sheet(name, chosen[OURS]))
        drawn[name] = (
            [(window.enter, window.leave, window.is_part) for window in windows],
            {way: found.frames for way, found in chosen.items()},
        )
        for way, found in chosen.items():
            tally = Tally.of(windows, found.frames)
            middle = float(np.median(tally.from_middle)) if tally.from_middle else None
            distance = float(np.median(found.distances_px)) if found.distances_px else None
            farthest = max(found.distances_px, default=None)
            ms = float(np.median(found.times_ms))
            rows.append(
                (
                    *(name, way, tally.parts, tally.counted, tally.missed, tally.double),
                    *(tally.elsewhere, middle, distance, farthest, ms),
                )
            )
            figures[f'{name}, {way}'] = {
                'parts': tally.parts,
                'counted': tally.counted,
                'missed': tally.missed,
                'double': tally.double,
                'elsewhere': tally.elsewhere,
                'frames_from_middle': list(tally.from_middle),
                'distances_px': found.distances_px,
                'ms_a_frame': ms,
            }
    table = Table(
        'Parts counted',
        (
            *('clip', 'way', 'parts', 'counted', 'missed', 'double', 'elsewhere'),
            *('frames from the middle', 'px from the column', 'worst px', 'ms a frame'),
        ),
        rows,
        'Counted: a chosen frame in which that part covers the trigger column. Elsewhere: chosen '
        'frames in which none does. In delta_belt a hand throws a pack over the column against '
        'the belt, which then brings it back: that is no part, but only a detector that knows the '
        'direction of the belt can tell. Frames from the middle of the time the part covers the '
        'column and pixels from its own middle to the column: medians.',
    )
    publish(
        'part_detection',
        'Real belts (line_clips), one setting for all: the defaults of the part detector, with '
        'region and trigger column as the README of the set tells them; travel told: and which '
        'way the belt runs.',
        [table],
        plot=timelines('Parts over the trigger column, and the frames chosen', drawn),
        figures={'clips': figures},
        before=before,
        folder=folder,
    )
    return folder


@click.command()
def main() -> None:
    """
    Count parts on the recorded belts.
    """
    if not (DATASETS / CLIPS_FOLDER).is_dir():
        click.echo(f'The recorded belts are missing (../shared/datasets/{CLIPS_FOLDER}).')
        return
    measure()


if __name__ == '__main__':
    main()
