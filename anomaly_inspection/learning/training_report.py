# SPDX-License-Identifier: Apache-2.0
"""
What people read about a training: history, loss curve, pictures and the model card.

"""

from __future__ import annotations

import csv
from html import escape
import io
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.learning.checkpoint import Epoch

PICTURES = 6

_TAUGHT, _HELD_OUT, _TEXT, _GRID = '#2f6fab', '#d1622b', '#5c636e', '#e3e6ea'
_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 44, 48
_TICKS = 5
_GAP_PX, _HEADING_PX = 8, 26
# Differences of good parts are small: shown this many times larger.
_DIFFERENCE_GAIN = 4


def history_csv(history: Sequence[Epoch]) -> str:
    """
    Write one line an epoch.

    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['epoch', 'loss', 'held_out_loss', 'duration_s'])
    for epoch in history:
        losses = f'{epoch.loss:.6g}', f'{epoch.held_out_loss:.6g}'
        writer.writerow([epoch.number, *losses, f'{epoch.duration_s:.3f}'])
    return text.getvalue()


def loss_chart(history: Sequence[Epoch], loss: str) -> str:
    """
    Draw the loss of both groups of images by epoch, logarithmic, with the best epoch; SVG.

    Parameters
    ----------
    history : sequence of Epoch
        At least one.
    loss : str
        Name of the loss.

    """
    curves = {
        'trained on, as spoiled': ([epoch.loss for epoch in history], _TAUGHT),
        'held out': ([epoch.held_out_loss for epoch in history], _HELD_OUT),
    }
    values = np.maximum([value for curve, _ in curves.values() for value in curve], 1e-9)
    low, high = 0.95 * float(values.min()), 1.05 * float(values.max())
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x_at(number: float) -> float:
        return _LEFT + width * (number - 1) / max(1, len(history) - 1)

    def y_at(value: float) -> float:
        return _TOP + height * math.log(high / max(value, 1e-9)) / math.log(high / low)

    parts = []
    for tick in np.geomspace(low, high, _TICKS):
        y = y_at(tick)
        parts.append(_line(_LEFT, y, _WIDTH - _RIGHT, y, _GRID))
        parts.append(_text(_LEFT - 8, y + 4, f'{tick:.3g}', 'end'))
    for number in sorted({round(tick) for tick in np.linspace(1, len(history), _TICKS)}):
        parts.append(_text(x_at(number), _HEIGHT - _BOTTOM + 18, str(number), 'middle'))
    parts.append(_text(_LEFT + width / 2, _HEIGHT - 10, 'epoch', 'middle'))
    best = min(history, key=lambda epoch: epoch.held_out_loss)
    x = x_at(best.number)
    parts.append(_line(x, _TOP, x, _HEIGHT - _BOTTOM, _TEXT, dashes='4 3'))
    is_left = x < _LEFT + width / 2
    parts.append(
        _text(
            x + (6 if is_left else -6),
            _TOP + 12,
            f'best: epoch {best.number}, {best.held_out_loss:.4g}',
            'start' if is_left else 'end',
        )
    )
    place = float(_LEFT)
    for name, (curve, colour) in curves.items():
        points = ' '.join(
            f'{x_at(number):.1f},{y_at(value):.1f}' for number, value in enumerate(curve, start=1)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        label = f'{loss} loss of images {name}'
        parts.append(_text(place, 24, label, 'start', colour))
        place += 8.0 * len(label)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="system-ui, Helvetica, Arial, sans-serif" '
        'font-size="13">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + '\n'.join(parts)
        + '\n</svg>\n'
    )


def reconstruction_picture(pairs: NDArray[np.float32]) -> bytes:
    """
    Show a few images, what the network makes of them, and the difference; PNG.

    Parameters
    ----------
    pairs : ndarray of float32, (2, n, side, side, c)
        Images and reconstructions, 0..1; an even choice of six is shown.

    """
    count = pairs.shape[1]
    chosen = np.unique(np.linspace(0, count - 1, min(count, PICTURES)).round().astype(int))
    images, drawn = pairs[:, chosen]
    difference = np.clip(_DIFFERENCE_GAIN * np.abs(images - drawn), 0, 1)
    side = images.shape[1]
    shown_px = 160
    columns = ('image', 'reconstruction', f'difference x {_DIFFERENCE_GAIN}')
    step = shown_px + _GAP_PX
    canvas = np.full(
        (_HEADING_PX + len(chosen) * step, _GAP_PX + len(columns) * step, 3), 255, np.uint8
    )
    rule = cv2.INTER_AREA if side > shown_px else cv2.INTER_LINEAR
    for column, (heading, group) in enumerate(
        zip(columns, (images, drawn, difference), strict=True)
    ):
        x = _GAP_PX + column * step
        cv2.putText(
            canvas, heading, (x, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (70, 60, 50), 1, cv2.LINE_AA
        )
        for row, one in enumerate(group):
            y = _HEADING_PX + row * step
            shown = cv2.resize(one, (shown_px, shown_px), interpolation=rule)
            levels = np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)
            canvas[y : y + shown_px, x : x + shown_px] = levels.reshape(shown_px, shown_px, -1)
    return bytes(cv2.imencode('.png', canvas)[1])


def model_card(title: str, sections: Mapping[str, Mapping[str, object]], notes: str) -> str:
    """
    Write the model card, Markdown.

    Parameters
    ----------
    title : str
        What the model is.
    sections : mapping of str to mapping of str to value
        Tables of two columns by heading.
    notes : str
        What the reader must know.

    """
    lines = [f'# {title}', '', notes]
    for heading, rows in sections.items():
        lines += ['', f'## {heading}', '', '| | |', '| --- | --- |']
        lines += [f'| {key} | {value} |' for key, value in rows.items()]
    lines += [
        *('', '## Pictures', '', '![loss by epoch](loss.svg)', ''),
        '![held-out images and their reconstructions](reconstructions.png)',
    ]
    return '\n'.join(lines) + '\n'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = '') -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ''
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}"{dashed}/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = _TEXT) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">'
        f'{escape(text)}</text>'
    )
