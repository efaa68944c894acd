# SPDX-License-Identifier: Apache-2.0
"""
Choose scorers and their settings for a product, from good parts and synthetic defects alone.

Each of the `CANDIDATES` is fitted to some of the good parts. It then judges the other good parts,
as they are and with synthetic defects. What counts is how well the anomaly score separates damaged
parts from good ones (AUROC). On real sets this order of the candidates agreed with their order on
real defects; the share of defects seen at the limits, which is small where parts are few, did not.
The first candidate is taken unless a later one is clearly better. A second scorer joins only when
both together see clearly more at their limits.

"""

from __future__ import annotations

from dataclasses import dataclass, field
import math
import time
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np
from scipy.stats import binomtest

from anomaly_inspection.errors import AlignmentError, FrameError, SettingError
from anomaly_inspection.learning.part_mask import part_in_region
from anomaly_inspection.learning.part_preparation import preprocessor_of
from anomaly_inspection.learning.scorer_fit import fit_scorers
from anomaly_inspection.learning.separation import auroc
from anomaly_inspection.learning.synthetic_defects import random_defect
from anomaly_inspection.progress import no_progress
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.scoring.frame_scorer import ScoreStatus
from anomaly_inspection.scoring.registry import scorer_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import PreprocessingSettings, Preprocessor
    from anomaly_inspection.learning.good_images import GoodImages
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe

    Settings = Mapping[str, Mapping[str, Any]]

# Scorer and the settings that differ from its defaults. Those that served best on real sets come
# first: where parts are few, synthetic defects alone cannot tell.
CANDIDATES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ('patch_statistics', {'statistics': 'position'}),
    ('template', {}),
    ('variation', {'flatten_px': 7}),
    ('variation', {'flatten_px': 0}),
    ('ssim', {}),
    ('patch_statistics', {'statistics': 'pooled'}),
)
DEFAULT_BUDGET_MS = 30.0
FEWEST_PARTS = 12

_MOST_PARTS = 120
_FEW_PARTS = 60
_THIRDS = 3
_DEFECTS = 150
_DRAWS = 20
_OTHERS = 8
_TIMED_FRAMES = 20
_SEED = 1
# Pixels times gray levels. Hardly any scorer sees weaker defects: they would only add noise.
_LEAST_STRENGTH = 200.0
# What must be gained for another candidate, and for a second scorer.
_CLEARLY_HIGHER_AUROC = 0.02
_CLEARLY_MORE_SEEN = 0.03
_CHANCE = 0.05


@dataclass(frozen=True)
class ScorerChoice:
    """
    Which scorers were chosen, and why.

    Parameters
    ----------
    settings : dict of str to dict
        By scorer, the settings that differ from its defaults; the best scorer comes first.
    reasons : tuple of str
        One sentence each.

    """

    settings: dict[str, dict[str, Any]]
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Trial:
    """
    How some scorers judge held-out good parts and damaged ones.

    Parameters
    ----------
    settings : mapping
        As in `ScorerChoice`.
    good, damaged : ndarray of float64
        Anomaly scores; infinity for parts that could not be judged.
    scoring_ms : float
        Median time of scoring a frame, without preparing it.

    """

    settings: Settings
    good: NDArray[np.float64]
    damaged: NDArray[np.float64]
    scoring_ms: float

    @property
    def seen(self) -> NDArray[np.bool_]:
        """
        Which defects are seen at the limits.

        """
        return self.damaged > 1.0

    @property
    def auroc(self) -> float:
        """
        How often a damaged part scores higher than a good one; ties count half.

        """
        return auroc(self.good, self.damaged)

    @property
    def text(self) -> str:
        """
        'patch_statistics (statistics pooled)'.

        """
        parts = []
        for scorer, settings in self.settings.items():
            words = ', '.join(f'{key} {value}' for key, value in settings.items())
            parts.append(f'{scorer} ({words})' if words else scorer)
        return ' with '.join(parts)

    @property
    def figures(self) -> str:
        """
        What it reached, for a sentence.

        """
        return (
            f'sees {100 * float(self.seen.mean()):.0f} % at its limits, AUROC {self.auroc:.3f}, '
            f'{self.scoring_ms:.1f} ms a frame'
        )


