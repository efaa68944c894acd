# SPDX-License-Identifier: Apache-2.0
"""
The report of a training: history, loss curve, pictures and the model card.

"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.chart_style import DEFECT, GOOD, svg_chart, TEXT, without_frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from anomaly_inspection.learning.checkpoint import Epoch

PICTURES = 6

_TICKS = 5
_SMALLEST_SHOWN = 1e-9
_GAP_PX, _HEADING_PX = 8, 26
# Differences of good parts are small: they are shown this many times larger.
_DIFFERENCE_GAIN = 4


def history_csv(history: Sequence[Epoch]) -> str:
    """
    Write one line per epoch.

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
    numbers = [epoch.number for epoch in history]
    curves = {
        'trained on, as spoiled': ([epoch.loss for epoch in history], GOOD),
        'held out': ([epoch.held_out_loss for epoch in history], DEFECT),
    }
    best = min(history, key=lambda epoch: epoch.held_out_loss)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        without_frame(axes, grid='y')
        marker = 'o' if len(history) == 1 else ''
        for name, (curve, colour) in curves.items():
            axes.plot(
                numbers,
                np.maximum(curve, _SMALLEST_SHOWN),
                color=colour,
                marker=marker,
                label=f'images {name}',
            )
        axes.set_yscale('log')
        low, high = axes.get_ylim()
        axes.set_yticks(np.geomspace(low, high, _TICKS))
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: f'{value:.3g}')
        axes.set_xlim(0.5, len(history) + 0.5)
        axes.set_xticks(sorted({round(tick) for tick in np.linspace(1, len(history), _TICKS)}))
        axes.set_xlabel('epoch')
        axes.set_ylabel(f'{loss} loss, logarithmic')
        axes.axvline(best.number, color=TEXT, linewidth=1, dashes=(4, 3))
        is_left = best.number <= len(history) / 2
        axes.annotate(
            f'best: epoch {best.number}, {best.held_out_loss:.4g}',
            (best.number, 1),
            (6 if is_left else -6, -2),
            xycoords=('data', 'axes fraction'),
            textcoords='offset points',
            ha='left' if is_left else 'right',
            va='top',
            color=TEXT,
        )
        axes.legend(
            loc='lower left', bbox_to_anchor=(0, 1), borderaxespad=0.2, borderpad=0.2, ncols=2
        )

    return svg_chart(draw, width_px=640, height_px=360, label=f'{loss} loss by epoch')


def reconstruction_picture(pairs: NDArray[np.float32]) -> bytes:
    """
    Show a few images, their reconstructions and the difference; PNG.

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
