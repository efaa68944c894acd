# SPDX-License-Identifier: Apache-2.0
"""
What the JSON interface takes and gives.

JSON knows no NaN: what was not measured is null.

"""

from __future__ import annotations

from dataclasses import asdict
import math
from typing import Annotated, Any, TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.commands import Answer
    from anomaly_inspection.panel.cell.part_views import LimitView, PartView
    from anomaly_inspection.panel.cell.shift_counts import Counts
    from anomaly_inspection.panel.cell.state import CellPicture
    from anomaly_inspection.panel.cell.views import CalibrationView, ChallengeView, RecipeView
    from anomaly_inspection.panel.recipes.library import RecipeEntry, RecipeSummary

Why = Annotated[str, Field(max_length=500, description='The reason, for the record of changes.')]
#: More limits than any recipe has.
MOST_LIMITS = 200


class Model(BaseModel):
    """
    A model that takes nothing it does not know.

    """

    model_config = ConfigDict(extra='forbid', allow_inf_nan=False)


class Problem(Model):
    """
    Why a request was refused.

    """

    detail: str


class LimitModel(Model):
    """
    One limit in force.

    """

    name: str = Field(description="'scorer.measure'")
    value: float | None
    typical: float | None = Field(description='What a typical good part has.')
    unit: str
    high_is_bad: bool
    is_from_recipe: bool = Field(description='False: somebody has set it since.')
    lowest: float | None = Field(description='The lowest limit that is taken; null = no end.')
    highest: float | None = Field(description='The highest limit that is taken; null = no end.')
    is_narrowed: bool = Field(description='Whether an engineer has narrowed this range.')

    @classmethod
    def of(cls, limit: LimitView) -> LimitModel:
        """
        Make it from what the panel knows.

        """
        return cls(
            name=limit.name,
            value=_number(limit.value),
            typical=_number(limit.typical),
            unit=limit.unit,
            high_is_bad=limit.high_is_bad,
            is_from_recipe=limit.is_from_recipe,
            lowest=_number(limit.lowest),
            highest=_number(limit.highest),
            is_narrowed=limit.is_narrowed,
        )


class LimitsModel(Model):
    """
    All limits in force.

    """

    limits: list[LimitModel]
    are_unsaved: bool = Field(description='Whether they differ from the recipe on disk.')

    @classmethod
    def of(cls, picture: CellPicture) -> LimitsModel:
        """
        Make it from what the panel knows.

        """
        limits = [LimitModel.of(limit) for limit in picture.limits]
        return cls(limits=limits, are_unsaved=picture.limits_are_unsaved)


class ShiftModel(Model):
    """
    Production parts of one shift; known parts of a challenge are not counted.

    """

    shift: str = Field(description="Name of the shift; '' = there is no shift table")
    began_s: float = Field(description='Seconds since 1970.')
    passed: int
    rejected: int
    by_reason: dict[str, int]

    @classmethod
    def of(cls, counts: Counts) -> ShiftModel:
        """
        Make it from what the panel knows.

        """
        return cls(
            shift=counts.shift.name,
            began_s=counts.shift.began_s,
            passed=counts.passed,
            rejected=counts.rejected,
            by_reason=dict(counts.by_reason),
        )


class CountersModel(Model):
    """
    The counts of the last shifts, the present one last.

    """

    shifts: list[ShiftModel]


class MeasureModel(Model):
    """
    One measured value.

    """

    name: str
    value: float | None
    unit: str


