# SPDX-License-Identifier: Apache-2.0
"""
The panel node: the face of the operator's page to the cell.

It fills the page's state with what the cell says, and carries the page's commands out. It runs in
a process of its own and listens to pictures only while somebody looks.

"""

from __future__ import annotations

from collections import OrderedDict
import contextlib
from dataclasses import dataclass
import importlib.util
import os
import signal
import sys
import threading
from typing import Any, ClassVar

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger

from anomaly_inspection.errors import SettingError
from anomaly_inspection.msg import (
    Decision,
    LimitsInForce,
    LineStop,
    Part,
    RecipeInForce,
    Score,
    SortEvent,
)
from anomaly_inspection.nodes import panel_views
from anomaly_inspection.nodes.inspection_node import InspectionNode, NodeParameters, steady_s
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, LATCHED, WATCH_IMAGE
from anomaly_inspection.nodes.spinning import PARAMETERS_REFUSED, spin_node
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.panel.cell_commands import Answer
from anomaly_inspection.panel.frame_hub import Frame
from anomaly_inspection.panel.panel_parts import PanelParts

#: Among the arguments: end when the standard input ends, as it does when the parent dies.
END_WITH_STDIN = '--end-with-stdin'
#: The log tells the address behind these words.
ADDRESS_WORDS = "the operator's page: "

_NEEDED = ('nicegui', 'argon2')
_PICTURES = 'overlay/part/compressed'
_REMEMBERED_STAMPS = 200
_ANSWER_TIMEOUT_S = 5.0
_STALE_AFTER_S = 5.0


@dataclass(frozen=True)
class PanelParameters(NodeParameters):
    """
    Parameters of the panel node.

    """

    host: str = parameter(
        '127.0.0.1',
        'Address to listen on: 127.0.0.1 for this machine alone, 0.0.0.0 for whoever reaches this '
        'machine.',
        read_only=True,
    )
    port: int = parameter(
        8080, 'TCP port; 0 = any that is free.', minimum=0, maximum=65535, read_only=True
    )
    certificate: str = parameter(
        '', 'File with the TLS certificate (PEM); with key: HTTPS.', read_only=True
    )
    key: str = parameter(
        '', 'File with the private key of the certificate (PEM, no password).', read_only=True
    )


