# SPDX-License-Identifier: Apache-2.0
"""
What the command `review` prints.

"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TYPE_CHECKING

from rich.table import Table

from anomaly_inspection.cli.output import console, escaped, print_note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.reviewing.advice import Outcome
    from anomaly_inspection.reviewing.comparable import Gathered
    from anomaly_inspection.reviewing.review import FlipCounts, Review
    from anomaly_inspection.reviewing.stored_part import Kind, StoredPart

_MOST_FLIPS_SHOWN = 20


@dataclass(frozen=True)
class Found:
    """
    All that the folders hold.

    """

    parts: list[StoredPart]
    numbers: Mapping[Kind, int] | None
    notes: list[str]


def print_review(
    recipe: Recipe,
    result: Review,
    found: Found,
    gathered: Gathered,
    tried: dict[str, float],
    *,
    is_tried: bool,
) -> None:
    """
    Print what the verdicts say, as people read it.

    """
    console.print(
        f'Recipe [bold]{escaped(recipe.name)}[/] version {recipe.version}: '
        f'{len(found.parts)} stored parts, {result.n_reviewed} of them reviewed or known'
    )
    for sentence in result.findings.sentences():
        console.print(escaped(sentence), soft_wrap=True)
    for sentence in (*gathered.sentences(), *found.notes, *_left_out(result)):
        print_note(sentence)
    if not result.n_reviewed:
        console.print('There is no verdict yet that could speak for or against a limit.')
    else:
        console.print()
        console.print(_limits_table(result, tried, is_tried=is_tried))
        for measure in result.advice.measures:
            if measure.held and not is_tried:
                console.print(
                    f'{escaped(measure.limit.name)} is not loosened: {measure.held.sentence}.',
                    soft_wrap=True,
                )
        console.print(_outcomes_table(result, tried))
    _print_flips(result, tried, is_tried=is_tried)
    # In a review set the good ones lie by themselves; records keep all rejects of a day together.
    folders = {part.picture.parent for part in found.parts if part.truth and part.picture}
    for folder in sorted(each for each in folders if each.parts[-2:] == ('test', 'good')):
        console.print(
            '\nTeach with the confirmed good parts: anomaly-inspection teach --add '
            f'{escaped(folder)} --recipe {escaped(recipe.path or recipe.name)}',
            soft_wrap=True,
        )


def _left_out(result: Review) -> list[str]:
    n = len(result.replay.left_out)
    if not n:
        return []
    return [
        f'{n} parts are left out because no limit decides about them (not aligned, time-out, '
        'several frames).'
    ]


def _limits_table(result: Review, tried: dict[str, float], *, is_tried: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column('limit', no_wrap=True)
    for heading in ('now', 'tried' if is_tried else 'proposed', 'right for the reviewed parts'):
        table.add_column(heading, justify='right', no_wrap=True)
    for one in result.advice.measures:
        value = tried.get(one.limit.name, one.limit.value)
        table.add_row(
            escaped(one.limit.name),
            f'{one.limit.value:.4g}',
            f'[bold]{value:.4g}[/]' if value != one.limit.value else '-',
            one.right_range or '-',
        )
    return table


def _outcomes_table(result: Review, tried: dict[str, float]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column('reviewed and known parts')
    for heading in ('now', 'then'):
        table.add_column(heading, justify='right')
    now, then = result.advice.now, outcome_at(result, tried)
    table.add_row(
        'good parts rejected', *(f'{one.good_rejected} of {one.good}' for one in (now, then))
    )
    table.add_row('bad parts passed', *(f'{one.bad_passed} of {one.bad}' for one in (now, then)))
    return table


def outcome_at(result: Review, values: Mapping[str, float]) -> Outcome:
    """
    Say what limits do to the reviewed parts.

    """
    from anomaly_inspection.reviewing.advice import Outcome

    rejected = result.replay.rejected(result.replay.limits_of(values))
    counts = {truth: [0, 0] for truth in ('good', 'bad')}
    for part, is_rejected in zip(result.replay.parts, rejected, strict=True):
        if part.truth is not None:
            counts[part.truth][0] += 1
            counts[part.truth][1] += bool(is_rejected)
    (n_good, good_rejected), (n_bad, bad_rejected) = counts['good'], counts['bad']
    return Outcome(good_rejected, n_good, n_bad - bad_rejected, n_bad)


def _print_flips(result: Review, tried: dict[str, float], *, is_tried: bool) -> None:
    from anomaly_inspection.reviewing.review import count_flips

    decided = count_flips(result.replay.changed_decisions())
    if decided.total:
        console.print(
            '\nWith the limits as they are now, this recipe would decide otherwise than the cell '
            f'did about {decided.total} stored parts: {escaped(_flip_words(decided))}.',
            soft_wrap=True,
        )
    if not tried:
        console.print('\nNo other limit is proposed.')
        return
    flips = result.replay.flips(tried)
    what = 'tried' if is_tried else 'proposed'
    n_parts = len(result.replay.parts)
    console.print(
        f'\nThe limits {what} would turn round {len(flips)} of {n_parts} verdicts'
        + (f': {escaped(_flip_words(count_flips(flips)))}.' if flips else '.'),
        soft_wrap=True,
    )
    for flip in flips[:_MOST_FLIPS_SHOWN]:
        way = 'PASS -> REJECT' if flip.would_be_rejected else 'REJECT -> PASS'
        truth = f'confirmed {flip.part.truth}' if flip.part.truth else 'not reviewed'
        console.print(f'  {way}  {truth:14}  {escaped(part_name(flip.part))}', soft_wrap=True)
    if len(flips) > _MOST_FLIPS_SHOWN:
        console.print(f'  and {len(flips) - _MOST_FLIPS_SHOWN} more')


def _flip_words(counts: FlipCounts) -> str:
    named = (
        (counts.good_to_pass, 'confirmed good would pass'),
        (counts.bad_to_pass, 'confirmed bad would pass'),
        (counts.unknown_to_pass, 'not reviewed would pass'),
        (counts.good_to_reject, 'confirmed good would be rejected'),
        (counts.bad_to_reject, 'confirmed bad would be rejected'),
        (counts.unknown_to_reject, 'not reviewed would be rejected'),
    )
    return ', '.join(f'{n} {words}' for n, words in named if n)


def part_name(part: StoredPart) -> str:
    """
    Name a part for people.

    """
    session, number = part.key
    return f'part {number} of session {session}' if number or not part.picture else session


def as_json(
    result: Review, found: Found, gathered: Gathered, tried: dict[str, float]
) -> dict[str, Any]:
    """
    Give the same for programs.

    """
    from anomaly_inspection.reviewing.review import count_flips

    said = result.findings
    return {
        'stored_parts': len(found.parts),
        'reviewed_parts': result.n_reviewed,
        'measured_anew': len(gathered.rescored),
        'lost': len(gathered.lost),
        'left_out': len(result.replay.left_out),
        'false_rejects': _share(said.false_rejects),
        'escapes': {str(kind): _share(share) for kind, share in said.escapes.items()},
        'known_good_rejected': _share(said.known_good),
        'known_bad_passed': _share(said.known_bad),
        'false_reject_rate': said.false_reject_rate and asdict(said.false_reject_rate),
        'escape_rate': said.escape_rate and asdict(said.escape_rate),
        'sentences': [*said.sentences(), *gathered.sentences(), *found.notes],
        'limits': {
            one.limit.name: {
                'now': one.limit.value,
                'proposed': one.proposed,
                'for_good': one.for_good,
                'for_bad': one.for_bad,
                'held': one.held.sentence if one.held else None,
            }
            for one in result.advice.measures
        },
        'tried': tried,
        'now': asdict(result.advice.now),
        'then': asdict(outcome_at(result, tried)),
        'flips': asdict(count_flips(result.replay.flips(tried))),
    }


def _share(share: Any) -> dict[str, Any] | None:
    if share is None:
        return None
    low, high = share.interval()
    return {'count': share.count, 'total': share.total, 'low': low, 'high': high}
