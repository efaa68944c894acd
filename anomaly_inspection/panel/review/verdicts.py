# SPDX-License-Identifier: Apache-2.0
"""
What the verdicts of a review set say about the limits in force; and an engineer's acceptance.

"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly_inspection.deciding.limits import LimitOrigin, LimitTable
from anomaly_inspection.errors import InspectionError, SettingError
from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.panel.people.roles import Role, Visitor
from anomaly_inspection.panel.review.stored_rejects import stored_reject
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.reviewing.accepted_limits import (
    AcceptanceLog,
    check_can_be_undone,
    checked_reason,
)
from anomaly_inspection.reviewing.bad_parts import BadParts
from anomaly_inspection.reviewing.check_process import check_apart
from anomaly_inspection.reviewing.comparable import comparable_versions
from anomaly_inspection.reviewing.review import basis_of, count_flips, review_of
from anomaly_inspection.reviewing.stored_part import Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anomaly_inspection.panel.cell.guarded_commands import GuardedCommands
    from anomaly_inspection.panel.cell.part_views import LimitView
    from anomaly_inspection.panel.cell.state import CellPicture, CellState
    from anomaly_inspection.panel.people.people import People
    from anomaly_inspection.panel.review.reject import Reject
    from anomaly_inspection.panel.review.review_set import ReviewSet
    from anomaly_inspection.reviewing.accepted_limits import AcceptedLimits
    from anomaly_inspection.reviewing.review import FlipCounts, Review, ReviewBasis


@dataclass(frozen=True)
class Verdicts:
    """
    What the verdicts say.

    Parameters
    ----------
    review : Review
        Counts and proposed limits.
    flips : FlipCounts
        What the proposed limits would do to all kept parts.
    n_other : int
        Reviewed parts that a version with other measures has judged; they are left out.
    n_bad_to_keep : int
        Confirmed bad parts with a picture that are not in the test set of the recipe.
    last : AcceptedLimits or None
        The acceptance that can be taken back.

    """

    review: Review
    flips: FlipCounts
    n_other: int = 0
    n_bad_to_keep: int = 0
    last: AcceptedLimits | None = None


def verdicts_of(rejects: Iterable[Reject], picture: CellPicture, reviews: ReviewSet) -> Verdicts:
    """
    Say what the verdicts say; reads the recipe in force, so it belongs on a thread.

    Raises
    ------
    InspectionError
        When there is no recipe, or it cannot be read; says why in one sentence.

    """
    recipe = picture.recipe
    if not recipe.name or not recipe.path:
        raise SettingError('no recipe is in force')
    basis, versions = _basis(recipe.path, recipe.hash)
    own = [
        stored_reject(reject, reviews.picture_of(reject) if _is_bad(reject) else None)
        for reject in rejects
        if reject.recipe == basis.name
    ]
    alike = [part for part in own if part.recipe_version in versions]
    table = _table_in_force(basis.table, picture.limits)
    review = review_of(basis, own, alike, table=table)
    bad = [part for part in own if part.truth is Truth.BAD and part.picture is not None]
    kept = {part.name for part in BadParts(Path(recipe.path)).all()}
    return Verdicts(
        review,
        count_flips(review.replay.flips(review.advice.changes)),
        sum(part.truth is not None for part in own) - sum(p.truth is not None for p in alike),
        sum(bad_part_name(part.key) not in kept for part in bad),
        AcceptanceLog(Path(recipe.path)).last(),
    )


def bad_part_name(key: tuple[str, int]) -> str:
    """
    Name a confirmed bad part in the test set of its recipe.

    """
    return f'part {key[1]} of session {key[0]}'


def _is_bad(reject: Reject) -> bool:
    return str(reject.verdict) == 'defect'


@lru_cache(maxsize=4)
def _basis(path: str, recipe_hash: str) -> tuple[ReviewBasis, frozenset[int]]:
    # The hash tells another recipe in the same place.
    recipe = read_recipe(Path(path))
    return basis_of(recipe), frozenset(comparable_versions(recipe))


def _table_in_force(table: LimitTable, limits: Iterable[LimitView]) -> LimitTable:
    known = {limit.name for limit in table}
    values = {
        (limit.scorer, limit.measure): limit.value for limit in limits if limit.name in known
    }
    return table.changed(values, LimitOrigin.RUNTIME)


class GuardedAcceptance:
    """
    Lets an engineer accept limits and take them back, and keep bad parts; each is recorded.

    Like all commands of a page, these block and never raise.

    Parameters
    ----------
    commands : GuardedCommands
        Sets limits as this visitor may.
    people : People
        Who may do what, and the record.
    visitor : Visitor or None
        Who asks; None = nobody, who may do nothing.
    state : CellState
        Recipe and limits in force.
    reviews : ReviewSet
        The rejects.

    """

    def __init__(
        self,
        commands: GuardedCommands,
        people: People,
        visitor: Visitor | None,
        state: CellState,
        reviews: ReviewSet,
    ) -> None:
        self._commands, self._people, self._state = commands, people, state
        self._visitor = visitor or Visitor('', Role.VIEWER)
        self._reviews = reviews

    @property
    def is_allowed(self) -> bool:
        """
        Whether the visitor may accept at all.

        """
        return self._visitor.role >= Role.ENGINEER

    def accept(self, values: Mapping[str, float], why: str) -> Answer:
        """
        Put the proposed limits into force.

        """
        return self._change('accept limits', values, why)

    def undo(self, why: str) -> Answer:
        """
        Put the limits from before the last acceptance back into force.

        """
        return self._change('undo accepted limits', None, why)

    def _change(self, what: str, values: Mapping[str, float] | None, why: str) -> Answer:
        try:
            visitor = self._people.check_role(self._visitor, Role.ENGINEER, what)
            why = checked_reason(why)
            path, now = self._path(), self._limits()
            log = AcceptanceLog(path)
            is_undo = values is None
            if values is None:
                values = check_can_be_undone(log.last(), now)
            unknown = [name for name in values if name not in now]
            if unknown:
                raise SettingError(f'there is no limit {", ".join(unknown)} any more')
            self._check_bad_parts(path, {**now, **values})
            answer = self._commands.set_limits(values, f'{what}: {why}')
            if answer.success:
                old = {name: now[name] for name in values}
                log.add(visitor.name, why, old, values, is_undo=is_undo)
        except InspectionError as error:
            return Answer.of_error(error)
        return answer

    def keep_bad(self, why: str) -> Answer:
        """
        Put the confirmed bad parts of the recipe in force into its test set.

        """
        what = 'keep bad parts'
        try:
            visitor = self._people.check_role(self._visitor, Role.ENGINEER, what)
            why = checked_reason(why)
            path, name = self._path(), self._state.picture().recipe.name
            wanted = [
                (bad_part_name(reject.key), png)
                for reject in self._reviews.kept()
                if _is_bad(reject)
                and reject.recipe == name
                and (png := self._reviews.png_of(reject.key)) is not None
            ]
            n_new = BadParts(path).add(wanted)
        except InspectionError as error:
            return Answer.of_error(error)
        self._people.audit.record(visitor, what, subject=name, new=f'{n_new} parts', why=why)
        return Answer(True, f'{n_new} parts are kept', 'bad_parts_kept', {'count': str(n_new)})

    def _check_bad_parts(self, path: Path, limits: Mapping[str, float]) -> None:
        if not BadParts(path).all():
            return
        recipe = read_recipe(path)
        keyed = {
            (scorer, measure): limits[f'{scorer}.{measure}']
            for scorer, part in recipe.scorers.items()
            for measure in part.limits
            if f'{scorer}.{measure}' in limits
        }
        refusal = check_apart(recipe.with_limits(keyed), path).refusal
        if refusal:
            raise SettingError(f'the limits are refused: {refusal}')

    def _path(self) -> Path:
        path = self._state.picture().recipe.path
        if not path:
            raise SettingError('no recipe is in force')
        return Path(path)

    def _limits(self) -> dict[str, float]:
        return {
            limit.name: limit.value
            for limit in self._state.picture().limits
            if math.isfinite(limit.value)
        }
