# SPDX-License-Identifier: Apache-2.0
"""
Write a shift report: one HTML file that loads nothing from elsewhere.

"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import tzinfo
import json
import math
from pathlib import Path
from typing import Any, TYPE_CHECKING

import cv2
from jinja2 import Environment, StrictUndefined
import numpy as np

from anomaly_inspection import __version__
from anomaly_inspection.overlay.good_patch import crop_box
from anomaly_inspection.records.period import local_text
from anomaly_inspection.records.picture_store import picture_path
from anomaly_inspection.records.queries import Row
from anomaly_inspection.records.report_charts import p_chart, reasons_chart, yield_chart
from anomaly_inspection.records.report_data import drift_state, ReportData
from anomaly_inspection.records.report_template import TEMPLATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_JPEG = b'\xff\xd8\xff'
_PICTURE_WIDTH_PX = 420
_MOST_PIXELS = 50_000_000


@dataclass(frozen=True)
class ReportSettings:
    """
    How a report is written.

    Parameters
    ----------
    title : str
        Its heading.
    scope : str
        What it is about besides the time: cell, order, lot; '' = everything.
    zone : tzinfo or None
        Of all times; None = that of the computer.
    ideal_rate : float
        Parts per second that the line would give at best; NaN = not known.
    now_us : int
        When it is written, microseconds since 1970.

    """

    title: str
    scope: str
    zone: tzinfo | None
    ideal_rate: float
    now_us: int


def report_page(data: ReportData, settings: ReportSettings, pictures_folder: Path) -> str:
    """
    Give the report as an HTML page.

    """
    # Whatever comes from outside is escaped; only our own charts are marked as safe.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    counts, zone = data.counts, settings.zone

    def when(time_us: int) -> str:
        form = '%H:%M:%S' if data.period.length_s <= 90_000 else '%d %b %H:%M'
        return local_text(time_us, zone, form)

    return environment.from_string(TEMPLATE).render(
        title=settings.title,
        scope=settings.scope,
        since=local_text(data.period.since_us, zone, '%A, %d %B %Y, %H:%M'),
        until=local_text(data.period.until_us, zone, '%d %B %Y, %H:%M'),
        zone=local_text(data.period.since_us, zone, '%Z') if zone is None else str(zone),
        written=local_text(settings.now_us, zone, '%d %B %Y, %H:%M'),
        version=__version__,
        tiles=_tiles(data, settings),
        charts={
            'yield': yield_chart(data, zone) if data.slices else '',
            'p': p_chart(data, zone) if data.slices else '',
            'reasons': reasons_chart(data) if counts.by_reason else '',
        },
        data=data,
        counts=counts,
        when=when,
        duration=duration,
        percent=percent,
        recipes=counts.by_recipe.most_common(),
        figures=[_figure(row, pictures_folder, when) for row in data.worst],
        drifts=[_drift(row, when) for row in data.drifts],
        words=lambda text: text.replace('_', ' ').lower(),
    )


def duration(seconds: float) -> str:
    """
    Write a length of time.

    """
    seconds = round(seconds)
    if seconds < 60:
        return f'{seconds} s'
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f'{minutes} min {rest} s' if rest else f'{minutes} min'
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if minutes else f'{hours} h'


def percent(share: float, digits: int = 1) -> str:
    """
    Write a share; a dash when it is not known.

    """
    return f'{100 * share:.{digits}f} %' if math.isfinite(share) else '-'


def _tiles(data: ReportData, settings: ReportSettings) -> list[dict[str, str]]:
    counts, rate = data.counts, settings.ideal_rate
    performance = counts.performance(rate)
    n_stops = len(counts.stops)
    return [
        {'name': 'parts', 'value': f'{counts.parts:,}', 'note': f'{counts.good:,} good'},
        {
            'name': 'rejected',
            'value': f'{counts.rejected:,}',
            'note': percent(1 - counts.quality, 2),
        },
        {'name': 'quality', 'value': percent(counts.quality), 'note': 'good of all parts'},
        {
            'name': 'availability',
            'value': percent(counts.availability),
            'note': f'{n_stops} stop{"" if n_stops == 1 else "s"}, {duration(counts.stopped_s)}',
        },
        {
            'name': 'performance',
            'value': percent(performance),
            'note': f'at best {60 * rate:g} parts/min'
            if math.isfinite(rate)
            else 'needs --ideal-rate',
        },
        {'name': 'OEE', 'value': percent(counts.oee(rate)), 'note': 'product of these three'},
    ]


def _drift(row: Row, when: Any) -> dict[str, Any]:
    picture = json.loads(row['data'] or '{}').get('picture', '')
    try:
        content = base64.b64decode(picture, validate=True)
    except (TypeError, ValueError):
        content = b''
    return {
        'when': when(row['time_us']),
        'what': row['what'],
        'is_void': drift_state(row) == 'void',
        'picture': base64.b64encode(content).decode() if content.startswith(_JPEG) else '',
    }


def _figure(row: Row, folder: Path, when: Any) -> dict[str, Any]:
    details = json.loads(row['details'] or '{}')
    explanation = details.get('explanation', {})
    paths: dict[str, Path | None] = {}
    problem = 'no picture was kept'
    for each in row['pictures']:
        if not each['gone']:
            paths[each['shows']] = picture_path(folder, each['path'])
        elif each['shows'] == 'frame':
            problem = f'the picture was deleted: {each["gone"]}'
    frame = _read(paths.get('frame'))
    if 'frame' in paths:
        problem = '' if frame is not None else 'the picture cannot be read'
    boxes = [box for score in details.get('scores', []) for box in score.get('regions', [])]
    found, good = '', ''
    good_crop = _read(paths.get('good'))
    if frame is not None and good_crop is not None and 'region' in explanation:
        left, top, right, bottom = crop_box(
            explanation['region'], (frame.shape[1], frame.shape[0])
        )
        found, good = _jpeg(frame[top:bottom, left:right]), _jpeg(good_crop)
    return {
        'part': row['sequence'],
        'when': when(row['time_us']),
        'reason': row['reason'].replace('_', ' ').lower(),
        'score': row['anomaly_score'],
        'text': explanation.get('text') or row['comparison'].removesuffix(' -> REJECT'),
        'lot': row['lot'],
        'serial': row['serial'],
        'picture': '' if frame is None else _marked(frame, boxes),
        'problem': problem,
        'found': found,
        'good': good,
    }


def _read(path: Path | None) -> NDArray[np.uint8] | None:
    """
    Read a picture of the store; None when it cannot be read.

    """
    try:
        content = path.read_bytes() if path else b''
    except OSError:
        return None
    # Our own PNG: width and height stand behind its signature.
    size = np.frombuffer(content[16:24], '>u4')
    if len(size) != 2 or int(size[0]) * int(size[1]) > _MOST_PIXELS:
        return None
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image, np.uint8)


def _marked(image: NDArray[np.uint8], boxes: list[list[float]]) -> str:
    """
    Give a frame with its regions as JPEG in base 64.

    """
    factor = min(1.0, 2 * _PICTURE_WIDTH_PX / image.shape[1])
    drawn = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    for x_min, y_min, x_max, y_max, *_ in boxes[:8]:
        corners = [round(factor * each) for each in (x_min, y_min, x_max, y_max)]
        for colour, width in (((255, 255, 255), 6), ((43, 98, 209), 3)):
            cv2.rectangle(
                drawn,
                (corners[0] - 4, corners[1] - 4),
                (corners[2] + 4, corners[3] + 4),
                colour,
                width,
                cv2.LINE_AA,
            )
    return _jpeg(np.asarray(drawn, np.uint8))


def _jpeg(image: NDArray[np.uint8]) -> str:
    is_encoded, jpeg = cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_QUALITY, 85))
    return base64.b64encode(jpeg.tobytes()).decode() if is_encoded else ''
