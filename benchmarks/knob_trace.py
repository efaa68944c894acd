# SPDX-License-Identifier: Apache-2.0
"""
A knob before and after the firmware's filter, as a picture: docs/images/knob_trace.svg.

The converter is simulated, the filter is the firmware's own.

"""

from __future__ import annotations

from collections.abc import Sequence
import subprocess

import numpy as np

from benchmarks.report import ROOT
from firmware.twin.device_twin import compiled, FIRMWARE

OVERSAMPLING = 4
LARGEST_RAW = 4095
NOISE_COUNTS = 20.0
PICTURE = ROOT / 'docs' / 'images' / 'knob_trace.svg'

_INK, _TEXT, _GRID, _RAW, _SMOOTHED = '#1d1f23', '#5c636e', '#e3e6ea', '#c9862f', '#2f6fab'


def trace(
    positions: Sequence[float], *, noise_counts: float, seed: int
) -> tuple[list[int], list[int]]:
    """
    Turn a simulated knob.

    Parameters
    ----------
    positions : sequence of float
        Where it stands, 0..1 of its travel, one a millisecond.
    noise_counts : float
        Standard deviation of one conversion, counts of 4096.
    seed : int
        Of the noise.

    Returns
    -------
    list of int
        As converted, 0 to 4095, one a millisecond.
    list of int
        After the filter, 0 to 1000.

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
    The script of the picture: still, a quick turn, still, a slow turn, still.

    """
    return [
        *np.full(1000, 0.30),
        *np.linspace(0.30, 0.80, 60),
        *np.full(1440, 0.80),
        *np.linspace(0.80, 0.55, 1000),
        *np.full(1500, 0.55),
    ]


def picture(positions: Sequence[float]) -> str:
    """
    Draw the whole script, and beside it one second of stillness, enlarged.

    """
    raw, smoothed = trace(positions, noise_counts=NOISE_COUNTS, seed=1)
    raw_steps = [1000 * value / LARGEST_RAW for value in raw]
    still = slice(1500, 2500)
    middle = round(float(np.mean(smoothed[still])))
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="980" height="400" '
        'viewBox="0 0 980 400" font-family="sans-serif" font-size="13">',
        '<rect width="980" height="400" fill="#ffffff"/>',
        _text(64, 30, 'A potentiometer before and after smoothing', size=16, colour=_INK),
        _text(64, 50, '12-bit converter with noise of 20 counts; steps of 1000'),
        *_panel(64, 560, raw_steps, smoothed, (200, 900), 100, 1000, 'whole script, s'),
        *_panel(
            680,
            270,
            raw_steps[still],
            smoothed[still],
            (middle - 20, middle + 20),
            5,
            250,
            'a still knob, one second, enlarged',
        ),
        f'<rect x="430" y="20" width="14" height="10" fill="{_RAW}"/>',
        _text(450, 30, 'as converted'),
        f'<rect x="550" y="20" width="14" height="10" fill="{_SMOOTHED}"/>',
        _text(570, 30, 'smoothed'),
        '</svg>',
    ]
    return '\n'.join(parts) + '\n'


def _panel(
    left: float,
    width: float,
    raw: Sequence[float],
    smoothed: Sequence[float],
    shown: tuple[float, float],
    tick_steps: int,
    tick_ms: int,
    title: str,
) -> list[str]:
    top, height = 76, 260
    low, high = shown

    def x_at(time_ms: float) -> float:
        return left + width * time_ms / len(raw)

    def y_at(value: float) -> float:
        return top + height * (high - min(max(value, low), high)) / (high - low)

    def curve(values: Sequence[float], colour: str, thickness: float) -> str:
        points = ' '.join(f'{x_at(at):.1f},{y_at(value):.1f}' for at, value in enumerate(values))
        return (
            f'<polyline points="{points}" fill="none" stroke="{colour}" '
            f'stroke-width="{thickness}" stroke-linejoin="round"/>'
        )

    parts = []
    for value in range(int(low), int(high) + 1, tick_steps):
        y = y_at(value)
        parts.append(f'<path d="M{left} {y:.1f}h{width}" stroke="{_GRID}"/>')
        parts.append(_text(left - 8, y + 4, str(value), anchor='end'))
    for time_ms in range(0, len(raw) + 1, tick_ms):
        parts.append(_text(x_at(time_ms), top + height + 20, f'{time_ms / 1000:g}', 'middle'))
    parts.append(_text(left + width / 2, top + height + 44, title, 'middle'))
    return [*parts, curve(raw, _RAW, 1), curve(smoothed, _SMOOTHED, 2)]


def _text(
    x: float, y: float, text: str, anchor: str = 'start', *, size: int = 13, colour: str = _TEXT
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">{text}</text>'
    )


if __name__ == '__main__':
    PICTURE.write_text(picture(turns()))
    print(PICTURE)
