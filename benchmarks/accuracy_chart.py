# SPDX-License-Identifier: Apache-2.0
"""
The chart of the accuracy benchmark: sets by scenarios, AUROC beside false rejects.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomaly_inspection.chart_style import INK, png_chart, TEXT, without_frame
from benchmarks.accuracy_result import FEATURES
from benchmarks.accuracy_scenarios import SCENARIOS
from benchmarks.accuracy_tables import FALSE_REJECT_GOAL
from benchmarks.charts import chart_head, COLOURS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmarks.accuracy_result import Judged, Outcome

_MARKERS = ('o', 's', '^', 'D', 'v')
_ROW_PX, _HEAD_PX, _PANEL_PX = 27, 100, 84
_LOWEST_AUROC = 0.4
_FAILED = 'failed'


def chart_of(outcomes: Sequence[Outcome], share: str) -> bytes:
    """
    Draw every set as a row, every scenario as a marker; one pair of panels for each `FEATURES`.

    Parameters
    ----------
    outcomes : sequence of Outcome
        In the order of the sets.
    share : str
        Of the test images.

    Returns
    -------
    bytes
        A PNG.

    """
    features = [one for one in FEATURES if any(each.features == one for each in outcomes)]
    sets = list(dict.fromkeys(one.set_name for one in outcomes))
    used = {one.scenario for one in outcomes}
    scenarios = [one.name for one in SCENARIOS if one.name in used]
    colours = dict(zip(scenarios, COLOURS, strict=False))
    markers = dict(zip(scenarios, _MARKERS, strict=False))

    def draw(figure: Figure) -> None:
        chart_head(figure, f'Every set in every scenario ({share})', colours)
        rows = figure.subplots(len(features), 2, sharey=True, squeeze=False)
        for (left, right), each in zip(rows, features, strict=True):
            group = [one for one in outcomes if one.features == each]
            for axes, value in ((left, _auroc), (right, _false_rejects)):
                _draw_rows(axes, sets, scenarios)
                for one in group:
                    place = sets.index(one.set_name) + _offset(one.scenario, scenarios)
                    _draw_one(axes, one.judged(share), value, place, one, colours, markers)
            left.set_title(FEATURES[each])
            left.set_xlim(_LOWEST_AUROC - 0.02, 1.01)
            left.set_xlabel(f'image AUROC (below {_LOWEST_AUROC:g}: at the edge)')
            right.set_xlim(-0.01, 1.01)
            right.axvline(FALSE_REJECT_GOAL, color=INK, linewidth=1.2)
            right.xaxis.set_major_formatter(lambda tick, _: f'{tick:.0%}')
            right.set_xlabel(f'good parts rejected (line: {FALSE_REJECT_GOAL:.0%})')

    height_px = _HEAD_PX + len(features) * (_PANEL_PX + _ROW_PX * len(sets))
    return png_chart(draw, width_px=1100, height_px=height_px)


def _draw_rows(axes: Axes, sets: Sequence[str], scenarios: Sequence[str]) -> None:
    without_frame(axes, grid='x')
    axes.set_yticks(range(len(sets)), labels=list(sets))
    axes.set_ylim(len(sets) - 0.4, -0.6)
    for place in range(0, len(sets), 2):
        axes.axhspan(place - 0.5, place + 0.5, color='#f4f5f7', zorder=0)


def _draw_one(
    axes: Axes,
    judged: Judged | None,
    value: Callable[[Judged], float | None],
    place: float,
    outcome: Outcome,
    colours: dict[str, str],
    markers: dict[str, str],
) -> None:
    colour = colours[outcome.scenario]
    found = None if judged is None else value(judged)
    if found is None:
        # Beyond the axis, so that nobody takes it for a figure.
        axes.annotate(
            f'{outcome.scenario}: {_FAILED if judged is None else "undefined"}',
            (1, place),
            (4, 0),
            xycoords=('axes fraction', 'data'),
            textcoords='offset points',
            size=8,
            va='center',
            color=TEXT,
            annotation_clip=False,
        )
        return
    axes.plot(
        [found],
        [place],
        markers[outcome.scenario],
        color=colour,
        markersize=7,
        markeredgecolor='white',
        markeredgewidth=0.7,
        clip_on=False,
        zorder=4,
    )


def _offset(scenario: str, scenarios: Sequence[str]) -> float:
    """
    Keep the markers of a row apart.

    """
    return 0.19 * (scenarios.index(scenario) - (len(scenarios) - 1) / 2)


def _auroc(judged: Judged) -> float | None:
    found = judged.figure('image_auroc')
    return None if found is None else max(found.value, _LOWEST_AUROC)


def _false_rejects(judged: Judged) -> float | None:
    count, total = judged.rejected(good=True)
    return count / total if total else None
