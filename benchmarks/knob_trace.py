# SPDX-License-Identifier: Apache-2.0
"""
Draw docs/images/knob_trace.svg: a knob before and after the firmware's filter.

The converter is simulated; the filter is the firmware's own.

"""

from __future__ import annotations

from collections.abc import Sequence
import subprocess
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.chart_style import DEFECT as RAW
from anomaly_inspection.chart_style import GOOD as SMOOTHED
from anomaly_inspection.chart_style import svg_chart, without_frame
from benchmarks.charts import chart_head
from benchmarks.report import ROOT
from firmware.twin.device_twin import compiled, FIRMWARE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OVERSAMPLING = 4
LARGEST_RAW = 4095
NOISE_COUNTS = 20.0
TITLE = 'A potentiometer before and after smoothing'
PICTURE = ROOT / 'docs' / 'images' / 'knob_trace.svg'


def trace(
    positions: Sequence[float], *, noise_counts: float, seed: int
) -> tuple[list[int], list[int]]:
    """
    Turn a simulated knob.

    Parameters
    ----------
    positions : sequence of float
        Positions of the knob, 0..1 of its travel, one per millisecond.
    noise_counts : float
        Standard deviation of one conversion, counts of 4096.
    seed : int
        Of the noise.

    Returns
    -------
    list of int
        Values of the converter, 0 to 4095, one per millisecond.
    list of int
        Values after the filter, 0 to 1000.

    """
    noise = np.random.default_rng(seed).normal(0, noise_counts, (len(positions), OVERSAMPLING))
    counts = LARGEST_RAW * np.asarray(positions)[:, None] + noise
    conversions = np.clip(np.rint(counts), 0, LARGEST_RAW).astype(int)
    program = compiled(
        [FIRMWARE / 'test' / 'knob_filter.cpp', *FIRMWARE.glob('lib/*/*.cpp')],
        'knob_filter',
        '-O2',
    )
    done = subprocess.run(
        [program],
        input=' '.join(str(value) for value in conversions.ravel()),
        capture_output=True,
        check=True,
        text=True,
    )
    pairs = [line.split() for line in done.stdout.splitlines()]
    return [int(raw) for raw, _ in pairs], [int(smoothed) for _, smoothed in pairs]


def turns() -> list[float]:
    """
    Give the script of the picture: still, a quick turn, still, a slow turn, still.

    """
    return [
        *np.full(1000, 0.30),
        *np.linspace(0.30, 0.80, 40),
        *np.full(1460, 0.80),
        *np.linspace(0.80, 0.55, 1000),
        *np.full(1500, 0.55),
    ]


def picture(positions: Sequence[float]) -> str:
    """
    Draw the whole script, and enlarge the quick turn and one second of stillness.

    """
    raw, smoothed = trace(positions, noise_counts=NOISE_COUNTS, seed=1)
    # On the scale of the smoothed value, see firmware/lib/scaling.
    raw_steps = [1000 * (value - 41) / (4054 - 41) for value in raw]
    whole, turn, still = slice(0, 5000, 4), slice(980, 1130), slice(3800, 4800)
    middle = 5 * round(float(np.mean(smoothed[still])) / 5)
    panels = (
        (whole, (200, 900), 'the whole script, s', 1000),
        (turn, (200, 900), 'the quick turn, ms', 1),
        (still, (middle - 20, middle + 20), 'a still knob, ms', 1),
    )

    def draw(figure: Figure) -> None:
        chart_head(
            figure,
            TITLE,
            {
                'as converted, 12 bits with noise of 20 counts (simulated)': RAW,
                'smoothed': SMOOTHED,
            },
        )
        all_axes = figure.subplots(1, len(panels), width_ratios=(2, 1, 1.1))
        for axes, (part, shown, title, unit_ms) in zip(all_axes, panels, strict=True):
            without_frame(axes, grid='y')
            shown_ms = range(len(raw))[part]
            at = (np.arange(len(shown_ms)) * shown_ms.step) / unit_ms
            for values, colour, width in ((raw_steps, RAW, 1), (smoothed, SMOOTHED, 2)):
                axes.plot(at, values[part], color=colour, linewidth=width)
            axes.set(xlim=(0, len(shown_ms) * shown_ms.step / unit_ms), ylim=shown, xlabel=title)
            axes.locator_params('x', nbins=5)
        all_axes[0].set_ylabel('steps of 1000')

    return svg_chart(draw, width_px=980, height_px=390, label=TITLE)


if __name__ == '__main__':
    PICTURE.write_text(picture(turns()) + '\n')
    print(PICTURE)
