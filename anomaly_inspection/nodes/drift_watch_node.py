# SPDX-License-Identifier: Apache-2.0
"""
The drift watch: says when the line no longer shows what the recipe was taught on, and why.

It only listens, in a process of its own and at low priority. No verdict depends on it.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
import math
import os
import threading
import time
from typing import Any, ClassVar, TYPE_CHECKING

from anomaly_inspection.drift.causes import CauseKind
from anomaly_inspection.drift.learned import LearnedFolder
from anomaly_inspection.drift.picture import DriftPicture
from anomaly_inspection.drift.reference import low_is_bad, reference_of
from anomaly_inspection.drift.watch import DriftStatus, DriftWatch
from anomaly_inspection.errors import FrameError, StateError
from anomaly_inspection.imaging.alignment import Alignment
from anomaly_inspection.imaging.conditions import ConditionMeter
from anomaly_inspection.imaging.preprocessing import Preprocessor
from anomaly_inspection.msg import Decision, DriftCause, DriftState, RecipeInForce, Score
from anomaly_inspection.nodes.freed_memory import share_heaps
from anomaly_inspection.nodes.inspection_node import InspectionNode, steady_s, WARN
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.part_images import PartImage, PartImages
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.recipe_reading import read_within_budget, RecipeParameters
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp, stamp_from_nanoseconds

if TYPE_CHECKING:
    from anomaly_inspection.drift.learned import LearnedParts
    from anomaly_inspection.drift.reference import DriftReference
    from anomaly_inspection.drift.watch import Verdict
    from anomaly_inspection.recipes.recipe import Recipe

    Key = tuple[str, int]

#: The log says so when the node works.
DRIFT_WORDS = 'watching for drift'

_REMEMBERED_PARTS = 32
_LOOK_EVERY_S = 0.5
# The sentence on the page and in the log changes with its numbers; not more often than this.
_TELL_EVERY_S = 10.0
# Lower than what inspects: the drift watch takes what time is left.
_NICENESS = 10


@dataclass(frozen=True)
class DriftWatchParameters(RecipeParameters):
    """
    Parameters of the drift watch.

    """

    most_parts_per_s: float = parameter(
        5.0,
        'Where more parts come, only so many are looked at: drift is slower than parts, and a '
        'picture takes a few milliseconds.',
        unit='1/s',
        minimum=0.01,
        maximum=1000.0,
    )


@dataclass(frozen=True)
class _Loaded:
    """
    A recipe and what watches it.

    """

    recipe: Recipe
    watch: DriftWatch
    meter: ConditionMeter
    picture: DriftPicture


@dataclass
class _HeardPart:
    """
    What has come of a part before its decision.

    """

    scores: list[Score] = field(default_factory=list)
    image: PartImage | None = None
    decision: Decision | None = None


class DriftWatchNode(InspectionNode[DriftWatchParameters]):
    """
    Takes part, part/image, score, decision and recipe_in_force; gives drift.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'drift': ('drift',),
        'recipe': ('recipe',),
        'frames': ('lost part/image', 'picture'),
        'memory': ('learned',),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__('drift_watch', DriftWatchParameters, **options)
        self._loaded: _Loaded | None = None
        self._wanted_hash = ''
        self._loading: threading.Thread | None = None
        state_path = self._state_path()
        self._learned = LearnedFolder(state_path and state_path.with_suffix(''))
        self._keeping: threading.Thread | None = None
        self._parts: OrderedDict[Key, _HeardPart] = OrderedDict()
        self._next_look_s = -math.inf
        self._told_s = -math.inf
        self._told: tuple[object, ...] = ()
        self._picture = b''
        self._counted_ms: list[float] = []

    def configure(self) -> None:
        """
        Make the endpoints.

        """
        self._drift = self.publish_on(DriftState, 'drift', LATCHED)
        self._images = PartImages(self)
        self._images.give_to(self._take_image)
        self.listen(Score, 'score', self._take_score, EVENT)
        self.listen(Decision, 'decision', self._take_decision, EVENT)
        self.listen(RecipeInForce, 'recipe_in_force', self._take_recipe, LATCHED)
        self.every(_LOOK_EVERY_S, self._images.check)

    def activate(self) -> None:
        """
        Say how it stands.

        """
        self._publish()
        self.get_logger().info(f'{DRIFT_WORDS}: what changes is said here')

    def deactivate(self) -> None:
        """
        Forget the parts that are under way.

        """
        for thread in (self._loading, self._keeping):
            if thread is not None:
                thread.join()
        self._loading = self._keeping = None
        self._parts.clear()

    def cleanup(self) -> None:
        """
        Forget the recipe.

        """
        self._loaded, self._wanted_hash, self._told = None, '', ()
        self.clear('drift')

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give how it stands.

        """
        loaded, times = self._loaded, self._counted_ms
        if loaded is None:
            return {'recipe': 'none'}
        verdict = loaded.watch.verdict
        return {
            'recipe': f'{loaded.recipe.name} v{loaded.recipe.version}',
            'state': verdict.status.name,
            'parts compared': verdict.parts,
            'ms for a part': round(sum(times) / len(times), 1) if times else 'none yet',
        }

    # Recipes

    def _take_recipe(self, message: RecipeInForce) -> None:
        if message.hash == self._wanted_hash:
            return
        self._wanted_hash = message.hash
        self._loaded = None
        self._publish()
        if not message.hash:
            return
        # Reading takes a second; parts that come meanwhile are not compared.
        self._loading = threading.Thread(
            target=self._load, args=(message.path, message.hash), name='recipe loader'
        )
        self._loading.start()

    def _load(self, path: str, wanted_hash: str) -> None:
        try:
            recipe = read_within_budget(path, self.parameters)
            preprocessor = Preprocessor(
                *(recipe.preprocessing, recipe.frame_format),
                *(recipe.references[0], recipe.references[1:]),
                gives_unaligned=False,
            )
            meter = ConditionMeter(preprocessor, recipe.references[0])
            reference = reference_of(recipe) or self._learned_before(recipe)
            loaded = _Loaded(
                recipe,
                DriftWatch(reference, low_is_bad(recipe)),
                meter,
                DriftPicture(meter, recipe.references),
            )
        except Exception as error:  # noqa: BLE001 - a thread's edge: the diagnostics must tell
            self.report('recipe', WARN, f'drift is not watched: {self.describe(error)}')
            return
        self.clear('recipe')
        if wanted_hash == self._wanted_hash:
            self._loaded = loaded

    def _learned_before(self, recipe: Recipe) -> DriftReference | None:
        """
        Give what an earlier run has learned of a recipe that does not say how its parts looked.

        """
        measures = [
            f'{scorer}.{spec.name}'
            for scorer in recipe.scorers
            for spec in recipe.measures(scorer)
        ]
        try:
            learned = self._learned.find(recipe.hash, measures)
        except StateError as error:
            self.get_logger().warning(f'learning anew from the line: {error}')
            return None
        return learned.reference(low_is_bad(recipe)) if learned else None

    def _keep_learned(self, recipe: Recipe, learned: LearnedParts) -> None:
        """
        Keep what was learned; on a thread of its own, as a busy disk takes seconds.

        """
        try:
            self._learned.keep(recipe.hash, learned)
        except StateError as error:
            self.report('learned', WARN, f'what was learned is lost at the next start: {error}')
        else:
            self.clear('learned')

    # Parts

    def _take_score(self, message: Score) -> None:
        part = self._part((message.session_id, message.part_id))
        part.scores.append(message)

    def _take_image(self, image: PartImage) -> None:
        part = self._part(image.key)
        part.image = image
        if part.decision is not None:
            self._compare(image.key)

    def _take_decision(self, message: Decision) -> None:
        key = (message.session_id, message.part_id)
        part = self._part(key)
        part.decision = message
        if part.image is not None:
            self._compare(key)

    def _part(self, key: Key) -> _HeardPart:
        if key not in self._parts:
            self._parts[key] = _HeardPart()
            while len(self._parts) > _REMEMBERED_PARTS:
                self._parts.popitem(last=False)
        return self._parts[key]

    def _compare(self, key: Key) -> None:
        """
        Compare a part that all is known of, unless another one was just compared.

        """
        part, loaded, now_s = self._parts.pop(key), self._loaded, steady_s()
        decision, image = part.decision, part.image
        assert decision is not None
        assert image is not None
        if (
            loaded is None
            or now_s < self._next_look_s
            or decision.known_as != Decision.KNOWN_AS_UNKNOWN
            or decision.recipe_hash != loaded.recipe.hash
        ):
            return
        stamp_ns = nanoseconds_from_stamp(image.message.header.stamp)
        scores = [
            score
            for score in part.scores
            if nanoseconds_from_stamp(score.header.stamp) == stamp_ns
        ]
        if not scores:
            return
        self._next_look_s = now_s + 1.0 / self.parameters.most_parts_per_s
        began_s = time.thread_time()
        alignment = _alignment(scores[0])
        has_passed = decision.verdict == Decision.VERDICT_PASS
        try:
            frame = image.pixels()
            conditions = loaded.meter.measure(frame, alignment)
            if has_passed:
                loaded.picture.add(frame, alignment)
        except FrameError as error:
            self.report_event(
                'picture', WARN, f'a picture is not compared: {error}', counted_as='bad pictures'
            )
            return
        had_learned = loaded.watch.learned
        verdict = loaded.watch.feed(
            conditions,
            {f'{each.scorer}.{each.measure}': each.value for each in decision.measures},
            has_passed=has_passed,
            now_s=stamp_ns / 1e9,
        )
        if loaded.watch.learned is not had_learned:
            self._keeping = threading.Thread(
                target=self._keep_learned,
                args=(loaded.recipe, loaded.watch.learned),
                name='learned keeper',
            )
            self._keeping.start()
        self._counted_ms = [*self._counted_ms[-49:], 1000.0 * (time.thread_time() - began_s)]
        self._tell(loaded, verdict)

    # What is said

    def _tell(self, loaded: _Loaded, verdict: Verdict) -> None:
        """
        Publish when something is new; the numbers in the sentence alone are new every while.

        """
        kinds = (verdict.status, frozenset(cause.kind for cause in verdict.causes))
        is_due = steady_s() - self._told_s >= _TELL_EVERY_S
        if kinds == self._told and not (is_due and verdict.status != DriftStatus.VALID):
            return
        if kinds != self._told and verdict.causes:
            kind = verdict.causes[0].kind
            self._picture = loaded.picture.jpeg(
                as_it_lies=kind in (CauseKind.CAMERA, CauseKind.DIRT),
                cells=loaded.watch.moved_cells.get('image_cells')
                if kind is CauseKind.DIRT
                else None,
            )
        self._told, self._told_s = kinds, steady_s()
        self._publish()

    def _publish(self) -> None:
        message = drift_message(self._loaded, self._picture)
        message.header.stamp = self.get_clock().now().to_msg()
        if message.state == DriftState.STATE_VOID:
            self.report('drift', WARN, f'the false-reject promise is {message.detail}')
        else:
            self.clear('drift')
        self._drift.publish(message)


def drift_message(loaded: _Loaded | None, picture: bytes) -> DriftState:
    """
    Give how a recipe's promise stands as a message, but for its stamp.

    """
    if loaded is None:
        return DriftState(detail='no recipe is watched')
    recipe, verdict = loaded.recipe, loaded.watch.verdict
    reference = loaded.watch.reference
    message = DriftState(
        state=int(verdict.status),
        detail=sentence(verdict),
        promised_rate=recipe.provenance.promised_rate,
        is_learned_on_line=reference is None or reference.is_learned_on_line,
        parts=verdict.parts,
        recipe_name=recipe.name,
        recipe_version=recipe.version,
        recipe_hash=recipe.hash,
        causes=[
            DriftCause(
                cause=int(cause.kind),
                condition=cause.condition,
                change=cause.change,
                unit=cause.unit,
                since=stamp_from_nanoseconds(int(1e9 * cause.since_s)),
                text=cause.text,
            )
            for cause in verdict.causes
        ],
    )
    if verdict.causes:
        message.since = stamp_from_nanoseconds(int(1e9 * verdict.since_s))
        message.picture = picture
    return message


def sentence(verdict: Verdict) -> str:
    """
    Say how the promise stands: 'void since 14:02: light -6 %; the lamp may be ageing, ...'.

    """
    if verdict.status == DriftStatus.UNKNOWN:
        return 'no part has come yet'
    if verdict.status == DriftStatus.LEARNING:
        return (
            'the recipe does not say how its good parts looked: learning from the first good '
            f'parts of the line, {verdict.parts} so far'
        )
    if verdict.status == DriftStatus.VALID:
        return 'valid'
    since = datetime.fromtimestamp(verdict.since_s).astimezone()
    today = datetime.now().astimezone().date()
    when = since.strftime('%H:%M' if since.date() == today else '%Y-%m-%d %H:%M')
    return f'void since {when}: {". ".join(cause.text for cause in verdict.causes)}'


def _alignment(score: Score) -> Alignment | None:
    """
    Give how the part lies by a score; None where the recipe asks for no alignment.

    """
    confidence = score.alignment_confidence
    if math.isnan(confidence):
        if score.status == Score.STATUS_NOT_ALIGNED:
            return Alignment(0.0, 0.0, 0.0, 1.0, 0.0, is_found=False)
        return None
    alignment = Alignment(
        score.alignment_x_px,
        score.alignment_y_px,
        score.alignment_angle_rad,
        score.alignment_scale,
        confidence,
    )
    if alignment.is_still:
        # So a part is scored that was not found; a found one lies exactly so only by a miracle.
        return Alignment(0.0, 0.0, 0.0, 1.0, confidence, is_found=False)
    return alignment


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    os.nice(_NICENESS)
    share_heaps()
    spin_node(DriftWatchNode)