class PartModel(Model):
    """
    One part and its verdict.

    """

    session_id: str
    part_id: int
    time_s: float | None = Field(description='Exposure, seconds since 1970.')
    verdict: str = Field(description="'PASS', 'REJECT', or '' while undecided")
    reason: str
    comparison: str
    anomaly_score: float | None = Field(description='1 = exactly at a limit.')
    recipe: str
    recipe_version: int
    latency_s: float | None = Field(description='From exposure to decision.')
    known_as: str = Field(description="'good' or 'bad' for a known part of a challenge")
    measures: list[MeasureModel]

    @classmethod
    def of(cls, part: PartView) -> PartModel:
        """
        Make it from what the panel knows.

        """
        decision = part.decision
        return cls(
            session_id=part.key[0],
            part_id=part.key[1],
            time_s=_number(part.time_s),
            verdict='' if decision is None else 'PASS' if decision.has_passed else 'REJECT',
            reason=decision.reason if decision else '',
            comparison=decision.comparison if decision else '',
            anomaly_score=_number(decision.anomaly_score) if decision else None,
            recipe=decision.recipe_name if decision else '',
            recipe_version=decision.recipe_version if decision else 0,
            latency_s=_number(decision.latency_s) if decision else None,
            known_as=decision.known_as if decision else '',
            measures=[
                MeasureModel(name=measure.name, value=_number(measure.value), unit=measure.unit)
                for score in part.scores
                for measure in score.measures
            ],
        )


class HealthModel(Model):
    """
    How one concern of one node is.

    """

    node: str
    concern: str
    level: str = Field(description="'ok', 'warn', 'error' or 'stale'")
    message: str


class StateModel(Model):
    """
    The cell at one moment.

    """

    recipe: str = Field(description="'' = no recipe is in force")
    recipe_version: int
    line_is_stopped: bool
    line_stop_reason: str
    last_part: PartModel | None
    health: list[HealthModel]

    @classmethod
    def of(cls, picture: CellPicture) -> StateModel:
        """
        Make it from what the panel knows.

        """
        return cls(
            recipe=picture.recipe.name,
            recipe_version=picture.recipe.version,
            line_is_stopped=picture.line_stop.is_active,
            line_stop_reason=picture.line_stop.reason,
            last_part=PartModel.of(picture.last_part) if picture.last_part else None,
            health=[
                HealthModel(
                    node=status.node,
                    concern=status.concern,
                    level=status.level,
                    message=status.message,
                )
                for status in picture.health
            ],
        )


class CalibrationModel(Model):
    """
    How far the calibration on the next good parts is.

    """

    state: str = Field(
        description="'collecting', 'done', 'failed', 'undone', or '' when none was begun"
    )
    parts: int
    parts_wanted: int
    detail: str
    promise: str = Field(description='Once done: what the new limits promise.')

    @classmethod
    def of(cls, calibration: CalibrationView) -> CalibrationModel:
        """
        Make it from what the panel knows.

        """
        return cls(**asdict(calibration))


class ChallengeModel(Model):
    """
    How the challenge with known parts stands.

    """

    state: str = Field(description="'off', 'passed', 'due', 'running', 'failed', '' = not known")
    detail: str
    is_blocked: bool = Field(description='Whether every production part is rejected now.')
    parts: list[str] = Field(description="The known parts in order, 'good ...' or 'bad ...'.")
    parts_done: int = Field(description='Came out right in the challenge under way.')
    next_due_s: float | None = Field(description='Seconds since 1970; null = never by itself.')

    @classmethod
    def of(cls, challenge: ChallengeView) -> ChallengeModel:
        """
        Make it from what the panel knows.

        """
        known = {**asdict(challenge), 'parts': list(challenge.parts)}
        return cls(**{**known, 'next_due_s': _number(challenge.next_due_s)})


class RecipeVersionModel(Model):
    """
    One version of a recipe, as its recipe.yaml says.

    """

    version: int = Field(description='0 = not known.')
    product: str
    taught_by: str
    created_s: float | None = Field(description='Seconds since 1970.')
    image_count: int
    width_px: int
    height_px: int
    scorers: list[str]
    problem: str = Field(description="Why it cannot be read; '' = it can.")

    @classmethod
    def of(cls, summary: RecipeSummary) -> RecipeVersionModel:
        """
        Make it from what the library says.

        """
        return cls(
            version=summary.version,
            product=summary.product,
            taught_by=summary.taught_by,
            created_s=_number(summary.created_s),
            image_count=summary.image_count,
            width_px=summary.width_px,
            height_px=summary.height_px,
            scorers=list(summary.scorers),
            problem=summary.problem,
        )