def choose_scorers(
    images: GoodImages,
    preprocessing: PreprocessingSettings,
    false_reject_rate: float,
    *,
    budget_ms: float = DEFAULT_BUDGET_MS,
    progress: Progress = no_progress,
) -> ScorerChoice:
    """
    Choose the scorers for a product.

    Parameters
    ----------
    images : GoodImages
        At least 12 that are fit; an even choice of 120 is judged. When the parts have named
        classes, a scorer that tells classes apart comes first.
    preprocessing : PreprocessingSettings
        The same for all candidates.
    false_reject_rate : float
        As the recipe will have it.
    budget_ms : float
        Most time that scoring a prepared frame may take on this machine, over 0.
    progress : callable (done, total, what), optional
        Called after every candidate.

    Raises
    ------
    SettingError
        When there are too few parts, the budget is out of range, or no candidate can be taught
        within the budget.

    """
    fit_count = len(images.named) - len(images.unfit)
    if fit_count < FEWEST_PARTS:
        raise SettingError(
            f'{fit_count} good images; needed to choose scorers: at least {FEWEST_PARTS}. Name '
            'the scorers instead'
        )
    if not 0.0 < budget_ms < math.inf:
        raise SettingError(f'speed budget is {budget_ms} ms a frame; allowed: over 0')
    bench = _Bench(preprocessing, false_reject_rate, _splits(images))
    trials, reasons = _try_candidates(bench, progress)
    affordable = [trial for trial in trials if trial.scoring_ms <= budget_ms]
    if not affordable:
        fastest = min((trial.scoring_ms for trial in trials), default=math.nan)
        raise SettingError(
            f'no scorer fits the speed budget of {budget_ms:g} ms a frame; the fastest takes '
            f'{fastest:.1f} ms here ({"; ".join(reasons) or "all can be taught"})'
        )
    has_classes = images.classes is not None
    tell_classes = [t for t in affordable if _tells_classes(t)] if has_classes else []
    best = _best(tell_classes or affordable)
    reasons += [
        f'{trial.text}: {trial.figures}'
        + ('' if trial in affordable else f', over the {budget_ms:g} ms allowed')
        for trial in trials
    ]
    reasons.append(
        f'chosen: {best.text}' + (', as it tells the classes apart' if tell_classes else '')
    )
    best, joined = _with_others(best, affordable, bench, budget_ms)
    settings = {scorer: dict(values) for scorer, values in best.settings.items()}
    return ScorerChoice(settings, (*reasons, *joined))


def _try_candidates(bench: _Bench, progress: Progress) -> tuple[list[_Trial], list[str]]:
    """
    Try every candidate; give the trials, and the reasons why a candidate cannot be tried.

    """
    trials, reasons = [], []
    for done, (scorer, settings) in enumerate(CANDIDATES, start=1):
        try:
            trials.append(bench.try_scorers({scorer: settings}))
        except SettingError as error:
            reasons.append(f'{scorer} cannot be taught on these parts: {error}')
        progress(done, len(CANDIDATES), 'choosing the scorers')
    return trials, reasons


def _with_others(
    best: _Trial, affordable: Sequence[_Trial], bench: _Bench, budget_ms: float
) -> tuple[_Trial, list[str]]:
    """
    Let other scorers join the best where both see clearly more; give the reasons as well.

    """
    reasons = []
    for other in sorted(affordable, key=lambda trial: -trial.auroc):
        if other.settings.keys() & best.settings.keys():
            continue
        if best.scoring_ms + other.scoring_ms > budget_ms or not _could_add(best, other):
            continue
        both = bench.try_scorers({**best.settings, **other.settings})
        if both.scoring_ms <= budget_ms and _sees_clearly_more(both, best):
            reasons.append(f'{other.text} joins it: together {both.figures}')
            best = both
    return best, reasons


