# SPDX-License-Identifier: Apache-2.0
"""
Measure how well the pose of a part is known: parts of the simulated line, taught by default, of
several sizes, moved, turned and lit in several ways, against the truth of the simulation.

`python -m benchmarks.part_pose` prints the error of origin and axis, median and p99, over the
poses that are called sure, and how many are not. The whole takes about five minutes.

In the case with a measured edge shift, two more parts stand for the robot that touches one part in
two turns: the one nearest to the turn of the reference, and the one nearest to half a turn.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from std_msgs.msg import Header

from anomaly_inspection.capture.simulated_line import render_part, SimulatedLineSettings
from anomaly_inspection.capture.source import Frame
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.imaging.part_marks import PartMarks
from anomaly_inspection.imaging.tolerance import Tolerance
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.nodes.pose_reporter import PoseReporter
from benchmarks.report import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly_inspection.capture.simulated_frame import PartPose, SimulatedPart
    from anomaly_inspection.recipes.recipe import Recipe

_TAUGHT = 20
# Parts among which the two are chosen that the edge shift is measured with.
_TOUCHED = range(3000, 3060)
MEASURED = '640x480, in any turn, edge shift measured'
_LINE = SimulatedLineSettings(seed=31, defect_rate=0.0)
CASES = {
    '320x240': replace(_LINE, width_px=320, height_px=240, shift_px=5.0),
    '640x480': _LINE,
    '1280x960': replace(_LINE, width_px=1280, height_px=960, shift_px=24.0),
    '640x480, turned by up to 30 degrees': replace(_LINE, rotation_deg=30.0),
    '640x480, in any turn': replace(_LINE, rotation_deg=180.0),
    MEASURED: replace(_LINE, rotation_deg=180.0),
    '640x480, light up to 40 % off': replace(_LINE, light=0.4),
    '640x480, with defects': replace(_LINE, defect_rate=1.0),
}


@dataclass
class Errors:
    """
    What was measured in a case.

    """

    case: str
    parts: int
    unsure: int
    origin_px: list[float]
    axis_deg: list[float]

    def of(self, values: Sequence[float], quantile: float) -> float:
        """
        Give a quantile; NaN of nothing.

        """
        return float(np.quantile(values, quantile)) if values else math.nan


def measure(case: str, settings: SimulatedLineSettings, parts: int) -> Errors:
    """
    Teach the line of a case, and find other parts of it.

    """
    taught = replace(settings, defect_rate=0.0)
    frames = [render_part(taught, index) for index in range(_TAUGHT)]
    tolerance = Tolerance(
        shift_px=1.5 * settings.shift_px, rotation_deg=min(1.2 * settings.rotation_deg, 180.0)
    )
    options = TeachOptions(scorers=('variation',), tolerance=tolerance)
    recipe = teach([part.image for part in frames], name='pose', options=options)
    reference = next(
        part.pose for part in frames if np.array_equal(part.image, recipe.references[0])
    )
    if case == MEASURED:
        shift = _measured_edge_shift(recipe, settings, reference)
        recipe = replace(recipe, marks=PartMarks(edge_shift_px=shift))
    judge, reporter = RecipeJudge(recipe), PoseReporter(recipe)
    found = Errors(case, parts, 0, [], [])
    for index in range(1000, 1000 + parts):
        part = render_part(settings, index)
        off = _off(part, judge, reporter, reference)
        if off is None:
            found.unsure += 1
            continue
        x_px, y_px, angle_rad = off
        found.origin_px.append(math.hypot(x_px, y_px))
        found.axis_deg.append(abs(math.degrees(angle_rad)))
    return found


def _off(
    part: SimulatedPart, judge: RecipeJudge, reporter: PoseReporter, reference: PartPose
) -> tuple[float, float, float] | None:
    """
    Give by how much the pose of a part is off (x, y, turn); None when it is not sure.

    """
    origin = reporter.frame
    _, scores = judge.judge(Frame(part.image, 0, 0))
    message = reporter.message(scores[0], Header())
    if not message.is_sure:
        return None
    x_px, y_px, angle_rad = _true(part.pose, reference, origin.x_px, origin.y_px)
    off_rad = math.remainder(message.angle_rad - origin.axis_rad - angle_rad, 2 * math.pi)
    return message.x_px - x_px, message.y_px - y_px, off_rad


def _measured_edge_shift(
    recipe: Recipe, settings: SimulatedLineSettings, reference: PartPose
) -> tuple[float, float]:
    parts = [render_part(settings, index) for index in _TOUCHED]

    def beside(turn_deg: float) -> SimulatedPart:
        return min(
            parts,
            key=lambda part: abs(
                math.remainder(part.pose.angle_deg - reference.angle_deg - turn_deg, 360.0)
            ),
        )

    judge, reporter = RecipeJudge(recipe), PoseReporter(recipe)
    as_taught, turned = (_off(beside(turn), judge, reporter, reference) for turn in (0.0, 180.0))
    assert as_taught is not None
    assert turned is not None
    return (turned[0] - as_taught[0]) / 2, (turned[1] - as_taught[1]) / 2


def _true(
    pose: PartPose, reference: PartPose, x_px: float, y_px: float
) -> tuple[float, float, float]:
    """
    Give where the origin truly is, and how far the part is turned against the reference.

    """
    turned_rad = math.radians(pose.angle_deg - reference.angle_deg)
    scale = pose.scale / reference.scale
    dx_px, dy_px = x_px - reference.x_px, y_px - reference.y_px
    cosine, sine = scale * math.cos(turned_rad), scale * math.sin(turned_rad)
    return (
        pose.x_px + cosine * dx_px - sine * dy_px,
        pose.y_px + sine * dx_px + cosine * dy_px,
        # The simulation counts clockwise.
        -turned_rad,
    )


def table(rows: Sequence[Errors]) -> str:
    """
    Write a Markdown table.

    """
    lines = [
        '| parts | origin, median | p99 | axis, median | p99 | not sure |',
        '|---|--:|--:|--:|--:|--:|',
    ]
    for row in rows:
        figures = [
            *(f'{row.of(row.origin_px, q):.2f} px' for q in (0.5, 0.99)),
            *(f'{row.of(row.axis_deg, q):.2f} deg' for q in (0.5, 0.99)),
        ]
        lines.append(f'| {row.case} | {" | ".join(figures)} | {row.unsure} of {row.parts} |')
    return '\n'.join(lines)


@click.command()
@click.option('--parts', default=200, show_default=True, help='Parts of each case.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(parts: int, report: Path) -> None:
    """
    Run all cases, print the table and write part_pose.json.
    """
    before = machine()
    rows = [measure(case, settings, parts) for case, settings in CASES.items()]
    print(table(rows))
    report.mkdir(parents=True, exist_ok=True)
    content = {'machine': before, 'rows': [vars(row) for row in rows]}
    (report / 'part_pose.json').write_text(json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
    main()