class RecipeModel(Model):
    """
    A recipe of the library.

    """

    name: str
    is_in_force: bool = Field(description='Whether its newest version judges the parts.')
    newest: RecipeVersionModel
    older: list[RecipeVersionModel] = Field(description='Kept beside it, newest first.')


class RecipesModel(Model):
    """
    The recipes that the cell can switch to.

    """

    in_force: str
    names: list[str]
    recipes: list[RecipeModel]

    @classmethod
    def of(cls, entries: list[RecipeEntry], in_force: RecipeView) -> RecipesModel:
        """
        Make it from what the library says.

        """
        return cls(
            in_force=in_force.name,
            names=[entry.name for entry in entries],
            recipes=[
                RecipeModel(
                    name=entry.name,
                    is_in_force=entry.is_in_force(in_force),
                    newest=RecipeVersionModel.of(entry.summary),
                    older=[RecipeVersionModel.of(older) for older in entry.older],
                )
                for entry in entries
            ],
        )


class AnswerModel(Model):
    """
    What came of a command.

    """

    success: bool
    message: str

    @classmethod
    def of(cls, answer: Answer) -> AnswerModel:
        """
        Make it from the answer of the cell.

        """
        return cls(success=answer.success, message=answer.message)


class CommandBody(Model):
    """
    A command without settings.

    """

    why: Why = ''


LONGEST_VIEW = 30
ABOUT_VIEW = 'With several views the name of one; otherwise empty.'


class ChallengeBody(CommandBody):
    """
    In which view the challenge runs.

    """

    view: str = Field(default='', max_length=LONGEST_VIEW, description=ABOUT_VIEW)


class LimitsBody(Model):
    """
    Limits to change together, all or none; those not named stay.

    """

    limits: dict[Annotated[str, Field(max_length=200)], float] = Field(
        min_length=1,
        max_length=MOST_LIMITS,
        description="'scorer.measure' -> the limit in its unit; in a cell with several views "
        "'view/scorer.measure', those of one view in a request",
    )
    why: Why = ''


class RangeModel(Model):
    """
    The range in which a limit may be moved, both ends included.

    """

    lowest: float | None = Field(default=None, description='null = as far as the measure allows')
    highest: float | None = Field(default=None, description='null = as far as the measure allows')


class RangesBody(Model):
    """
    Ranges to change together, all or none; those not named stay.

    """

    ranges: dict[Annotated[str, Field(max_length=200)], RangeModel] = Field(
        min_length=1,
        max_length=MOST_LIMITS,
        description="'scorer.measure' (several views: as for limits) -> its range",
    )
    why: Why = ''


class CalibrateBody(Model):
    """
    How many of the next parts, all of them good, give the limits.

    """

    parts: int = Field(ge=5, le=100_000)
    false_reject_rate: float = Field(
        default=0.0,
        ge=0.0,
        lt=0.5,
        description='Share of good parts that may be rejected; 0 = as the recipe was taught.',
    )
    why: Why = ''


class RecipeBody(Model):
    """
    The recipe to switch to.

    """

    name: str = Field(min_length=1, max_length=200)
    why: Why = ''


class LoadRecipeBody(RecipeBody):
    """
    The recipe to switch to, and why although it would pass confirmed bad parts; '' = then not.

    """

    override_reason: Why = ''


class RollBackBody(RecipeBody):
    """
    The recipe, and which of its older versions shall be the next.

    """

    version: int = Field(ge=1, le=2**31 - 1)


class ChangesModel(Model):
    """
    The last changes, the newest first.

    """

    changes: list[dict[str, Any]]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
