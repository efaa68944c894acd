# SPDX-License-Identifier: Apache-2.0
"""
The report of the gate benchmark.

"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.charts import share_curves
from benchmarks.gate_timing_belt import (
    DEAD_TIME_S,
    TRAVEL_S,
    UNEVENNESS_S,
    VERDICT_AFTER_S,
    WINDOW_S,
)
from benchmarks.gate_timing_result import Observed, percentiles
from benchmarks.report import publish, Table

GOAL_MS = 10.0


def _row(one: Observed) -> dict[str, Any]:
    return {
        'gate': one.gate,
        'parts_per_minute': one.per_minute,
        'fault': one.fault,
        'parts': one.parts,
        'fresh_passes': one.fresh_passes,
        'wrong': one.wrong,
        'missed': one.missed,
        'without_event': one.without_event,
        'with_two_events': one.with_two_events,
        'belt_late_ms': 1e3 * one.belt_late_s,
        'firing_late_ms': percentiles(one.late_ms),
        'outcomes': dict(one.outcomes),
        'stop_after_s': one.stop_after_s,
        'stop_reasons': one.stop_reasons,
        'runs_again': one.runs_again,
        'refused_resets': one.refused_resets,
        'passed_after_reset': one.passed_after_reset,
    }


def publish_figures(observed: list[Observed], beside: str, before: dict[str, Any]) -> Path:
    """
    Write the report; give its folder.

    Parameters
    ----------
    observed : list of Observed
        The runs.
    beside : str
        What else ran on the machine.
    before : dict
        The machine before the runs, as `report.machine` gives it.

    """
    rows = [_row(one) for one in observed]
    panels: dict[str, dict[str, list[float]]] = {}
    for one in observed:
        if not one.fault:
            panel = panels.setdefault(f'{one.per_minute} parts a minute', {})
            panel[one.gate] = one.late_ms
    return publish(
        'gate_timing',
        f'The gate of a simulated belt: window {1e3 * WINDOW_S:g} ms, dead time and time-out '
        f'{1e3 * DEAD_TIME_S:g} ms, travel {TRAVEL_S:g} s, parts uneven by '
        f'+-{1e3 * UNEVENNESS_S:g} ms, verdicts {1e3 * VERDICT_AFTER_S[0]:g} to '
        f'{1e3 * VERDICT_AFTER_S[1]:g} ms after the exposure; the sorter in a process of its own, '
        f'{beside}.',
        [table for table in (_timing(rows), _faults(rows)) if table.rows],
        plot=share_curves(
            'Share of openings by time after the planned one',
            panels or {'no run without a fault': {}},
            axis_title='ms',
            low=0.0,
            high=2 * GOAL_MS,
            goal=GOAL_MS,
        ),
        figures={'beside': beside, 'rows': rows},
        before=before,
    )


def _timing(rows: list[dict[str, Any]]) -> Table:
    return Table(
        'Firing',
        (
            *('gate', 'parts/min', 'parts', 'fresh PASS', 'wrong', 'missed', 'no event'),
            *('two events', 'line stops', 'belt late / ms', 'p50 / ms', 'p99 / ms', 'max / ms'),
        ),
        [
            (
                *(row['gate'], row['parts_per_minute'], row['parts'], row['fresh_passes']),
                *(row['wrong'], row['missed'], row['without_event'], row['with_two_events']),
                len(row['stop_reasons']),
                row['belt_late_ms'],
                *row['firing_late_ms'].values(),
            )
            for row in rows
            if not row['fault']
        ],
        'Wrong: the gate was open for a part without a fresh PASS, or for no part. Missed: a '
        'part with one that the gate did not let pass. Milliseconds: from the planned time to the '
        f'movement of the gate, as the gate says; goal: p99 at most {GOAL_MS:g}. Line stops: the '
        'gate did not answer in time; reset after 0.2 s, and what is on the belt is missed. '
        'Belt late: the simulated belt and camera, at most; where that comes near the window, the '
        'machine stood still, simulated gates and all.',
    )


def _faults(rows: list[dict[str, Any]]) -> Table:
    return Table(
        'Faults',
        (
            *('gate', 'fault', 'parts', 'wrong', 'good sorted out', 'no event', 'two events'),
            *('line stop after / s', 'refused resets', 'passed after reset'),
        ),
        [
            (
                *(row['gate'], row['fault'], row['parts'], row['wrong'], row['missed']),
                *(row['without_event'], row['with_two_events'], row['stop_after_s']),
                *(row['refused_resets'], row['passed_after_reset']),
            )
            for row in rows
            if row['fault']
        ],
        'The belt runs on; what breaks is mended after 2 s; ~/reset is called every 0.2 s while '
        'the line is stopped. Good sorted out: parts with a fresh PASS that the gate could not be '
        'opened for.',
    )