class PanelNode(InspectionNode[PanelParameters]):
    """
    Serves the operator's page; gives nothing to the cell but the page's commands.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__('panel', PanelParameters, **options)
        cell_name = self.get_namespace().strip('/') or 'inspection'
        self.parts = PanelParts(_Commands(self), cell_name)
        self._keys_by_stamp: OrderedDict[int, tuple[str, int]] = OrderedDict()
        self._server: Any = None
        self._pictures: Any = None

    def configure(self) -> None:
        """
        Make the endpoints.

        """
        for message_type, topic, callback, qos in (
            (Part, 'part', self._take_part, EVENT),
            (Score, 'score', self._take_score, EVENT),
            (Decision, 'decision', self._take_decision, EVENT),
            (SortEvent, 'sort_event', self._take_sort_event, EVENT),
            (LimitsInForce, 'limits_in_force', self._take_limits, LATCHED),
            (RecipeInForce, 'recipe_in_force', self._take_recipe, LATCHED),
            (LineStop, 'line_stop', self._take_line_stop, LATCHED),
            (DiagnosticArray, '/diagnostics', self._take_diagnostics, EVENT),
        ):
            self.listen(message_type, topic, callback, qos)
        self.every(0.2, self._look_around)
        self._reset = self.create_client(Trigger, 'sorter/reset')

    def activate(self) -> None:
        """
        Serve the page.

        """
        # NiceGUI takes a second to import, and only a process that serves a page needs it.
        from anomaly_inspection.panel.server import PanelServer, ServerSettings

        given = self.parameters
        settings = ServerSettings(given.host, given.port, given.certificate, given.key)
        self._server = PanelServer(settings, self.parts)
        self._server.start()
        self.get_logger().info(f'{ADDRESS_WORDS}{self._server.address}')

    def deactivate(self) -> None:
        """
        End the page.

        """
        self._stop_watching()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def cleanup(self) -> None:
        """
        Let go of the client.

        """
        self.destroy_client(self._reset)

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the address and how many look.

        """
        address = self._server.address if self._server is not None else ''
        return {'address': address, 'viewers of the picture': self.parts.frames.viewer_count}

    def call(self, client: Any, request: Any) -> Answer:
        """
        Call a service that answers with `success` and `message`; blocks, never raises.

        """
        if not client.service_is_ready():
            return Answer(False, f'{client.srv_name.rpartition("/")[0]} is not running')
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(_ANSWER_TIMEOUT_S):
            client.remove_pending_request(future)
            return Answer(False, f'{client.srv_name} did not answer in {_ANSWER_TIMEOUT_S:g} s')
        response = future.result()
        return Answer(bool(response.success), str(response.message))

    # Pictures: only while somebody looks

    def _look_around(self) -> None:
        is_watched = self.parts.frames.viewer_count > 0
        if is_watched and self._pictures is None:
            self._start_watching()
        elif not is_watched:
            self._stop_watching()
        self.parts.state.mark_stale(steady_s(), _STALE_AFTER_S)

    def _start_watching(self) -> None:
        self._pictures = self.listen(CompressedImage, _PICTURES, self._take_picture, WATCH_IMAGE)

    def _stop_watching(self) -> None:
        if self._pictures is not None:
            self.stop_listening(self._pictures)
            self._pictures = None

    def _take_picture(self, message: CompressedImage) -> None:
        key = self._keys_by_stamp.get(nanoseconds_from_stamp(message.header.stamp))
        if key is None:
            return
        part = self.parts.state.part(key)
        decision = part.decision if part else None
        has_passed = decision.has_passed if decision else None
        self.parts.frames.give(Frame(key, bytes(message.data), has_passed))

    # What the cell says

    def _take_part(self, message: Part) -> None:
        key = (message.session_id, message.part_id)
        stamp_ns = nanoseconds_from_stamp(message.frame_stamps[-1])
        self._keys_by_stamp[stamp_ns] = key
        while len(self._keys_by_stamp) > _REMEMBERED_STAMPS:
            self._keys_by_stamp.popitem(last=False)
        self.parts.state.take_part(
            key, stamp_ns / 1e9, message.frame_names[-1], message.frame_problems[-1]
        )

    def _take_score(self, message: Score) -> None:
        key = (message.session_id, message.part_id)
        self.parts.state.take_score(key, panel_views.score_view(message))

    def _take_decision(self, message: Decision) -> None:
        key = (message.session_id, message.part_id)
        self.parts.state.take_decision(key, panel_views.decision_view(message))

    def _take_sort_event(self, message: SortEvent) -> None:
        key = (message.session_id, message.part_id)
        self.parts.state.take_sort(key, panel_views.sort_view(message))

    def _take_limits(self, message: LimitsInForce) -> None:
        views = panel_views.limit_views(message)
        self.parts.state.set_limits(views, are_unsaved=message.is_unsaved)

    def _take_recipe(self, message: RecipeInForce) -> None:
        self.parts.state.set_recipe(panel_views.recipe_view(message))

    def _take_line_stop(self, message: LineStop) -> None:
        self.parts.state.set_line_stop(panel_views.line_stop_view(message))

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        namespace = self.get_namespace()
        statuses = panel_views.health_views(message, namespace, steady_s())
        self.parts.state.set_health(statuses)


class _Commands:
    """
    Carries the commands of the pages out.

    """

    def __init__(self, node: PanelNode) -> None:
        self._node = node

    def reset_line(self) -> Answer:
        """
        Let the line run again after a stop; refused while the cause lasts.

        """
        return self._node.call(self._node._reset, Trigger.Request())


def check_panel_packages() -> None:
    """
    Raise SettingError where the packages of the page are not installed.

    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingError(
            f'the panel needs {" and ".join(missing)}, which this Python does not have: '
            "pip install 'anomaly_inspection[panel]'"
        )


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    try:
        check_panel_packages()
    except SettingError as error:
        print(error, file=sys.stderr)
        sys.exit(PARAMETERS_REFUSED)
    if END_WITH_STDIN in sys.argv:
        threading.Thread(target=_end_with_stdin, name='parent', daemon=True).start()
    spin_node(PanelNode)


def _end_with_stdin() -> None:
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
