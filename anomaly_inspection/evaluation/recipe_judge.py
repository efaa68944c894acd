# SPDX-License-Identifier: Apache-2.0
"""
Score and judge single frames by a recipe, without the nodes.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomaly_inspection.deciding.frame_judge import Combination
from anomaly_inspection.deciding.part_decision import ScoreReceived, Terms
from anomaly_inspection.deciding.part_judge import FrameEvidence, judge_frame
from anomaly_inspection.recipes.limit_table import limit_table

if TYPE_CHECKING:
    from anomaly_inspection.capture.source import Frame
    from anomaly_inspection.deciding.frame_judge import Judgement
    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.scoring.frame_scorer import ScorerResult


class RecipeJudge:
    """
    Scores and judges single frames by a recipe, as scorer and decider nodes do together.

    """

    def __init__(self, recipe: Recipe) -> None:
        self._scorer = recipe.frame_scorer()
        self._terms = Terms(
            recipe.name,
            recipe.version,
            recipe.hash,
            limit_table(recipe),
            combination_of(recipe),
        )

    def judge(self, frame: Frame) -> tuple[Judgement, list[ScorerResult]]:
        """
        Give the judgement on a frame and the scores it stands on; none when it has no image.

        """
        scores = [] if frame.image is None else self._scorer.score(frame.image)
        received = {
            score.scorer: ScoreReceived(
                ('', 0),
                0,
                score.scorer,
                int(score.status),
                score.detail,
                self._terms.recipe_hash,
                score.measures,
                score.part_class,
            )
            for score in scores
        }
        judgement = judge_frame(FrameEvidence(frame.problem, received), self._terms)
        assert judgement is not None, 'every scorer has scored'
        return judgement, scores


def combination_of(recipe: Recipe) -> Combination:
    """
    Give how many limits must be exceeded for a reject.

    """
    return Combination[recipe.combination.upper()]
