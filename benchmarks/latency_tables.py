# SPDX-License-Identifier: Apache-2.0
"""
The report of the latency benchmark.

"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.charts import share_curves
from benchmarks.latency_result import (
    DEADLINE_S,
    HANG_S,
    HANGING,
    NAIVE,
    Observed,
    ON_TIME_S,
    RATE_HZ,
    SETTLING_PARTS,
    TAUGHT_PARTS,
    TRAVEL_S,
)
from benchmarks.report import publish, Table


def publish_figures(observed: list[Observed], seconds: float, before: dict[str, Any]) -> Path:
    """
    Write the report; give its folder.

    Parameters
    ----------
    observed : list of Observed
        The runs.
    seconds : float
        How long each ran.
    before : dict
        The machine before the runs, as `report.machine` gives it.

    """
    rows = [one.row() for one in observed]
    panels: dict[str, dict[str, list[float]]] = {}
    for one in observed:
        if one.way != HANGING:
            panels.setdefault(one.product, {})[one.way] = [1e3 * s for s in one.latency_s]
    return publish(
        'latency',
        f'{seconds:g} s of each way in turn, {TAUGHT_PARTS} parts taught, a fifth of the parts '
        f'defective. The first {SETTLING_PARTS} parts are counted but not timed.',
        [_latency(rows), _gate(rows), _hanging(rows)],
        plot=share_curves(
            'Share of frames by time from exposure to decision',
            panels,
            axis_title='ms, logarithmic',
            low=3.0,
            high=3000.0,
        ),
        figures={'seconds': seconds, 'rate_hz': RATE_HZ, 'rows': rows},
        before=before,
    )


def _latency(rows: list[dict[str, Any]]) -> Table:
    return Table(
        f'Exposure to decision at {RATE_HZ:g} frames a second',
        ('frames', 'way', 'parts', 'lost', 'p50 / ms', 'p99 / ms'),
        [
            (
                row['product'],
                row['way'],
                row['parts'],
                row['lost'],
                row['latency_ms']['p50'],
                row['latency_ms']['p99'],
            )
            for row in rows
            if row['way'] != HANGING
        ],
        'Lost: announced by the camera and not judged by its frame. Naive: SSIM of '
        'scikit-image to one picture in the image callback, no alignment, default transport, '
        'to the end of the callback; the others align, score twice, find regions, decide.',
    )


def _gate(rows: list[dict[str, Any]]) -> Table:
    return Table(
        'The gate',
        (
            'frames',
            'way',
            'parts',
            'firing error p50 / ms',
            'p99 / ms',
            'not as decided',
            'because',
        ),
        [
            (
                row['product'],
                row['way'],
                row['parts'],
                row['firing_error_ms']['p50'],
                row['firing_error_ms']['p99'],
                row['gate_not_followed'],
                '; '.join(f'{count}: {why}' for why, count in row['gate_reasons'].items()),
            )
            for row in rows
            if row['way'] != NAIVE
        ],
        'Separate processes: the sorter has its own. Firing error: of parts that passed. Not '
        'as decided: the gate did not confirm that it had followed the decision, or there was '
        'none; a gate that is told too late rejects.',
    )


def _hanging(rows: list[dict[str, Any]]) -> Table:
    return Table(
        f'The scorer frozen for {HANG_S:g} s (SIGSTOP, the line goes on)',
        ('frames', 'REJECT by time-out', 'after the deadline p50 / ms', 'p99 / ms', 'late'),
        [
            (
                row['product'],
                row['timeouts'],
                row['timeout_error_ms']['p50'],
                row['timeout_error_ms']['p99'],
                row['timeouts_late'],
            )
            for row in rows
            if row['way'] == HANGING
        ],
        f'Deadline {DEADLINE_S:g} s after the exposure, the gate {TRAVEL_S:g} s after it; '
        f'late: more than {1e3 * ON_TIME_S:g} ms after the deadline.',
    )
