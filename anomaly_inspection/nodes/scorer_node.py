# SPDX-License-Identifier: Apache-2.0
"""
The scorer node: one preprocessing and one or several scorers on every frame of every part.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
import threading
import time
from typing import Any, ClassVar, TYPE_CHECKING

from sensor_msgs.msg import Image

from anomaly_inspection.capture.belt_plane import read_belt_plane
from anomaly_inspection.errors import FrameError, InspectionError, SettingError
from anomaly_inspection.msg import Part, RecipeInForce, RecipePrepared, Score
from anomaly_inspection.nodes.frame_workers import FrameWorkers
from anomaly_inspection.nodes.freed_memory import keep_freed_memory
from anomaly_inspection.nodes.frequency import Frequency
from anomaly_inspection.nodes.image_conversion import array_from_image, image_from_array
from anomaly_inspection.nodes.image_stream import ImageStream
from anomaly_inspection.nodes.inspection_node import (
    ERROR,
    InspectionNode,
    WARN,
)
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.pose_face import PoseFace
from anomaly_inspection.nodes.pose_reporter import PoseReporter
from anomaly_inspection.nodes.qos import EVENT, IMAGE, LATCHED
from anomaly_inspection.nodes.recipe_reading import read_within_budget, RecipeParameters
from anomaly_inspection.nodes.score_messages import score_message
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.scoring.frame_scorer import combined_map, ScorerResult, ScoreStatus
from anomaly_inspection.steady_clock import exposure_on_this_clock

if TYPE_CHECKING:
    from anomaly_inspection.capture.belt_plane import BeltPlane
    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.scoring.frame_scorer import FrameScorer

# Frames and parts come on two topics, in either order; whichever is first waits for the other.
_WAITING_IMAGES = 8
_WAITING_PARTS = 64
_CHECK_S = 0.5
# Frames that wait for a worker; as many as wait on the way of an image topic.
_WAITING_FRAMES = 5
# How long a stop waits for the frames that are being scored.
_STOP_S = 2.0


@dataclass(frozen=True)
class ScorerParameters(RecipeParameters):
    """
    Parameters of the scorer node.

    """

    recipe: str = parameter(
        '',
        'Folder of the recipe to start with; empty: wait until the decider announces one. Later '
        'the decider says which one is in force.',
        read_only=True,
    )
    scorers: tuple[str, ...] = parameter(
        (),
        'Scorers that run in this node; every recipe must have them. Empty = all that the recipe '
        'in force has. Several share one preprocessing.',
        read_only=True,
    )
    max_age_s: float = parameter(
        1.0,
        'Frames older than this are not scored any more: their parts are already decided. '
        "Not less than the decider's deadline_s.",
        unit='s',
        minimum=0.01,
        maximum=60.0,
    )
    # Two, so that one slow frame does not hold up the next; the smallest cells have two cores.
    workers: int = parameter(
        2,
        'Frames that are scored at the same time, each on a thread of its own; scores are still '
        'published in the order of the frames. More help where frames come faster than one core '
        'can score them. Each but the first takes the memory of one frame more than '
        'recipe_budget_mb.',
        minimum=1,
        maximum=8,
        read_only=True,
    )
    belt_plane: str = parameter(
        '',
        'File belt_plane.yaml of anomaly-inspection calibrate-camera: part_pose then says where '
        "parts lie on the belt in metres; '' = in pixels alone.",
        read_only=True,
    )
    publishes_tf: bool = parameter(
        True,
        'With belt_plane: tell tf2 where the camera stands in the frame of the belt (/tf_static). '
        'false where another node does so.',
        read_only=True,
    )


@dataclass(frozen=True)
class _LoadedRecipe:
    recipe: Recipe
    frame_scorer: FrameScorer
    pose: PoseReporter


@dataclass(frozen=True)
class _Frame:
    """
    A frame of a part, and the recipe that was in force when it came.

    """

    image: Image
    session_id: str
    part_id: int
    exposure_s: float
    loaded: _LoadedRecipe


@dataclass(frozen=True)
class _Scored:
    scores: list[ScorerResult]
    duration_s: float


class ScorerNode(InspectionNode[ScorerParameters]):
    """
    Takes part and part/image, gives score, and anomaly_map while somebody watches.

    The map is in the frame's pixels and in units of the region limit: above 1 a pixel belongs to a
    region; with several scorers it is the highest of theirs.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'recipe': ('recipe',),
        'frames': ('age', 'queue', 'lost *', 'frequency frames', 'belt plane'),
        'scorers': ('scorer *', 'scoring', 'workers'),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__('scorer', ScorerParameters, **options)
        keep_freed_memory()
        self._belt: BeltPlane | None = None
        self._loaded: _LoadedRecipe | None = None
        self._prepared: _LoadedRecipe | None = None
        self._announced_hash = ''
        self._preparing: threading.Thread | None = None
        self._images: OrderedDict[int, Image] = OrderedDict()
        self._frames: OrderedDict[int, tuple[str, int, float]] = OrderedDict()
        self._workers: FrameWorkers[_Frame, _Scored | None] | None = None
        self._scored = 0
        self._too_old = 0
        self._unmatched = 0
        self._frequency = Frequency('frames scored')
        self.watch_frequency('frames', self._frequency)

    def configure(self) -> None:
        """
        Load the recipe if one is named, make the endpoints.

        """
        file = self.parameters.belt_plane
        self._belt = read_belt_plane(Path(file).expanduser()) if file else None
        self._loaded = self._load(self.parameters.recipe) if self.parameters.recipe else None
        self._score = self.publish_on(Score, 'score', EVENT)
        self._pose_face = PoseFace(self, self._belt, publishes_tf=self.parameters.publishes_tf)
        self._anomaly_map = self.publish_on(Image, 'anomaly_map', IMAGE)
        self._recipe_prepared = self.publish_on(RecipePrepared, 'recipe_prepared', LATCHED)
        self.listen(Part, 'part', self._take_part, EVENT)
        images = ImageStream(self, Image, 'part/image', self._take_image)
        self.every(_CHECK_S, images.check)
        self.every(_CHECK_S, self._check_workers)
        self.listen(RecipeInForce, 'recipe_prepare', self._prepare_recipe, LATCHED)
        self.listen(RecipeInForce, 'recipe_in_force', self._switch_recipe, LATCHED)

    def activate(self) -> None:
        """
        Start the workers; tell the decider which recipe is ready.

        """
        self._workers = FrameWorkers(
            self.parameters.workers,
            _WAITING_FRAMES,
            work=self._score_frame,
            deliver=self._deliver,
            fail=self._report_failure,
        )
        if self._loaded is not None:
            self._confirm(self._loaded)
        self._pose_face.tell_tf()

    def deactivate(self) -> None:
        """
        Tell the decider that nobody scores here; forget what waits.

        """
        if self._preparing is not None:
            # Else it would tell the decider, later, that its recipe is ready.
            self._preparing.join()
        if self._workers is not None and not self._workers.close(_STOP_S):
            self.get_logger().error('a worker hangs: the node stops without its frame')
        self._workers = None
        self.clear('workers')
        recipe_hash = self._loaded.recipe.hash if self._loaded else self._announced_hash
        self._refuse(recipe_hash, f'{self.get_name()} is not active')
        self._images.clear()
        self._frames.clear()

    def cleanup(self) -> None:
        """
        Let go of the recipe.

        """
        self._loaded = self._prepared = None

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the recipe and the counts.

        """
        loaded = self._loaded
        return {
            'recipe': f'{loaded.recipe.name} v{loaded.recipe.version}' if loaded else 'none',
            'frames scored': self._scored,
            'frames too old to score': self._too_old,
            'frames without their part': self._unmatched,
        }

    # Recipes

    def _load_announced(self, message: RecipeInForce) -> _LoadedRecipe | None:
        """
        Load what the decider announces; None, and the decider hears why, when that fails.

        """
        try:
            loaded = self._load(message.path)
            if loaded.recipe.hash != message.hash:
                raise InspectionError(
                    f'hash {loaded.recipe.hash[:12]}, the decider announced {message.hash[:12]}: '
                    'not the same files'
                )
        except Exception as error:  # noqa: BLE001 - a thread's edge: the decider must hear of it
            text = f'{self.get_name()} cannot take up {message.path}: {self.describe(error)}'
            self.report('recipe', WARN, text)
            self._refuse(message.hash, text)
            return None
        self.clear('recipe')
        return loaded

    def _load(self, path: str) -> _LoadedRecipe:
        recipe = read_within_budget(path, self.parameters)
        names = self.parameters.scorers
        missing = [name for name in names if name not in recipe.scorers]
        if missing:
            raise SettingError(
                f'recipe {recipe.name} has no scorer {", ".join(map(repr, missing))}, which this '
                f'node must run (parameter scorers); it has: {", ".join(recipe.scorers)}'
            )
        frame_scorer = recipe.frame_scorer(names or None)
        frame_scorer.allow_threads(self.parameters.workers)
        return _LoadedRecipe(recipe, frame_scorer, PoseReporter(recipe, self._belt))

    def _confirm(self, loaded: _LoadedRecipe) -> None:
        """
        Tell the decider which scorers of a recipe run here from its switch on.

        """
        self._recipe_prepared.publish(
            RecipePrepared(
                scorers=list(loaded.frame_scorer.scorer_names),
                recipe_hash=loaded.recipe.hash,
                is_ready=True,
            )
        )

    def _refuse(self, recipe_hash: str, error: str) -> None:
        """
        Tell the decider that a recipe is not ready here, and why.

        """
        self._recipe_prepared.publish(
            RecipePrepared(
                scorers=list(self.parameters.scorers), recipe_hash=recipe_hash, error=error
            )
        )

    def _prepare_recipe(self, message: RecipeInForce) -> None:
        self._announced_hash = message.hash
        if not message.hash:
            # The decider has no recipe (any more) to bring into force.
            self._prepared = None
            return
        if self._loaded is not None and message.hash == self._loaded.recipe.hash:
            # So the decider ends a switch that failed: what was prepared is not wanted any more.
            self._prepared = None
            self._confirm(self._loaded)
            return
        if self._preparing is not None and self._preparing.is_alive():
            text = f'{self.get_name()} is still preparing another recipe: try again'
            self.get_logger().warning(text)
            self._refuse(message.hash, text)
            return
        # Loading takes longer than a part; the parts that come meanwhile are scored by the old
        # recipe.
        self._preparing = threading.Thread(
            target=self._prepare_in_background, args=(message,), name='recipe loader'
        )
        self._preparing.start()

    def _prepare_in_background(self, message: RecipeInForce) -> None:
        prepared = self._load_announced(message)
        if prepared is not None and message.hash == self._announced_hash:
            self._prepared = prepared
            self._confirm(prepared)

    def _switch_recipe(self, message: RecipeInForce) -> None:
        if self._loaded is not None and message.hash == self._loaded.recipe.hash:
            return
        if self._prepared is not None and message.hash == self._prepared.recipe.hash:
            loaded, self._prepared = self._prepared, None
        else:
            # Started after the switch; until this is loaded every part would be rejected anyway.
            loaded = self._load_announced(message)
        if loaded is None:
            return
        self._loaded = loaded
        self._confirm(loaded)
        self.get_logger().info(
            f'recipe {message.name} v{message.version} ({message.hash[:12]}) is in force'
        )

    # Frames

    def _take_part(self, message: Part) -> None:
        now_ns = time.monotonic_ns()
        exposure_ns = exposure_on_this_clock(
            message.exposure_steady_ns, message.steady_clock_id, message.age_s, now_ns
        )
        first_ns = nanoseconds_from_stamp(message.frame_stamps[0])
        for stamp, problem in zip(message.frame_stamps, message.frame_problems, strict=True):
            if problem:
                continue
            stamp_ns = nanoseconds_from_stamp(stamp)
            exposure_s = 1e-9 * (exposure_ns + stamp_ns - first_ns)
            self._frames[stamp_ns] = (message.session_id, message.part_id, exposure_s)
            self._match(stamp_ns)
        while len(self._frames) > _WAITING_PARTS:
            self._frames.popitem(last=False)
            self._unmatched += 1

    def _take_image(self, message: Image) -> None:
        stamp_ns = nanoseconds_from_stamp(message.header.stamp)
        self._images[stamp_ns] = message
        self._match(stamp_ns)
        while len(self._images) > _WAITING_IMAGES:
            self._images.popitem(last=False)
            self._unmatched += 1

    def _match(self, stamp_ns: int) -> None:
        if stamp_ns not in self._images or stamp_ns not in self._frames:
            return
        image = self._images.pop(stamp_ns)
        session_id, part_id, exposure_s = self._frames.pop(stamp_ns)
        if self._loaded is None or self._workers is None:
            # No recipe is in force yet: the decider rejects the part as NOT_READY.
            self._unmatched += 1
            return
        # A frame that waits across a switch keeps the recipe of its part.
        frame = _Frame(image, session_id, part_id, exposure_s, self._loaded)
        for _ in range(self._workers.put(frame)):
            self.report_event(
                'queue',
                WARN,
                'frames come faster than they can be scored: the oldest of more than '
                f'{_WAITING_FRAMES} that wait are dropped, and their parts are rejected',
                counted_as='frames dropped',
            )

    def _check_workers(self) -> None:
        if self._workers is not None and self._workers.release(self._is_too_old):
            self.report(
                'workers',
                ERROR,
                f'a worker needs more than max_age_s {self.parameters.max_age_s:g} s for a '
                'frame: its part is rejected. Scoring is too slow, or hangs',
            )
        else:
            self.clear('workers')

    def _is_too_old(self, frame: _Frame) -> bool:
        return time.monotonic() - frame.exposure_s > self.parameters.max_age_s

    def _score_frame(self, frame: _Frame) -> _Scored | None:
        """
        Score a frame on a worker's thread; None when it is too old.

        """
        if self._is_too_old(frame):
            return None
        frame_scorer = frame.loaded.frame_scorer
        began_s = time.perf_counter()
        try:
            scores = frame_scorer.score(array_from_image(frame.image))
        except FrameError as error:
            scores = [
                ScorerResult(name, ScoreStatus.FRAME_INVALID, str(error), float('nan'))
                for name in frame_scorer.scorer_names
            ]
        return _Scored(scores, time.perf_counter() - began_s)

    def _deliver(self, frame: _Frame, scored: _Scored | None) -> None:
        """
        Publish the scores of a frame, on one thread at a time.

        """
        if scored is None:
            self._too_old += 1
            self.report(
                'age',
                WARN,
                f'frames come to the scorer later than max_age_s {self.parameters.max_age_s:g} s: '
                'their parts are rejected. Scoring is too slow for this rate, or was held up',
            )
            return
        self.clear('age')
        for score in scored.scores:
            message = score_message(score, frame.loaded.frame_scorer, frame.loaded.recipe)
            message.header = frame.image.header
            message.session_id = frame.session_id
            message.part_id = frame.part_id
            message.duration_s = scored.duration_s
            self._score.publish(message)
            topic = f'scorer {score.scorer}'
            if score.status == ScoreStatus.SCORER_FAILED:
                self.report(topic, ERROR, f'{score.scorer} failed: {score.detail}')
            else:
                self.clear(topic)
        self._publish_pose(frame, scored.scores)
        self._scored += 1
        self._frequency.tick()
        if self._anomaly_map.get_subscription_count():
            self._publish_map(scored.scores, frame.image)

    def _publish_pose(self, frame: _Frame, scores: list[ScorerResult]) -> None:
        """
        Say where the part lies, where several nodes score a recipe once.

        """
        recipe, reporter = frame.loaded.recipe, frame.loaded.pose
        first = next(iter(recipe.scorers))
        if not self._pose_face.is_heard or not reporter.is_aligned:
            return
        header = frame.image.header
        misfit = reporter.misfit(header.frame_id, (frame.image.width, frame.image.height))
        if misfit:
            self.report('belt plane', WARN, f'part_pose: {misfit}')
        else:
            self.clear('belt plane')
        for score in scores:
            if score.scorer == first:
                message = reporter.message(score, header)
                message.session_id, message.part_id = frame.session_id, frame.part_id
                self._pose_face.publish(message)

    def _report_failure(self, error: Exception) -> None:
        self.report_event(
            'scoring',
            ERROR,
            f'a frame could not be scored: {self.describe(error)}; its part is rejected',
            counted_as='failed frames',
        )

    def _publish_map(self, scores: list[ScorerResult], image: Image) -> None:
        frame_map = combined_map(scores)
        if frame_map is not None:
            header = image.header
            self._anomaly_map.publish(image_from_array(frame_map, header.stamp, header.frame_id))


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(ScorerNode)
