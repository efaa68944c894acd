# SPDX-License-Identifier: Apache-2.0
"""
A node that keeps its problems and publishes them on /diagnostics, one status for each concern.

The statuses follow the conventions of ROS' diagnostic_updater. docs/architecture.md says why the
nodes do not use it.

"""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
import threading
import time
from typing import Any, ClassVar, TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.timer import Timer

    from anomaly_inspection.nodes.frequency import Frequency

# How long a single event, such as one bad message, stands in the diagnostics.
_EVENT_SHOWN_S = 30.0

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR


class DiagnosedNode(LifecycleNode):
    """
    A lifecycle node that reports its problems once a second on /diagnostics.

    """

    #: What has a status of its own in the diagnostics, and its problems: 'line' -> 'line stop'.
    #: A problem may end in * as in 'channel *'. What no concern names stands in the node's status.
    concerns: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.is_active = False
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._problems: dict[str, tuple[bytes, str]] = {}
        self._problems_lock = threading.Lock()
        self._events_end_s: dict[str, float] = {}
        self._event_counts: Counter[str] = Counter()
        self._frequencies: dict[str, Frequency] = {}

    def start_diagnostics(self) -> None:
        """
        Publish from now on, once a second.

        """
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._steady_timer(1.0, self.publish_diagnostics)

    def _steady_timer(self, period_s: float, callback: Callable[[], None]) -> Timer:
        # Without a clock of its own, a timer runs on the node's ROS clock and stands still for as
        # long as the wall clock was set back.
        return self.create_timer(period_s, callback, clock=self._steady_clock)

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the numbers that diagnostics show.

        """
        return {}

    def watch_frequency(self, concern: str, frequency: Frequency) -> None:
        """
        Show how often something happens with a concern; warn when that is far below what is
        asked.

        """
        self._frequencies[concern] = frequency

    def report(self, topic: str, level: bytes, text: str) -> None:
        """
        Keep a problem in the diagnostics until `clear`; logs it when it is new.

        """
        with self._problems_lock:
            is_new = self._problems.get(topic) != (level, text)
            self._problems[topic] = (level, text)
            self._events_end_s.pop(topic, None)
        # rclpy refuses two severities from one line of code.
        if is_new and level == ERROR:
            self.get_logger().error(text)
        elif is_new:
            self.get_logger().warning(text)

    def report_event(self, topic: str, level: bytes, text: str, *, counted_as: str) -> None:
        """
        Log something that happened once, show it in the diagnostics for a while, and count it.

        Parameters
        ----------
        topic : str
            What it is about; a newer event of the same topic takes its place.
        level : bytes
            WARN or ERROR.
        text : str
            One sentence.
        counted_as : str
            Name of the count among the values of the diagnostics, as 'bad messages'.

        """
        self.report(topic, level, text)
        with self._problems_lock:
            self._events_end_s[topic] = steady_s() + _EVENT_SHOWN_S
            self._event_counts[counted_as] += 1

    def _end_events(self) -> None:
        now = steady_s()
        with self._problems_lock:
            for topic in [topic for topic, end_s in self._events_end_s.items() if end_s <= now]:
                del self._events_end_s[topic]
                self._problems.pop(topic, None)

    def clear(self, topic: str) -> None:
        """
        Take a problem out of the diagnostics.

        """
        with self._problems_lock:
            self._problems.pop(topic, None)
            self._events_end_s.pop(topic, None)

    def problem(self, topic: str) -> str | None:
        """
        Give the text of a problem that is reported and not cleared; None when there is none.

        """
        with self._problems_lock:
            reported = self._problems.get(topic)
        return reported[1] if reported else None

    @classmethod
    def concern_of(cls, problem: str) -> str:
        """
        Give the concern that a problem belongs to; '' = the node as a whole.

        """
        for concern, patterns in cls.concerns.items():
            if any(fnmatchcase(problem, pattern) for pattern in patterns):
                return concern
        return ''

    def publish_diagnostics(self) -> None:
        """
        Publish the state of the node on /diagnostics.

        """
        self._end_events()
        measured = self._measure_frequencies()
        with self._problems_lock:
            counts = dict(self._event_counts)
            reported = dict(self._problems)
        found: dict[str, list[tuple[bytes, str]]] = {}
        for topic, problem in reported.items():
            found.setdefault(self.concern_of(topic), []).append(problem)
        state = 'active' if self.is_active else 'not active'
        name = self.get_fully_qualified_name()
        values = {'state': state, **self.diagnostic_values(), **counts}
        message = DiagnosticArray(
            status=[
                _status(name, found.get('', []), values, state),
                *(
                    _status(
                        f'{name}: {concern}',
                        found.get(concern, []),
                        measured.get(concern, {}),
                        'no problem',
                    )
                    for concern in self.concerns
                ),
            ]
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _measure_frequencies(self) -> dict[str, dict[str, object]]:
        measured: dict[str, dict[str, object]] = {}
        for concern, frequency in self._frequencies.items():
            problem, measured[concern] = frequency.look(steady_s())
            if problem:
                self.report(f'frequency {concern}', WARN, problem)
            else:
                self.clear(f'frequency {concern}')
        return measured


def _status(
    name: str, problems: list[tuple[bytes, str]], values: dict[str, object], all_is_well: str
) -> DiagnosticStatus:
    problems = sorted(problems, reverse=True)
    return DiagnosticStatus(
        name=name,
        hardware_id='anomaly_inspection',
        level=problems[0][0] if problems else OK,
        message='; '.join(text for _, text in problems) or all_is_well,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )


def diagnosed(name: str, namespace: str, views: Sequence[str] = ()) -> tuple[str, str] | None:
    """
    Give of which node and which concern of it a status is, by the name of the status.

    Parameters
    ----------
    name : str
        As '/inspection/left/camera: frames'.
    namespace : str
        Of the cell, as '/inspection'.
    views : sequence of str
        Names of the views, whose nodes are in namespaces below.

    Returns
    -------
    tuple of str or None
        As ('left/camera', 'frames'); '' = the node as a whole. None: of another cell.

    """
    prefix = namespace.rstrip('/') + '/'
    if not name.startswith(prefix):
        return None
    node, _, concern = name.removeprefix(prefix).partition(': ')
    if '/' in node and node.partition('/')[0] not in views:
        return None
    return node, concern


def steady_s() -> float:
    """
    Give the steady clock's time, seconds.

    """
    return time.monotonic()
