# SPDX-License-Identifier: Apache-2.0
"""
Write a shift report.

"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from anomaly_inspection.cli.options import Number
from anomaly_inspection.cli.output import check_results_writable, console, escaped, write_file
from anomaly_inspection.cli.record_options import (
    now_us,
    record_options,
    record_place,
    shift_period,
)
from anomaly_inspection.errors import SettingError


@click.command(short_help='Write a shift report as HTML and PDF.')
@record_options
@click.option(
    '--of',
    'wanted_shift',
    default='last',
    show_default=True,
    help="Which shift: 'current', 'last', or the one at a time, as '2026-11-29 14:00'.",
)
@click.option('--since', help='A time span instead of a shift: from then on ...')
@click.option('--until', help='... until then. Default: now.')
@click.option('--cell', default='', help='Namespace of the cell, as inspection. Default: all.')
@click.option('--order', 'order_name', default='', help='Parts of this order alone.')
@click.option('--lot', default='', help='Parts of this lot alone.')
@click.option(
    '--ideal-rate',
    type=Number(0.001, 100_000),
    help='Parts per minute that one line gives at best; for performance and OEE.',
)
@click.option(
    '--html',
    'html_file',
    type=click.Path(path_type=Path, dir_okay=False),
    default='report.html',
    show_default=True,
    help='The page to write.',
)
@click.option(
    '--pdf',
    'pdf_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Also print it into this file; needs Chromium or Chrome.',
)
def report(
    wanted_shift: str,
    since: str | None,
    until: str | None,
    cell: str,
    order_name: str,
    lot: str,
    ideal_rate: float | None,
    html_file: Path,
    pdf_file: Path | None,
    **options: Any,
) -> None:
    """
    Write a shift report as one HTML file, which loads nothing from elsewhere, and as PDF.

    \b
      anomaly-inspection report --folder out/records --of current --pdf report.pdf
      anomaly-inspection report --config cell.yaml --of '2026-11-29 14:00' --ideal-rate 60
    """
    from anomaly_inspection.print_page import write_pdf
    from anomaly_inspection.records.period import Period

    place = record_place(**options)
    check_results_writable(files=(html_file, pdf_file))
    if since is not None:
        period = Period(place.moment_us(since, 0), place.moment_us(until, now_us()))
        title = 'Production report'
    elif until is not None:
        raise SettingError('--until needs --since')
    else:
        period, name = shift_period(place, wanted_shift)
        title = f'Shift report: {name}' if name else 'Shift report'
    if period.length_s <= 0:
        raise SettingError(f'--since {since} is not before --until {until or "now"}')
    with place.opened() as connection:
        try:
            from anomaly_inspection.records.report import report_page, ReportSettings
        except ImportError as error:
            raise SettingError(
                f'a report needs Jinja2 ({error}): pip install "anomaly_inspection[records]"'
            ) from error
        from anomaly_inspection.records.report_data import gather

        data = gather(connection, period, cell=cell, order_name=order_name, lot=lot)
    words = (('cell', cell), ('order', order_name), ('lot', lot))
    settings = ReportSettings(
        title=title,
        scope=', '.join(f'{word} {value}' for word, value in words if value),
        zone=place.zone,
        ideal_rate=math.nan if ideal_rate is None else ideal_rate / 60,
        now_us=now_us(),
    )
    write_file(html_file, report_page(data, settings, place.folder / 'pictures'))
    console.print(f'report in {escaped(html_file)}', soft_wrap=True)
    if pdf_file is not None:
        write_pdf(html_file, pdf_file)
        console.print(f'report in {escaped(pdf_file)}', soft_wrap=True)
