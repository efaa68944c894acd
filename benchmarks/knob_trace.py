# SPDX-License-Identifier: Apache-2.0
"""
A knob before and after the firmware's filter, as a picture: docs/images/knob_trace.svg.

The converter is simulated, the filter is the firmware's own.

"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        *np.linspace(0.30, 0.80, 40),
        *np.full(1460, 0.80),
        *np.linspace(0.80, 0.55, 1000),
        *np.full(1500, 0.55),
    ]


def picture(positions: Sequence[float]) -> str:
    """
    Draw the whole script, and enlarged the quick turn and one second of stillness.

    """
    raw, smoothed = trace(positions, noise_counts=NOISE_COUNTS, seed=1)
    # On the scale of the smoothed value, see firmware/lib/scaling.
    raw_steps = [1000 * (value - 41) / (4054 - 41) for value in raw]
    whole, turn, still = slice(0, 5000, 4), slice(980, 1130), slice(3800, 4800)
    middle = 5 * round(float(np.mean(smoothed[still])) / 5)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="980" height="390" '
        'viewBox="0 0 980 390" font-family="sans-serif" font-size="13">',
        '<rect width="980" height="390" fill="#ffffff"/>',
        _text(64, 30, 'A potentiometer before and after smoothing', size=16, colour=_INK),
        _text(64, 50, '12-bit converter with noise of 20 counts, simulated; steps of 1000'),
        f'<rect x="700" y="20" width="14" height="10" rx="2" fill="{_RAW}"/>',
        _text(720, 30, 'as converted'),
        f'<rect x="830" y="20" width="14" height="10" rx="2" fill="{_SMOOTHED}"/>',
        _text(850, 30, 'smoothed'),
    ]
    panels = (
        (64, 380, whole, (200, 900), 100, 1000, 'the whole script, s'),
        (510, 180, turn, (200, 900), 100, 50, 'the quick turn, ms'),
        (756, 204, still, (middle - 20, middle + 20), 5, 250, 'a still knob, ms'),
    )
    for left, width, part, shown, tick_steps, tick_ms, title in panels:
        shown_ms = range(len(raw))[part]
        unit_ms = 1000 if part == whole else 1
        length_ms = len(shown_ms) * shown_ms.step
        ticks = {
            at_ms / length_ms: f'{at_ms / unit_ms:g}' for at_ms in range(0, length_ms + 1, tick_ms)
        }
        curves = (raw_steps[part], smoothed[part])
        parts += _panel(left, width, curves, shown, tick_steps, ticks, title)
    return '\n'.join([*parts, '</svg>']) + '\n'


def _panel(
    left: float,
    width: float,
    curves: tuple[Sequence[float], Sequence[float]],
    shown: tuple[int, int],
    tick_steps: int,
    ticks: Mapping[float, str],
    title: str,
) -> list[str]:
    top, height = 76, 260
    low, high = shown
    parts = []
    for value in range(low, high + 1, tick_steps):
        y = top + height * (high - value) / (high - low)
        parts.append(f'<path d="M{left} {y:.1f}h{width}" stroke="{_GRID}"/>')
        parts.append(_text(left - 8, y + 4, str(value), anchor='end'))
    for share, text in ticks.items():
        parts.append(_text(left + width * share, top + height + 20, text, 'middle'))
    parts.append(_text(left + width / 2, top + height + 42, title, 'middle'))
    for values, colour, thickness in zip(curves, (_RAW, _SMOOTHED), (1, 2), strict=True):
        points = ' '.join(
            f'{left + width * at / len(values):.1f},'
            f'{top + height * (high - min(max(value, low), high)) / (high - low):.1f}'
            for at, value in enumerate(values)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" '
            f'stroke-width="{thickness}" stroke-linejoin="round"/>'
        )
    return parts


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