@dataclass(frozen=True, eq=False)
class _Bench:
    """
    Where scorers are tried: the good parts in splits, and all that is the same for every trial.

    """

    preprocessing: PreprocessingSettings
    false_reject_rate: float
    splits: list[_Split]

    def try_scorers(self, settings: Settings) -> _Trial:
        """
        Fit scorers to each split and judge what it holds out.

        """
        return _joined(settings, [self._try_on(split, settings) for split in self.splits])

    def _try_on(self, split: _Split, settings: Settings) -> _Trial:
        try:
            recipe = self._taught(split.taught, settings)
        except SettingError:
            if len(split.others.named) == len(split.taught.named):
                raise
            recipe = self._taught(split.others, settings)
        preprocessor = preprocessor_of(recipe)
        damaged = split.damaged(preprocessor)
        scores = _scores(recipe, split.held_out + damaged)
        count = len(split.held_out)
        scoring_ms = _scoring_ms(recipe, preprocessor, damaged[:_TIMED_FRAMES])
        return _Trial(settings, scores[:count], scores[count:], scoring_ms)

    def _taught(self, images: GoodImages, settings: Settings) -> Recipe:
        fitted = fit_scorers(images, self.preprocessing, settings, self.false_reject_rate)
        return fitted.recipe('candidate')


@dataclass(eq=False)
class _Split:
    """
    Good parts to fit to, and others to judge, as they are and damaged.

    Parameters
    ----------
    taught : GoodImages
        Those of the sample that are not held out.
    others : GoodImages
        All that are not held out: a sample of many kinds of part has too few of each kind.
    held_out : list of ndarray of uint8
        The parts to judge.
    defect_count : int
        How many damaged parts to judge.

    """

    taught: GoodImages
    others: GoodImages
    held_out: list[NDArray[np.uint8]]
    defect_count: int
    _damaged: list[NDArray[np.uint8]] = field(default_factory=list)

    def damaged(self, preprocessor: Preprocessor) -> list[NDArray[np.uint8]]:
        """
        Give the damaged parts; they are drawn at the first trial, which tells where the part is.

        """
        if not self._damaged:
            others = [frame for _, frame in self.taught.named]
            self._damaged = _damaged(preprocessor, self.held_out, others, self.defect_count)
        return self._damaged


def _splits(images: GoodImages) -> list[_Split]:
    """
    Hold out a third of the parts; where parts are few, each third in turn.

    """
    named = images.without(images.unfit)
    places = np.linspace(0, len(named) - 1, min(len(named), _MOST_PARTS)).round().astype(int)
    sample = [named[place] for place in places]
    thirds = range(_THIRDS) if len(sample) < _FEW_PARTS else range(1)
    held_out = [{name for name, _ in sample[third::_THIRDS]} for third in thirds]
    return [
        _Split(
            images.subset([one for one in sample if one[0] not in held_out[third]]),
            images.subset([one for one in named if one[0] not in held_out[third]]),
            [frame for _, frame in sample[third::_THIRDS]],
            math.ceil(_DEFECTS / len(thirds)),
        )
        for third in thirds
    ]


def _joined(settings: Settings, trials: Sequence[_Trial]) -> _Trial:
    return _Trial(
        settings,
        np.concatenate([trial.good for trial in trials]),
        np.concatenate([trial.damaged for trial in trials]),
        float(np.median([trial.scoring_ms for trial in trials])),
    )


def _tells_classes(trial: _Trial) -> bool:
    """
    Tell whether one of the scorers says of which class a part is.

    """
    return any(
        spec.class_range is not None
        for scorer in trial.settings
        for spec in scorer_class(scorer).measures
    )


