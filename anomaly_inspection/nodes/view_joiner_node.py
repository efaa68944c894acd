# SPDX-License-Identifier: Apache-2.0
"""
The view joiner node: makes one part and one decision of what several views say.

Each view is a cell in a namespace below this one, without a sorter. Whoever works with parts and
decisions (sorter, recorder, panel, inspector, bridges) takes the joined ones, as with a single
camera.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
import functools
from pathlib import Path
import time
from typing import Any, ClassVar

from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from anomaly_inspection.deciding.frame_judge import Verdict
from anomaly_inspection.deciding.view_join import JoinedPart, ViewJoin, ViewJoinSettings
from anomaly_inspection.deciding.view_watch import ViewFault, ViewWatch
from anomaly_inspection.errors import InspectionError, RecipeError, SettingError
from anomaly_inspection.msg import (
    Decision,
    Fault,
    LimitsInForce,
    Part,
    RecipeInForce,
    Score,
)
from anomaly_inspection.nodes.inspection_node import (
    ERROR,
    InspectionNode,
    NodeParameters,
    steady_s,
    WARN,
)
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, KEPT_EVENT, LATCHED
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.view_messages import (
    decision_message,
    joined_limits,
    joined_recipe,
    part_message,
    said_by,
    score_message,
)
from anomaly_inspection.recipes.view_set import check_view_name, read_view_set, ViewSet
from anomaly_inspection.steady_clock import exposure_on_this_clock

_TICK_S = 0.01
_LOOK_S = 0.5
# Launch starts a node that has died again within one or two seconds.
_GONE_TO_FAULT_S = 6.0
# Scores that wait until it is known which part they belong to.
_WAITING_SCORES = 256


@dataclass(frozen=True)
class ViewJoinerParameters(NodeParameters):
    """
    Parameters of the view joiner node.

    """

    views: tuple[str, ...] = parameter(
        ('top', 'left'),
        'The views, 1 to 4, all required. Each is a namespace below that of this node, '
        'in which camera, scorer and decider run.',
        read_only=True,
    )
    leading_view: str = parameter(
        '',
        'The view whose part gives the joined one its key and its exposure, and from which '
        'gate_distance_m of the sorter is measured; empty: the first.',
        read_only=True,
    )
    recipe: str = parameter(
        '',
        'Folder that `anomaly-inspection teach --view` has written. What a view judges by another '
        'recipe than its own is rejected. Empty: nobody checks which recipes belong together.',
        read_only=True,
    )
    join: str = parameter(
        'trigger',
        "What makes parts of two views one. 'trigger': they are exposed at the same time. "
        "'distance': the belt carries the part from one camera to the next, see view_offsets_m.",
        choices=('trigger', 'distance'),
        read_only=True,
    )
    join_within_s: float = parameter(
        0.05,
        'Two parts are one when their exposures differ by this at most (less the way on the '
        'belt). Less than half of the shortest time between two parts, and not more than '
        'window_s of the sorter. A larger one tolerates cameras that expose less evenly; a PASS '
        'comes no sooner than twice this after the last exposure.',
        unit='s',
        minimum=0.0005,
        maximum=5.0,
        read_only=True,
    )
    view_offsets_m: tuple[str, ...] = parameter(
        (),
        "With join 'distance': how far each view lies behind the leading one along the belt, "
        "'left=0.25' in metres; below 0 = before it.",
        read_only=True,
    )
    belt_speed_m_per_s: float = parameter(
        0.5,
        "With join 'distance': speed of the belt, which must not change.",
        unit='m/s',
        minimum=0.001,
        maximum=10.0,
        read_only=True,
    )
    deadline_s: float = parameter(
        0.65,
        'From the exposure in the leading view to the joined decision at the latest; a view '
        "without a verdict by then is missing. Longer than the deciders' deadline_s and the way "
        "to the last camera together, shorter than the sorter's travel time.",
        unit='s',
        minimum=0.01,
        maximum=60.0,
        read_only=True,
    )
    missing_to_fault: int = parameter(
        3,
        'So many parts in a row without a verdict of the same view stop the line.',
        unit='parts',
        minimum=1,
        maximum=1000,
        read_only=True,
    )

    def join_settings(self) -> ViewJoinSettings:
        """
        Give how parts belong together.

        Raises
        ------
        SettingError
            When a value is not allowed, or two contradict each other.

        """
        for view in self.views:
            try:
                check_view_name(view)
            except RecipeError as error:
                raise SettingError(str(error)) from error
        offsets_m = dict(map(_offset, self.view_offsets_m))
        if self.join != 'distance' and offsets_m:
            raise SettingError("view_offsets_m needs join = 'distance'")
        if self.join == 'distance' and not offsets_m:
            raise SettingError("join = 'distance' needs view_offsets_m, such as ['left=0.25']")
        return ViewJoinSettings(
            views=self.views,
            leading=self.leading_view or self.views[0] if self.views else '',
            within_s=self.join_within_s,
            deadline_s=self.deadline_s,
            delays_s={
                view: metres / self.belt_speed_m_per_s for view, metres in offsets_m.items()
            },
        )


def _offset(text: str) -> tuple[str, float]:
    view, equals, metres = text.partition('=')
    try:
        value = float(metres)
    except ValueError:
        value = float('nan')
    if not equals or not -100.0 <= value <= 100.0:
        raise SettingError(
            f"view_offsets_m = {text!r} is refused: allowed is 'VIEW=METRES', -100 to 100 m"
        )
    return view.strip(), value


class ViewJoinerNode(InspectionNode[ViewJoinerParameters]):
    """
    Takes part, score, decision, fault, recipe_in_force and limits_in_force of each view; gives the
    same of all views together.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'views': ('fault', 'recipe *'),
        'joining': ('pitch', 'unclear'),
    }

    def __init__(self, **options: Any) -> None:
        self._join: ViewJoin | None = None
        self._set: ViewSet | None = None
        self._counts = dict.fromkeys(('passed', 'rejected', 'unclear'), 0)
        super().__init__('view_joiner', ViewJoinerParameters, **options)

    def configure(self) -> None:
        """
        Check the settings and the recipes, make the endpoints.

        """
        settings = self.parameters.join_settings()
        self._views, self._leading = settings.views, settings.leading
        self._set = None
        if self.parameters.recipe:
            self._set = read_view_set(self.parameters.recipe)
            if strangers := set(self._views) - self._set.taught.keys():
                raise SettingError(
                    f'{self.parameters.recipe} holds no recipe of view {sorted(strangers)[0]!r}; '
                    f'it has: {", ".join(self._set.taught)}'
                )
        self._join = ViewJoin(settings)
        self._watch = ViewWatch(self._views, self.parameters.missing_to_fault, _GONE_TO_FAULT_S)
        self._recipes: dict[str, RecipeInForce] = {}
        self._limits: dict[str, LimitsInForce] = {}
        # The hashes of the recipes that were checked, by view: {hash: '' or why it is not ours}.
        self._checked: dict[str, dict[str, str]] = {view: {} for view in self._views}
        self._in_force = RecipeInForce()
        self._scores: OrderedDict[tuple[str, tuple[str, int]], list[Score]] = OrderedDict()
        self._published_fault: ViewFault | None = None
        self._part = self.publish_on(Part, 'part', EVENT)
        self._score = self.publish_on(Score, 'score', EVENT)
        self._decision = self.publish_on(Decision, 'decision', KEPT_EVENT)
        self._fault = self.publish_on(Fault, 'fault', LATCHED)
        self._recipe_out = self.publish_on(RecipeInForce, 'recipe_in_force', LATCHED)
        self._limits_out = self.publish_on(LimitsInForce, 'limits_in_force', LATCHED)
        for view in self._views:
            for message_type, topic, callback, qos in (
                (Part, 'part', self._take_part, EVENT),
                (Score, 'score', self._take_score, EVENT),
                (Decision, 'decision', self._take_decision, EVENT),
                (Fault, 'fault', self._take_fault, LATCHED),
                (RecipeInForce, 'recipe_in_force', self._take_recipe, LATCHED),
                (LimitsInForce, 'limits_in_force', self._take_limits, LATCHED),
            ):
                taken = functools.partial(callback, view)
                self.listen(message_type, f'{view}/{topic}', taken, qos)
        self._trigger = self.publish_on(Empty, 'trigger', EVENT)
        self.serve(Trigger, '~/capture', lambda _: self._capture())
        self.every(_TICK_S, self._tick)
        self.every(_LOOK_S, self._look_around)

    def activate(self) -> None:
        """
        Begin to join; what was exposed before is not known here, and has no decision.

        """
        self._publish_fault(None)

    def deactivate(self) -> None:
        """
        Reject what is undecided.

        """
        if self._join is not None:
            self._publish(self._join.stop(steady_s()))
        self._scores.clear()

    def cleanup(self) -> None:
        """
        Forget the views.

        """
        self._join = self._set = None
        for topic in ('fault', *(f'recipe {view}' for view in self._views)):
            self.clear(topic)

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the views and the counts.

        """
        if self._join is None:
            return {}
        return {
            'views': ', '.join(self._views),
            **{f'view {view} is there': self._watch.is_there(view) for view in self._views},
            'recipe': f'{self._in_force.name} v{self._in_force.version}',
            **self._counts,
        }

    # What the views say

    def _take_part(self, view: str, message: Part) -> None:
        if not message.frame_stamps:
            return
        assert self._join is not None
        now_ns = time.monotonic_ns()
        exposure_ns = exposure_on_this_clock(
            message.exposure_steady_ns, message.steady_clock_id, message.age_s, now_ns
        )
        key = (message.session_id, message.part_id)
        news = self._join.part_seen(view, key, 1e-9 * exposure_ns, 1e-9 * now_ns, message)
        if view == self._leading and self._join.pitch_s <= 2 * self.parameters.join_within_s:
            self.report_event(
                'pitch',
                WARN,
                f'two parts came {self._join.pitch_s:.3f} s apart: join_within_s, '
                f'{self.parameters.join_within_s:g} s, must be less than half of that, else '
                'nobody knows which parts belong together, and all of them are rejected',
                counted_as='parts too close to be told apart',
            )
        self._publish(news)

    def _take_score(self, view: str, message: Score) -> None:
        assert self._join is not None
        key = (message.session_id, message.part_id)
        joined = self._join.joined_of(view, key)
        if joined is not None and joined.verdict is None:
            self._score.publish(score_message(message, view, joined.key))
        elif joined is None:
            self._scores.setdefault((view, key), []).append(message)
            while len(self._scores) > _WAITING_SCORES:
                self._scores.popitem(last=False)

    def _take_decision(self, view: str, message: Decision) -> None:
        assert self._join is not None
        said = said_by(message, not_ours=self._not_ours(view, message))
        key = (message.session_id, message.part_id)
        self._publish(self._join.verdict_received(view, key, said, steady_s()))

    def _take_fault(self, view: str, message: Fault) -> None:
        self._watch.fault_reported(view, message.active, message.reason, message.cause)
        self._publish_fault_if_changed()

    def _take_recipe(self, view: str, message: RecipeInForce) -> None:
        self._recipes[view] = message
        problem = ''
        if self._set is not None:
            try:
                self._set.check(view, Path(message.path))
            except RecipeError as error:
                problem = str(error)
        self._checked[view][message.hash] = problem
        if problem:
            self.report(f'recipe {view}', ERROR, f'{problem}; every part is rejected')
        else:
            self.clear(f'recipe {view}')
        if self._recipes.keys() >= set(self._views):
            self._in_force = joined_recipe(
                self._recipes,
                self._views,
                name=self._set.name if self._set else '',
                path=self._recipes[self._leading].path,
            )
            self._in_force.header.stamp = self.get_clock().now().to_msg()
            self._recipe_out.publish(self._in_force)
            self._publish_limits()

    def _take_limits(self, view: str, message: LimitsInForce) -> None:
        self._limits[view] = message
        self._publish_limits()

    def _publish_limits(self) -> None:
        if not self._in_force.hash or self._limits.keys() < set(self._views):
            return
        message = joined_limits(self._limits, self._views, self._in_force)
        message.header.stamp = self.get_clock().now().to_msg()
        self._limits_out.publish(message)

    def _not_ours(self, view: str, message: Decision) -> str:
        """
        Say why a decision was made with another recipe than that of its view; '' = it was not.

        """
        # Without a recipe the view itself rejects, and says why.
        if self._set is None or not message.recipe_hash:
            return ''
        unchecked = f'judged by {message.recipe_name} v{message.recipe_version}, not checked yet'
        return self._checked[view].get(message.recipe_hash, unchecked)

    def _capture(self) -> str:
        cameras = self._trigger.get_subscription_count()
        if not cameras:
            raise InspectionError(
                "no camera listens to trigger; wanted: the cameras' mode 'triggered', and trigger "
                'of this namespace as their topic'
            )
        self._trigger.publish(Empty())
        return f'{cameras} cameras are triggered'

    # Time

    def _tick(self) -> None:
        assert self._join is not None
        self._publish(self._join.tick(steady_s()))
        self._publish_fault_if_changed()

    def _look_around(self) -> None:
        now = steady_s()
        for view in self._views:
            nobody = [
                topic
                for topic in ('part', 'decision')
                if not self.count_publishers(f'{view}/{topic}')
            ]
            self._watch.publishers_counted(view, ' and '.join(nobody), now)

    # What the cell hears

    def _publish(self, news: list[JoinedPart]) -> None:
        for joined in news:
            self._announce(joined)
            if joined.verdict is None:
                continue
            self._decision.publish(
                decision_message(joined, self._views, self._leading, self._in_force)
            )
            verdict, now = joined.verdict, steady_s()
            self._counts['passed' if verdict.verdict is Verdict.PASS else 'rejected'] += 1
            heard = [view for view, part in joined.parts.items() if part.said is not None]
            self._watch.part_decided(verdict.missing, heard, now)
            if verdict.is_unclear:
                self._counts['unclear'] += 1
                self.report_event(
                    'unclear', WARN, verdict.comparison, counted_as='parts that were unclear'
                )
        if news:
            self._publish_fault_if_changed()

    def _announce(self, joined: JoinedPart) -> None:
        message = part_message(joined, self._views, self._leading)
        known = (len(joined.parts), message.is_complete)
        if joined.announced != known:
            joined.announced = known
            self._part.publish(message)
        for view, part in joined.parts.items():
            for score in self._scores.pop((view, part.key), ()):
                self._score.publish(score_message(score, view, joined.key))

    def _publish_fault_if_changed(self) -> None:
        fault, before = self._watch.fault(steady_s()), self._published_fault
        # While it lasts its words may change with every part: the first ones stand.
        if (fault is None) != (before is None) or (
            fault is not None and before is not None and fault.view != before.view
        ):
            self._publish_fault(fault)

    def _publish_fault(self, fault: ViewFault | None) -> None:
        message = Fault(active=fault is not None)
        if fault is None:
            self.clear('fault')
        else:
            self.report('fault', ERROR, fault.reason)
            message.reason = fault.reason
            message.cause = Fault.CAUSE_VIEW_MISSING if fault.is_missing else fault.cause
        message.header.stamp = self.get_clock().now().to_msg()
        self._fault.publish(message)
        self._published_fault = fault


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(ViewJoinerNode)
