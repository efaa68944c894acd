# SPDX-License-Identifier: Apache-2.0
"""
What people said about parts, the limits that would have been right, and setting them.

"""

from __future__ import annotations

import getpass
import json
import math
from pathlib import Path
from typing import Any, TYPE_CHECKING

import click

from anomaly_inspection.cli.output import console, escaped, print_note, progress_bar, without_nan
from anomaly_inspection.cli.record_options import RecordPlace
from anomaly_inspection.cli.review_output import as_json, Found, part_name, print_review
from anomaly_inspection.errors import RecipeError, SettingError
from anomaly_inspection.state_file import default_state_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.reviewing.comparable import Gathered
    from anomaly_inspection.reviewing.review import Review
    from anomaly_inspection.reviewing.stored_part import Kind, StoredPart


@click.command(short_help='See which limits the reviewed parts speak for, and set them.')
@click.argument(
    'folders',
    nargs=-1,
    metavar='FOLDER...',
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option(
    '--recipe',
    'recipe_path',
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help='The recipe whose limits are looked at.',
)
@click.option(
    '--limit',
    'limits',
    multiple=True,
    metavar='SCORER.MEASURE=VALUE',
    help='Try this limit in the place of the proposal; once for each limit.',
)
@click.option('--since', help='Parts of the records from then on, as 7d or 2026-11-29.')
@click.option('--accept', is_flag=True, help='Set the limits: write the next recipe version.')
@click.option('--undo', is_flag=True, help='Take the last acceptance back.')
@click.option(
    '--keep-bad',
    is_flag=True,
    help='Put the confirmed bad parts into the test set of the recipe: every new version must '
    'reject them before it is loaded.',
)
@click.option(
    '--forget-bad',
    metavar='SHA256',
    help='Take a part out of this test set, by the first 8 or more digits of its SHA-256.',
)
@click.option('--why', default='', help='The reason; needed to change anything.')
@click.option('--json', 'prints_json', is_flag=True, help='Print JSON in the place of tables.')
def review(
    folders: tuple[Path, ...],
    recipe_path: Path,
    limits: tuple[str, ...],
    since: str | None,
    accept: bool,
    undo: bool,
    keep_bad: bool,
    forget_bad: str | None,
    why: str,
    prints_json: bool,
) -> None:
    """
    See which limits the reviewed parts speak for.

    FOLDER is a folder of records (docs/records.md) or a review set, the folder review of a cell;
    both may be given. Nothing is changed without --accept, --undo, --keep-bad or --forget-bad, and
    each of these needs --why and is recorded with who did it.

    \b
      anomaly-inspection review out/records --recipe recipes/pump
      anomaly-inspection review out/records --recipe recipes/pump --accept --why 'lot 7 is shinier'
      anomaly-inspection review --recipe recipes/pump --undo --why 'scratches came through'
    """
    from anomaly_inspection.recipes.folder import read_recipe
    from anomaly_inspection.reviewing.accepted_limits import checked_reason

    if sum((accept, undo, keep_bad, forget_bad is not None)) > 1:
        raise SettingError('give only one of --accept, --undo, --keep-bad and --forget-bad')
    if accept or undo or keep_bad or forget_bad is not None:
        why = checked_reason(why)
    recipe_path = recipe_path.resolve()
    recipe = read_recipe(recipe_path)
    if undo:
        _undo(recipe, recipe_path, why)
        return
    if forget_bad is not None:
        _forget_bad(recipe_path, forget_bad, why)
        return
    if not folders:
        raise SettingError('name a folder of records or a review set')
    found = _read(folders, recipe, since)
    if keep_bad:
        _keep_bad(recipe, recipe_path, found.parts, why)
        return
    gathered = _gathered(recipe, recipe_path, found.parts)
    result = _review(recipe, found, gathered)
    tried = _tried(result, limits) if limits else result.advice.changes
    if prints_json:
        click.echo(json.dumps(without_nan(as_json(result, found, gathered, tried)), indent=2))
    else:
        print_review(recipe, result, found, gathered, tried, is_tried=bool(limits))
    if accept:
        _accept(recipe, recipe_path, tried, why)


# Read


def _read(folders: tuple[Path, ...], recipe: Recipe, since: str | None) -> Found:
    by_key: dict[tuple[str, int], StoredPart] = {}
    numbers: Mapping[Kind, int] | None = None
    notes: list[str] = []
    for folder in sorted(folders, key=_is_review_set):
        if _is_review_set(folder):
            _read_set(folder, by_key, notes)
        elif _is_records(folder):
            recorded = _read_records(folder, recipe, since)
            numbers = recorded.numbers
            by_key |= {part.key: part for part in recorded.parts}
        else:
            raise SettingError(
                f'{folder} holds neither records (records.sqlite) nor a review set (parts/)'
            )
    return Found(list(by_key.values()), numbers, notes)


def _is_records(folder: Path) -> bool:
    return (folder / 'records.sqlite').is_file()


def _is_review_set(folder: Path) -> bool:
    return not _is_records(folder) and (folder / 'parts').is_dir()


def _read_set(folder: Path, by_key: dict[tuple[str, int], StoredPart], notes: list[str]) -> None:
    from dataclasses import replace

    from anomaly_inspection.panel.review.stored_rejects import read_review_set

    parts, strange = read_review_set(folder)
    for part in parts:
        recorded = by_key.get(part.key)
        if recorded is None:
            by_key[part.key] = part
        else:
            by_key[part.key] = replace(
                recorded,
                # The panel may have kept a passed part whose picture the recorder has not.
                kind=part.kind if recorded.kind == 'passed' else recorded.kind,
                truth=part.truth or recorded.truth,
                picture=part.picture or recorded.picture,
            )
    if strange:
        notes.append(f'These files cannot be read and are left out: {"; ".join(strange[:3])}.')


def _read_records(folder: Path, recipe: Recipe, since: str | None) -> Any:
    from anomaly_inspection.records.queries import PartFilter
    from anomaly_inspection.records.stored_parts import recorded_parts

    place = RecordPlace(folder, '', '', '', ())
    since_us = place.moment_us(since, 0) if since else None
    with place.opened() as connection:
        wanted = PartFilter(since_us=since_us, recipe=recipe.name)
        return recorded_parts(connection, folder / 'pictures', wanted)


def _gathered(recipe: Recipe, recipe_path: Path, parts: list[StoredPart]) -> Gathered:
    from anomaly_inspection.reviewing.bad_parts import BadParts, stored_bad_parts
    from anomaly_inspection.reviewing.comparable import gather

    named = {part_name(part) for part in parts if part.truth is not None}
    kept = [part for part in stored_bad_parts(BadParts(recipe_path)) if part.key[0] not in named]
    # Parts of other recipes are measured anew only where a person has judged them.
    wanted = [part for part in parts if part.recipe == recipe.name or part.truth is not None]
    with progress_bar() as progress:
        return gather(recipe, [*wanted, *kept], progress=progress)


def _review(recipe: Recipe, found: Found, gathered: Gathered) -> Review:
    from anomaly_inspection.reviewing.review import basis_of, review_of

    return review_of(basis_of(recipe), found.parts, gathered.parts, numbers=found.numbers)


def _tried(result: Review, limits: tuple[str, ...]) -> dict[str, float]:
    from anomaly_inspection.reviewing.advice import checked_changes

    values: dict[str, float] = {}
    for text in limits:
        name, equals, number = text.partition('=')
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not equals or not math.isfinite(value):
            raise SettingError(f'--limit {text!r} is refused; allowed: scorer.measure=number')
        values[name.strip()] = value
    return checked_changes(result.replay, values)


# Change


def _accept(recipe: Recipe, path: Path, values: dict[str, float], why: str) -> None:
    from anomaly_inspection.reviewing.acceptance import accept_limits

    if not values:
        raise SettingError('no other limit is proposed, so there is nothing to accept')
    written = accept_limits(recipe, path, values, who=_user(), why=why)
    old = _limits_of(recipe, values)
    _record('accept limits', path, why, old=old, new=values)
    _print_written(written, path)


def _undo(recipe: Recipe, path: Path, why: str) -> None:
    from anomaly_inspection.reviewing.acceptance import undo_acceptance

    written, values = undo_acceptance(recipe, path, who=_user(), why=why)
    _record('undo accepted limits', path, why, old=_limits_of(recipe, values), new=values)
    _print_written(written, path)


def _print_written(written: Recipe, path: Path) -> None:
    console.print(
        f'recipe [bold]{escaped(written.name)}[/] version {written.version} written to '
        f'{escaped(path)}; a cell that runs uses it when it is loaded (page Recipes)',
        soft_wrap=True,
    )


def _keep_bad(recipe: Recipe, path: Path, parts: list[StoredPart], why: str) -> None:
    from anomaly_inspection.reviewing.bad_parts import BadParts, check_bad_parts

    bad = [part for part in parts if str(part.truth) == 'bad' and part.recipe == recipe.name]
    with_picture = []
    for part in bad:
        try:
            if part.picture is not None:
                with_picture.append((part_name(part), part.picture.read_bytes()))
        except OSError:
            continue
    if not with_picture:
        raise RecipeError(f'none of the {len(bad)} confirmed bad parts has a picture')
    kept = BadParts(path)
    n_new = kept.add(with_picture)
    _record('keep bad parts', path, why, new=f'{n_new} parts')
    gone = len(bad) - len(with_picture)
    console.print(
        f'{n_new} new parts in {escaped(kept.folder)}'
        + (f'; {gone} confirmed bad parts have no picture any more' if gone else ''),
        soft_wrap=True,
    )
    with progress_bar() as progress:
        check = check_bad_parts(recipe, kept, progress)
    if check.refusal:
        print_note(f'Version {recipe.version} as it is: {check.refusal}.')


def _forget_bad(path: Path, digest: str, why: str) -> None:
    from anomaly_inspection.reviewing.bad_parts import BadParts

    gone = BadParts(path).remove(digest)
    _record('forget bad part', path, why, old=f'{gone.name} ({gone.digest[:12]})')
    console.print(f'{escaped(gone.name)} is no longer in the test set', soft_wrap=True)


def _limits_of(recipe: Recipe, values: Mapping[str, float]) -> dict[str, float]:
    from anomaly_inspection.recipes.limit_table import limit_table

    return {limit.name: limit.value for limit in limit_table(recipe) if limit.name in values}


def _record(what: str, path: Path, why: str, *, old: object = None, new: object = None) -> None:
    from anomaly_inspection.panel.people.audit import AuditLog
    from anomaly_inspection.panel.people.roles import Role, Visitor
    from anomaly_inspection.records.audit_follow import AUDIT_NAME

    problems: list[str] = []
    audit = AuditLog(default_state_folder() / 'people' / AUDIT_NAME, problems.append)
    visitor = Visitor(_user(), Role.ENGINEER, 'terminal')
    audit.record(visitor, what, subject=str(path), old=old, new=new, why=why)
    audit.close()
    for problem in filter(None, problems):
        print_note(problem)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return 'unknown user'
