# SPDX-License-Identifier: Apache-2.0
"""
A node whose callbacks run only while it is active, and whose errors end in the diagnostics.

rclpy manages publishers only: in INACTIVE, subscriptions and timers still run, and an exception in
a callback ends the process. This class closes both gaps, and lets a parameter file change the
quality of service of every endpoint.

"""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy
from functools import partial
import traceback
from typing import Any, TYPE_CHECKING

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import ROSInterruptException
from rclpy.qos import DurabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import InvalidQosOverridesError

from anomaly_inspection.errors import InspectionError, SettingError
from anomaly_inspection.nodes.diagnosed_node import DiagnosedNode, ERROR, WARN
from anomaly_inspection.nodes.qos import overriding_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from rclpy.client import Client
    from rclpy.publisher import Publisher
    from rclpy.qos import QoSProfile
    from rclpy.qos_overriding_options import QoSOverridingOptions
    from rclpy.subscription import Subscription

    #: A message, or fields of a response by name.
    Said = str | dict[str, Any]


class GuardedNode(DiagnosedNode):
    """
    Makes endpoints that are destroyed together, at cleanup.

    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._endpoints: list[tuple[Callable[[Any], Any], Any]] = []
        self._latched: dict[str, Callable[[], None]] = {}
        self._last_trace = ''

    def listen(
        self,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoSProfile,
        events: SubscriptionEventCallbacks | None = None,
    ) -> Subscription[Any]:
        """
        Subscribe; the callback runs only while the node is active.

        What is latched comes only once: the last one is given to the callback at each activation.
        Without `events`, a publisher whose quality of service does not match is reported.

        """
        guarded = self._guarded(callback)

        def take(message: Any) -> None:
            if qos.durability == DurabilityPolicy.TRANSIENT_LOCAL:
                self._latched[topic] = lambda: guarded(message)
            guarded(message)

        events = events or SubscriptionEventCallbacks(
            incompatible_qos=lambda event: self.report_incompatible_qos(topic, event)
        )
        with self._overridden(topic, 'subscription', qos) as options:
            subscription = self.create_subscription(
                message_type,
                topic,
                take,
                # rclpy writes the overrides into it.
                copy(qos),
                event_callbacks=events,
                qos_overriding_options=options,
            )
        self._endpoints.append((self.destroy_subscription, subscription))
        return subscription

    def listen_in_views(
        self,
        views: Sequence[str],
        message_type: type,
        topic: str,
        callback: Callable[[str, Any], None],
        qos: QoSProfile,
    ) -> None:
        """
        Subscribe to a topic of the cell, with several views to that of each view.

        The callback gets the name of the view, '' in a cell with one camera, and the message.

        """
        for view in views or ('',):
            name = f'{view}/{topic}' if view else topic
            self.listen(message_type, name, partial(callback, view), qos)

    def stop_listening(self, subscription: Subscription[Any]) -> None:
        """
        End one subscription before cleanup ends the others.

        """
        self._endpoints.remove((self.destroy_subscription, subscription))
        self.destroy_subscription(subscription)

    def every(self, period_s: float, callback: Callable[[], None]) -> None:
        """
        Call back periodically (steady clock) while the node is active.

        """
        guarded = self._guarded(callback)
        # rclpy counts a timer callback's arguments: one that takes any would be given a TimerInfo.
        timer = self._steady_timer(period_s, lambda: guarded())
        self._endpoints.append((self.destroy_timer, timer))

    def publish_on(self, message_type: type, topic: str, qos: QoSProfile) -> Publisher[Any]:
        """
        Make a publisher.

        """
        with self._overridden(topic, 'publisher', qos) as options:
            publisher = self.create_publisher(
                message_type, topic, copy(qos), qos_overriding_options=options
            )
        self._endpoints.append((self.destroy_publisher, publisher))
        return publisher

    def client_of(self, service_type: type, name: str) -> Client[Any, Any]:
        """
        Make a client of a service.

        """
        client = self.create_client(service_type, name)
        self._endpoints.append((self.destroy_client, client))
        return client

    @contextmanager
    def _overridden(
        self, topic: str, end: str, qos: QoSProfile
    ) -> Iterator[QoSOverridingOptions | None]:
        """
        Give what the parameter file may change of an endpoint; says which value is refused.

        Only what is given becomes a parameter: what is not may change while the node runs, as the
        reliability of an image does.

        """
        prefix = f'qos_overrides.{self.resolve_topic_name(topic)}.{end}.'
        given = {
            name.removeprefix(prefix): override.value
            for name, override in self._parameter_overrides.items()
            if name.startswith(prefix)
        }
        if not given:
            yield None
            return
        values = ', '.join(f'{prefix}{policy} = {value!r}' for policy, value in given.items())
        try:
            yield overriding_options(qos, given)
        except (InvalidQosOverridesError, RuntimeError, SettingError) as error:
            cause = str(error).partition('are not valid: ')[2] or str(error)
            raise SettingError(f'{values} is refused: {cause}') from error

    def serve(
        self, service_type: type, name: str, answer: Callable[[Any], Said | Awaitable[Said]]
    ) -> None:
        """
        Offer a service whose response has `success` and `message`.

        Parameters
        ----------
        answer : callable
            Takes the request, gives the message of success, or the fields of the response by
            name; raises InspectionError when it is refused. May be a coroutine function: then the
            executor goes on while it waits.

        """

        async def callback(request: Any, response: Any) -> Any:
            try:
                if not self.is_active:
                    raise InspectionError(f'{self.get_name()} is not active')
                said = answer(request)
                if not isinstance(said, str | dict):
                    said = await said
                for field, value in ({'message': said} if isinstance(said, str) else said).items():
                    setattr(response, field, value)
                response.success = True
            except Exception as error:  # noqa: BLE001 - the node's edge: a service must answer
                response.success = False
                response.message = f'{name} refused: {self.describe(error)}'
            return response

        # A group of its own: while a coroutine waits, executors hold up the rest of its group.
        group = ReentrantCallbackGroup()
        service = self.create_service(service_type, name, callback, callback_group=group)
        self._endpoints.append((self.destroy_service, service))

    def _destroy_endpoints(self) -> None:
        for destroy, endpoint in reversed(self._endpoints):
            destroy(endpoint)
        self._endpoints.clear()
        self._latched.clear()

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(*arguments: Any) -> None:
            if not self.is_active:
                return
            try:
                callback(*arguments)
            except ROSInterruptException:
                raise
            except Exception as error:  # noqa: BLE001 - the node's edge: one bad message must not stop the line
                # A callback with arguments of its own has no name.
                name = getattr(callback, 'func', callback).__name__
                self.report_event(
                    name,
                    ERROR,
                    f'{name.strip("_")}: {self.describe(error)}',
                    counted_as='failed callbacks' if not arguments else 'bad messages',
                )

        return guarded

    def describe(self, error: Exception) -> str:
        """
        Say in one line what an error is; the log gets the trace of one that was not raised on
        purpose, once.

        """
        if isinstance(error, InspectionError):
            return str(error)
        trace = ''.join(traceback.format_exception(error))
        if trace != self._last_trace:
            self.get_logger().error(trace)
            self._last_trace = trace
        return f'{type(error).__name__}: {error}'

    def report_incompatible_qos(self, topic: str, event: Any) -> None:
        """
        Say in the diagnostics that a publisher on a topic is not heard, and what it must offer.

        """
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self.report(
            f'qos {topic}',
            WARN,
            f'a publisher on {topic} offers a quality of service we cannot take ({policy}): '
            'none of its messages arrive. Make it reliable; on latched topics transient-local.',
        )
