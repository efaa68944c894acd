# SPDX-License-Identifier: Apache-2.0
"""
Look into the records of a line, count and export them.

"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from anomaly_inspection.cli.options import Number
from anomaly_inspection.cli.output import check_results_writable, console, escaped
from anomaly_inspection.cli.record_options import (
    next_shift_us,
    now_us,
    record_options,
    record_place,
    RecordPlace,
)
from anomaly_inspection.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly_inspection.records.counts import LineCounts
    from anomaly_inspection.records.period import Period
    from anomaly_inspection.records.queries import PartFilter

_MOST_GROUPS = 60
_TABLE_WIDTH = 160


@click.group(short_help='Look into the records of a line, count and export them.')
@record_options
@click.pass_context
def records(context: click.Context, /, **options: Any) -> None:
    """
    Look into the records of a line, count and export them.

    \b
    Records come from run --record or from the recorder (docs/records.md):
      anomaly-inspection records --folder out/records list --since today --verdict REJECT
      anomaly-inspection records --folder out/records show 17
      anomaly-inspection records --folder out/records counts --by shift

    Times: '2026-11-29', '2026-11-29 14:00', '2026-11-29T14:00:00+01:00', '14:00' (today), '8h',
    '30min' or '7d' (ago), 'today', 'yesterday'.
    """
    context.obj = record_place(**options)


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option('--since', help='Parts decided from then on.'),
        click.option('--until', help='Parts decided before then.'),
        click.option('--verdict', type=click.Choice(['PASS', 'REJECT'], case_sensitive=False)),
        click.option('--reason', default='', help='LIMIT_EXCEEDED, NOT_ALIGNED, ...'),
        click.option('--recipe', default='', help='Name of the recipe.'),
        click.option('--order', 'order_name', default='', help='Order.'),
        click.option('--lot', default='', help='Lot.'),
        click.option('--serial', default='', help='Serial number.'),
        click.option('--cell', default='', help='Namespace of the cell, as inspection.'),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _part_filter(
    place: RecordPlace, since: str | None, until: str | None, **wanted: Any
) -> PartFilter:
    from anomaly_inspection.records.queries import PartFilter

    wanted['verdict'] = (wanted['verdict'] or '').upper()
    wanted['reason'] = wanted['reason'].upper().replace(' ', '_').replace('-', '_')
    return PartFilter(
        since_us=place.moment_us(since, 0) if since else None,
        until_us=place.moment_us(until, 0) if until else None,
        **wanted,
    )


@records.command('list', short_help='List parts, the newest first.')
@_filters
@click.option('--most', type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option('--json', 'as_json', is_flag=True, help='One line of JSON for each part.')
@click.pass_obj
def list_parts(place: RecordPlace, /, most: int, as_json: bool, **wanted: Any) -> None:
    """
    List parts, the newest first.
    """
    from anomaly_inspection.records.period import local_text
    from anomaly_inspection.records.queries import newest_parts

    part_filter = _part_filter(place, **wanted)
    with place.opened() as connection:
        rows = newest_parts(connection, part_filter, most)
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    table = Table(box=None)
    for heading, side in (
        *(('decided', 'left'), ('part', 'right'), ('verdict', 'left'), ('reason', 'left')),
        *(('score', 'right'), ('recipe', 'left'), ('order', 'left'), ('lot', 'left')),
        *(('serial', 'left'), ('session', 'left')),
    ):
        table.add_column(heading, justify='right' if side == 'right' else 'left', no_wrap=True)
    for row in rows:
        colour = 'green' if row['verdict'] == 'PASS' else 'red'
        known = f' (known {row["known_as"]})' if row['known_as'] else ''
        score = row['anomaly_score']
        table.add_row(
            local_text(row['time_us'], place.zone),
            str(row['sequence']),
            f'[{colour}]{row["verdict"]}[/]',
            escaped(row['reason'].replace('_', ' ').lower() + known),
            '-' if score is None else f'{score:.2f}',
            escaped(f'{row["recipe"]} {row["recipe_version"]}'),
            *(escaped(row[name]) for name in ('order_name', 'lot', 'serial', 'session')),
        )
    _print_table(table)
    if len(rows) == most:
        console.print(f'The newest {most}; --most shows more.')
    elif not rows:
        console.print('No part is so.')


def _print_table(table: Table) -> None:
    # In a pipe, or a narrow window, no column may lose its end.
    wide = Console(highlight=False, width=max(console.width, _TABLE_WIDTH))
    wide.print(table, crop=False)


@records.command(short_help='Show all that is known of one part.')
@click.argument('part', type=click.IntRange(1))
@click.option('--session', default='', help='Its session, or how it begins. Default: the newest.')
@click.pass_obj
def show(place: RecordPlace, part: int, session: str) -> None:
    """
    Show all that is known of one part: verdict, measures and limits, sorting, pictures, reviews.
    """
    from anomaly_inspection.records.period import local_text
    from anomaly_inspection.records.queries import whole_part

    with place.opened() as connection:
        row = whole_part(connection, part, session)
    zone = place.zone
    colour = 'green' if row['verdict'] == 'PASS' else 'red'
    console.print(
        f'Part {row["sequence"]} of session {escaped(row["session"])}, cell '
        f'{escaped(row["cell"])}',
        soft_wrap=True,
    )
    limits = json.loads(row['limits'] or '{}')
    lines = [
        ('decided', escaped(local_text(row['time_us'], zone))),
        ('verdict', f'[{colour}]{row["verdict"]}[/] {escaped(row["reason"])}'),
        ('comparison', escaped(row['comparison'])),
        ('recipe', escaped(f'{row["recipe"]} version {row["recipe_version"]}')),
        *((name, escaped(row[key])) for name, key in _NAMES if row[key]),
        *(
            (escaped(name), f'{value} (limit {limits.get(name, "-")})')
            for name, value in json.loads(row['measures'] or '{}').items()
        ),
        *(
            (
                'gate',
                escaped(
                    f'{each["action"]} {each["outcome"]} {each["cause"]} {each["detail"]}'.lower()
                ),
            )
            for each in row['sort_events']
        ),
        *(
            (
                f'{each["shows"]}',
                escaped(
                    f'{place.folder / "pictures" / each["path"]}'
                    + (f' (deleted: {each["gone"]})' if each['gone'] else '')
                ),
            )
            for each in row['pictures']
        ),
        *(
            ('review', escaped(f'{local_text(e["time_us"], zone)} {e["who"]}: {e["what"]}'))
            for e in row['reviews']
        ),
    ]
    for name, text in lines:
        console.print(f'  {name:<28} {text}', soft_wrap=True)


_NAMES = (
    *(('known as', 'known_as'), ('order', 'order_name'), ('lot', 'lot')),
    ('serial number', 'serial'),
)


@records.command(short_help='Count parts and line stops; availability, performance, quality.')
@click.option('--since', help='From then on. Default: the first part.')
@click.option('--until', help='Until then. Default: now.')
@click.option(
    '--by',
    type=click.Choice(['shift', 'order', 'lot', 'recipe']),
    default='shift',
    show_default=True,
    help='A row for each.',
)
@click.option('--cell', default='', help='Namespace of the cell, as inspection. Default: all.')
@click.option(
    '--ideal-rate',
    type=Number(0.001, 100_000),
    help='Parts per minute that one line gives at best; for performance and OEE.',
)
@click.pass_obj
def counts(
    place: RecordPlace,
    since: str | None,
    until: str | None,
    by: str,
    cell: str,
    ideal_rate: float | None,
) -> None:
    """
    Count parts and line stops: the totals, which never reset, and a row for each shift or lot.

    docs/records.md has the formulas of availability, performance, quality and OEE.
    """
    from anomaly_inspection.records.counts import count_lines, names_counted
    from anomaly_inspection.records.period import Period
    from anomaly_inspection.records.queries import first_and_last_us

    rate = math.nan if ideal_rate is None else ideal_rate / 60
    with place.opened() as connection:
        span = first_and_last_us(connection)
        if span is None:
            console.print('There is no part in the records yet.')
            return
        now = now_us()
        whole = Period(span[0] // 60_000_000 * 60_000_000, max(now, span[1] + 1))
        period = Period(
            place.moment_us(since, whole.since_us), place.moment_us(until, whole.until_us)
        )
        if period.length_s <= 0:
            raise SettingError(f'--since {since} is not before --until {until or "now"}')
        table = _count_table(by)
        _add_counts(
            table, 'all time', count_lines(connection, whole, cell=cell), rate, has_time=True
        )
        table.add_section()
        if by == 'shift':
            for name, shift in _shifts(place, period):
                found = count_lines(connection, shift, cell=cell)
                if found.parts or found.stops:
                    _add_counts(table, name, found, rate, has_time=True)
        else:
            column = {'order': 'order_name'}.get(by, by)
            for name in names_counted(connection, column, period)[:_MOST_GROUPS]:
                found = _of_group(connection, period, cell, column, name)
                _add_counts(table, name or f'no {by}', found, rate, has_time=False)
    _print_table(table)


def _of_group(connection: Any, period: Period, cell: str, column: str, name: str) -> LineCounts:
    from anomaly_inspection.records.counts import count_lines

    return count_lines(connection, period, cell=cell, exactly={column: name})


def _shifts(place: RecordPlace, period: Period) -> list[tuple[str, Period]]:
    from anomaly_inspection.records.period import local_text, Period

    table = place.shift_table
    found: list[tuple[str, Period]] = []
    began_us = round(table.shift_at((period.until_us - 1) / 1e6).began_s * 1e6)
    while began_us + 26 * 3600 * 1_000_000 > period.since_us and len(found) < _MOST_GROUPS:
        shift = Period(
            max(began_us, period.since_us), min(next_shift_us(table, began_us), period.until_us)
        )
        if shift.length_s > 0:
            name = table.shift_at(began_us / 1e6).name
            day = local_text(began_us, place.zone, '%Y-%m-%d %H:%M')
            found.append((f'{day} {name}'.strip(), shift))
        began_us = round(table.shift_at(began_us / 1e6 - 1).began_s * 1e6)
    return found


def _count_table(by: str) -> Table:
    table = Table(box=None)
    table.add_column(by, no_wrap=True)
    for heading in (
        *('parts', 'good', 'rejected', 'unsorted', 'challenge', 'stops', 'stopped'),
        *('availab.', 'perform.', 'quality', 'OEE'),
    ):
        table.add_column(heading, justify='right', no_wrap=True)
    return table


def _add_counts(
    table: Table, name: str, found: LineCounts, rate: float, *, has_time: bool
) -> None:
    from anomaly_inspection.records.report import duration, percent

    known = found.known_right + found.known_wrong
    of_time = (
        str(len(found.stops)),
        duration(found.stopped_s),
        percent(found.availability),
        percent(found.performance(rate)),
    )
    table.add_row(
        escaped(name),
        *(f'{n:,}' for n in (found.parts, found.good, found.rejected, found.unsorted)),
        f'{found.known_right}/{known}',
        *(of_time if has_time else '----'),
        percent(found.quality),
        percent(found.oee(rate)) if has_time else '-',
    )


@records.command(short_help='Export parts as CSV, Parquet or MCAP.')
@_filters
@click.option('--csv', 'csv_file', type=click.Path(path_type=Path, dir_okay=False))
@click.option('--parquet', 'parquet_file', type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    '--mcap',
    'mcap_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='For Foxglove and rosbag2: parts, events and pictures.',
)
@click.pass_obj
def export(
    place: RecordPlace,
    /,
    csv_file: Path | None,
    parquet_file: Path | None,
    mcap_file: Path | None,
    **wanted: Any,
) -> None:
    """
    Export parts as CSV, Parquet or MCAP.
    """
    from anomaly_inspection.records.export import export_csv, export_parquet
    from anomaly_inspection.records.mcap_export import export_mcap

    if not (csv_file or parquet_file or mcap_file):
        raise SettingError('say what to write: --csv FILE, --parquet FILE or --mcap FILE')
    check_results_writable(files=(csv_file, parquet_file, mcap_file))
    part_filter = _part_filter(place, **wanted)
    with place.opened() as connection:
        if csv_file:
            n = export_csv(connection, part_filter, csv_file)
            console.print(f'{n:,} parts in {escaped(csv_file)}', soft_wrap=True)
        if parquet_file:
            n = export_parquet(connection, part_filter, parquet_file)
            console.print(f'{n:,} parts in {escaped(parquet_file)}', soft_wrap=True)
        if mcap_file:
            n = export_mcap(connection, part_filter, mcap_file, place.folder / 'pictures')
            console.print(f'{n:,} messages in {escaped(mcap_file)}', soft_wrap=True)


@records.command(short_help='Delete pictures that are older than so many days.')
@click.option(
    '--older-than-days', type=Number(0, 36500), required=True, help='Age of the pictures, days.'
)
@click.option(
    '--kind',
    'kinds',
    type=click.Choice(['reject', 'near', 'sample']),
    multiple=True,
    help='Of rejects, of passed parts near a limit, of the sample of passed parts. Default: all.',
)
@click.option('--cell', default='inspection', show_default=True, help='Namespace of the cell.')
@click.pass_obj
def clean(place: RecordPlace, older_than_days: float, kinds: tuple[str, ...], cell: str) -> None:
    """
    Delete pictures that are older than so many days. Rows stay; a new row says what was deleted.
    """
    from anomaly_inspection.records.database import described
    from anomaly_inspection.records.picture_store import KINDS, PictureBounds, PictureStore
    from anomaly_inspection.records.store import RecordStore

    removals: list[Any] = []
    # Zero days: all but today's.
    keep = dict.fromkeys(kinds or KINDS, older_than_days or 1e-9)
    with place.engine() as engine, described(engine):
        store = PictureStore(
            *(place.folder / 'pictures', cell, PictureBounds(10**18, 0, keep)),
            recorded=removals.append,
        )
        store.close()
        n = store.clean(now_us())
        for start in range(0, len(removals), 500):
            RecordStore(engine).write(removals[start : start + 500])
    console.print(f'{n:,} pictures deleted')