def _damaged(
    preprocessor: Preprocessor,
    frames: Sequence[NDArray[np.uint8]],
    others: Sequence[NDArray[np.uint8]],
    count: int,
) -> list[NDArray[np.uint8]]:
    """
    Put random defects on good parts, one part after the other, where the recipe looks.

    """
    places = []
    for frame in frames:
        try:
            prepared = preprocessor.prepare(frame)
        except (AlignmentError, FrameError):
            continue
        part = part_in_region(frame, prepared.to_frame, prepared.image.shape[:2])
        places.append((frame, part))
    if not places:
        raise SettingError(f'0 of {len(frames)} good parts that were held out can be aligned')
    others = others[:: math.ceil(len(others) / _OTHERS)]
    rng = np.random.default_rng(_SEED)
    turns = math.ceil(count / len(places))
    return [_clear_defect(frame, others, rng, part) for frame, part in (places * turns)[:count]]


def _clear_defect(
    frame: NDArray[np.uint8],
    others: Sequence[NDArray[np.uint8]],
    rng: np.random.Generator,
    part: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """
    Draw defects until one is strong enough, or the last of several.

    """
    for _ in range(_DRAWS):
        damaged, mask = random_defect(frame, others, rng, part)
        contrast = float(cv2.absdiff(damaged, frame)[mask].mean())
        if contrast * math.sqrt(4.0 / math.pi * float(mask.sum())) >= _LEAST_STRENGTH:
            break
    return damaged


def _scores(recipe: Recipe, frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """
    Give the anomaly score of each frame; infinity for a frame that cannot be judged.

    """
    frame_scorer = recipe.frame_scorer()
    limits = list(limit_table(recipe))
    scores = []
    for frame in frames:
        found = {score.scorer: score for score in frame_scorer.score(frame)}
        is_judged = all(score.status is ScoreStatus.OK for score in found.values())
        scores.append(
            max(
                limit.anomaly_score(found[limit.scorer].measures[limit.measure])
                for limit in limits
            )
            if is_judged
            else math.inf
        )
    return np.array(scores, np.float64)


def _scoring_ms(
    recipe: Recipe, preprocessor: Preprocessor, frames: Sequence[NDArray[np.uint8]]
) -> float:
    """
    Give the median time of scoring a prepared frame; infinity when no frame can be prepared.

    """
    scorers = [
        scorer_class(name).from_arrays(part.arrays, part.settings)
        for name, part in recipe.scorers.items()
    ]
    times_ms = []
    for frame in frames:
        try:
            prepared = preprocessor.prepare(frame)
        except (AlignmentError, FrameError):
            continue
        started_s = time.perf_counter()
        for scorer in scorers:
            scorer.score(prepared)
        times_ms.append(1e3 * (time.perf_counter() - started_s))
    return float(np.median(times_ms)) if times_ms else math.inf


def _best(trials: Sequence[_Trial]) -> _Trial:
    """
    Give the first one, or a later one that separates clearly better.

    """
    best = trials[0]
    for trial in trials[1:]:
        if trial.auroc > best.auroc + _CLEARLY_HIGHER_AUROC:
            best = trial
    return best


def _could_add(best: _Trial, other: _Trial) -> bool:
    """
    Tell whether the other one sees enough of the defects that the best one misses.

    """
    return float((other.seen & ~best.seen).mean()) >= _CLEARLY_MORE_SEEN


def _sees_clearly_more(both: _Trial, best: _Trial) -> bool:
    """
    Tell whether both together see clearly more than the best alone.

    They must see at least 3 % more, which chance would give in less than 5 % of cases (McNemar's
    exact test), separate as well, and reject no more good parts.

    """
    won = int((both.seen & ~best.seen).sum())
    lost = int((best.seen & ~both.seen).sum())
    return (
        won - lost >= _CLEARLY_MORE_SEEN * both.seen.size
        and binomtest(won, won + lost, alternative='greater').pvalue < _CHANCE
        and both.auroc >= best.auroc
        and int((both.good > 1.0).sum()) <= int((best.good > 1.0).sum())
    )
