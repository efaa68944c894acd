# SPDX-License-Identifier: Apache-2.0
"""
A recipe made by hand and parts that it has judged, stored as the page Review keeps them.

"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from anomaly_inspection.capture.source import Frame
from anomaly_inspection.deciding.frame_judge import Verdict
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.recipes.folder import write_recipe
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.scoring.measure import BadSide
from support.handmade_recipe import made_recipe, part_frame

SESSION = '20261129T104011Z-ab12cd34'
#: Depth of a spot in gray levels: deep ones are defects, faint ones were good parts.
FAINT, DEEP = 6, 60


def strict_recipe(folder: Path) -> Recipe:
    """
    Write a recipe that rejects every part with a spot on it, however faint.

    """
    recipe = made_recipe()
    judge = RecipeJudge(recipe)
    _, scores = judge.judge(Frame(part_frame(50), 0, 0))
    good = {(score.scorer, name): v for score in scores for name, v in score.measures.items()}
    limits = {}
    for limit in limit_table(recipe):
        value = good[limit.scorer, limit.measure]
        span = 0.02 * max(abs(value), 1.0)
        if limit.measure == 'largest_region':
            # Just below what a faint spot has, so that twice as far is still below a deep one.
            span = 28.0
        elif limit.measure == 'mse':
            # Of all limits, faint spots exceed that of the size alone.
            span = 2.0
        wanted = value + span if limit.bad_side is BadSide.HIGH else value - span
        is_high = limit.bad_side is BadSide.HIGH
        # Never on the good side of the typical part.
        limits[limit.scorer, limit.measure] = (
            max(wanted, limit.typical + 0.1) if is_high else min(wanted, limit.typical - 0.01)
        )
    return write_recipe(recipe.with_limits(limits), folder)


def spotted(seed: int, depth: int) -> np.ndarray:
    """
    Draw a part with a dark spot; 0 = none.

    """
    image = part_frame(seed).astype(np.int16)
    mask = np.zeros(image.shape, np.uint8)
    cv2.circle(mask, (22, 24), 4, 1, -1)
    return np.clip(image - depth * mask, 0, 255).astype(np.uint8)


def judged_part(recipe: Recipe, number: int, image: np.ndarray, session: str = SESSION):
    """
    Give a part as the panel knows it, and whether it was rejected.

    """
    from anomaly_inspection.panel.cell.part_views import (
        DecisionView,
        LimitView,
        MeasureView,
        PartView,
        ScoreView,
    )

    judgement, scores = RecipeJudge(recipe).judge(Frame(image, 0, 0))
    limits = tuple(
        LimitView(
            limit.name, limit.value, limit.typical, limit.unit, limit.bad_side is BadSide.HIGH
        )
        for limit in limit_table(recipe)
    )
    has_passed = judgement.verdict is Verdict.PASS
    decision = DecisionView(
        *(has_passed, judgement.reason.name, judgement.comparison, judgement.anomaly_score),
        *(judgement.worst_measure, recipe.name, recipe.version, 0.02),
    )
    views = tuple(
        ScoreView(
            score.scorer,
            True,
            '',
            tuple(MeasureView(f'{score.scorer}.{n}', v) for n, v in score.measures.items()),
        )
        for score in scores
    )
    return PartView((session, number), 1.7e9, decision=decision, scores=views, limits=limits)


def review_parts(reviews, recipe: Recipe, *, n_faint: int, n_deep: int, comment: str) -> None:
    """
    Put rejects into a review set and judge them: faint spots are good, deep ones are defects.

    """
    from anomaly_inspection.panel.review.reject import ReviewVerdict

    for number in range(1, n_faint + n_deep + 1):
        is_faint = number <= n_faint
        image = spotted(100 + number, FAINT if is_faint else DEEP)
        part = judged_part(recipe, number, image)
        assert not part.decision.has_passed
        reviews.put(part, lambda image=image: image, image.nbytes, 1.7e9 + number)
        assert reviews.settle()
        verdict = ReviewVerdict.GOOD if is_faint else ReviewVerdict.DEFECT
        reviews.judge(part.key, verdict, comment, 'anna', 1.8e9)
