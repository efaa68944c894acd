# SPDX-License-Identifier: Apache-2.0
"""
The panel node: the face of the operator's page to the cell.

It fills the page's state with what the cell says, and carries the page's commands out. It runs in
a process of its own and listens to pictures only while somebody looks.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
import functools
from pathlib import Path
import sys
import time
from typing import Any, ClassVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import CompressedImage

from anomaly_inspection.errors import SettingError, StateError
from anomaly_inspection.msg import (
    Decision,
    DriftState,
    LimitsInForce,
    LineStop,
    Part,
    RecipeInForce,
    Score,
    SortEvent,
)
from anomaly_inspection.nodes import panel_views
from anomaly_inspection.nodes.freed_memory import give_back_freed_memory, share_heaps
from anomaly_inspection.nodes.inspection_node import InspectionNode, steady_s
from anomaly_inspection.nodes.needed_packages import check_needed
from anomaly_inspection.nodes.panel_commands import PanelCommands
from anomaly_inspection.nodes.panel_parameters import PanelParameters
from anomaly_inspection.nodes.panel_rejects import PanelRejects
from anomaly_inspection.nodes.panel_teaching import PanelTeaching
from anomaly_inspection.nodes.panel_tuning import PanelTuning
from anomaly_inspection.nodes.qos import EVENT, LATCHED, WATCH_IMAGE
from anomaly_inspection.nodes.spinning import PARAMETERS_REFUSED, spin_node
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.panel.cell.shift_counts import Counts, counts_from_json, counts_to_json
from anomaly_inspection.panel.cell.shifts import ShiftTable
from anomaly_inspection.panel.cell.state import CellState
from anomaly_inspection.panel.frames.hub import Frame, FrameHub, MAP, MARKED, PLAIN
from anomaly_inspection.panel.panel_parts import PanelParts
from anomaly_inspection.panel.report.shift_reports import RecordsPlace, ShiftReports
from anomaly_inspection.state_file import default_state_folder, NO_FOLDER

#: The log tells the address behind these words.
ADDRESS_WORDS = "the operator's page: "

_NEEDED = {'nicegui': 'nicegui', 'argon2': 'argon2'}
_PICTURES = {MARKED: 'overlay/part', PLAIN: 'overlay/frame', MAP: 'overlay/map'}
_REMEMBERED_STAMPS = 200
_STALE_AFTER_S = 5.0
_TIDY_EVERY_S = 5.0


class PanelNode(InspectionNode[PanelParameters]):
    """
    Serves the operator's page; gives nothing to the cell but the page's commands.

    """

    #: Who may log in; None while there is no such node.
    people: Any = None
    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'people': ('people', 'record of changes'),
        'review': ('review set', 'lost part/image'),
    }

    _teaching: PanelTeaching | None = None
    _reviews: Any = None

    def __init__(self, **options: Any) -> None:
        super().__init__('panel', PanelParameters, **options)
        cell_name = self.get_namespace().strip('/') or 'inspection'
        # The passwords need argon2, which only a process that serves the page needs.
        from anomaly_inspection.panel.people.people import People
        from anomaly_inspection.panel.people.sessions import SessionTimes
        from anomaly_inspection.panel.review.review_set import ReviewBounds, ReviewSet

        given = self.parameters
        times = SessionTimes(given.session_idle_min * 60, given.session_hours * 3600)
        told = functools.partial(self._tell, 'record of changes')
        self.people = People(self._people_folder(), times, told)
        self._commands = PanelCommands(self, lambda: self.parts.state.picture(), given.views)
        state = CellState(
            shifts=ShiftTable(given.shifts, given.time_zone), counts=self._counts_before()
        )
        self._teaching = PanelTeaching(self)
        self._tuning = PanelTuning(self)
        self._reviews = ReviewSet(
            self._review_folder(),
            functools.partial(self._tell, 'review set'),
            lambda sentence: self.get_logger().warning(sentence),
            bounds=ReviewBounds(most_bytes=given.review_mb * 1_000_000),
        )
        self.parts = PanelParts(
            *(self._commands, self._teaching, self.people, cell_name, state),
            frames=FrameHub(views=given.views),
            reviews=self._reviews,
            reports=self._reports(cell_name),
        )
        self._rejects = PanelRejects(
            *(self, state, self._reviews), given.near_limit, given.sample_every
        )
        self._keys_by_stamp: OrderedDict[tuple[str, int], tuple[str, int]] = OrderedDict()
        # Of several views: pictures that wait for the joined verdict.
        self._undecided: OrderedDict[tuple[str, str], Frame] = OrderedDict()
        self._server: Any = None
        self._kept_counts: tuple[Counts, ...] = state.picture().counts
        self._pictures: list[Any] = []

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
            (DriftState, 'drift', self._take_drift, LATCHED),
            (DiagnosticArray, '/diagnostics', self._take_diagnostics, EVENT),
        ):
            self.listen(message_type, topic, callback, qos)
        self._teaching.configure()
        self._rejects.configure()
        self._tuning.configure()
        self.every(0.2, self._look_around)
        # Together: rclpy complains of nodes with many timers.
        self.every(_TIDY_EVERY_S, self._tidy)

    def activate(self) -> None:
        """
        Serve the page.

        """
        # NiceGUI takes a second to import, and only a process that serves a page needs it.
        from anomaly_inspection.panel.access.guard import AccessSettings
        from anomaly_inspection.panel.server import PanelServer, ServerSettings

        given = self.parameters
        settings = ServerSettings(given.host, given.port, given.certificate, given.key)
        names = tuple(name.strip() for name in given.allowed_hosts.split(',') if name.strip())
        access = AccessSettings(given.wall_display, names)
        self._server = PanelServer(settings, self.parts, access)
        self._server.start()
        self.get_logger().info(f'{ADDRESS_WORDS}{self._server.address}')
        self._warn_of_open_network()
        self._show_code(self._server.address)

    def deactivate(self) -> None:
        """
        End the page.

        """
        self._stop_watching()
        self._keep_counts()
        self._rejects.hand_over_all()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def cleanup(self) -> None:
        """
        Let go of the endpoints.

        """

    def destroy_node(self) -> None:
        """
        Take the node off the network; its executor must not spin any more.

        """
        # A node whose parameters are refused was never completed.
        if self._teaching is not None:
            self._teaching.destroy()
        if self._reviews is not None:
            self._reviews.close()
        if self.people is not None:
            self.people.close()
            self.people = None
        super().destroy_node()

    # People

    def _people_folder(self) -> Path | None:
        if self.parameters.people_folder:
            return Path(self.parameters.people_folder).expanduser()
        folder = self.parameters.state_folder
        if folder == NO_FOLDER:
            return None
        # The people of a machine are the same for all its cells.
        return (Path(folder).expanduser() if folder else default_state_folder()) / 'people'

    def _review_folder(self) -> Path | None:
        folder, state_path = self.parameters.review_folder, self._state_path()
        if folder == NO_FOLDER or not self.parameters.review_mb:
            return None
        if folder:
            return Path(folder).expanduser()
        return None if state_path is None else state_path.with_name('review')

    def _tell(self, concern: str, problem: str) -> None:
        if problem:
            self.report(concern, DiagnosticStatus.WARN, problem)
        else:
            self.clear(concern)

    def _warn_of_open_network(self) -> None:
        host = self.parameters.host
        if not self.parameters.certificate and host not in ('127.0.0.1', 'localhost', '::1'):
            self.get_logger().warning(
                f'host is {host} and there is no certificate: passwords cross the network '
                'readable; set the parameters certificate and key'
            )

    def _show_code(self, address: str) -> None:
        try:
            code = self.people.new_code()
        except StateError as error:
            self.report('people', DiagnosticStatus.ERROR, f'nobody can log in: {error}')
            return
        self.clear('people')
        if code is not None:
            # On the terminal and not in the log: whoever reads it can become the engineer.
            print(
                f'There is no engineer yet. Open {address}first-engineer and enter the one-time '
                f'code {code}, or run: anomaly-inspection account add NAME --role engineer',
                file=sys.stderr,
                flush=True,
            )

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the address and how many look.

        """
        address = self._server.address if self._server is not None else ''
        return {'address': address, 'viewers of the picture': self.parts.frames.viewer_count}

    # The counts outlive the process

    def _reports(self, cell: str) -> ShiftReports | None:
        given = self.parameters
        if not given.records_folder and not given.records_database:
            return None
        folder = str(Path(given.records_folder).expanduser()) if given.records_folder else ''
        return ShiftReports(
            RecordsPlace(
                folder=folder,
                database=given.records_database,
                password_file=given.records_password_file,
                cell=cell,
                time_zone=given.time_zone,
                shifts=given.shifts,
            )
        )

    def _counts_before(self) -> tuple[Counts, ...]:
        found = self.state.found
        if found.problem:
            self.get_logger().warning(f'the counts of the shifts begin anew: {found.problem}')
        try:
            return counts_from_json((found.content or {}).get('counts', []))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            self.get_logger().warning(f'the counts of the shifts begin anew: {error!r}')
            return ()

    def _tidy(self) -> None:
        give_back_freed_memory()
        self._keep_counts()

    def _keep_counts(self) -> None:
        counts = self.parts.state.picture().counts
        if counts != self._kept_counts:
            self._kept_counts = counts
            self.keep_state({'counts': counts_to_json(counts)})

    # Pictures: only while somebody looks

    def _look_around(self) -> None:
        is_watched = self.parts.frames.viewer_count > 0
        if is_watched and not self._pictures:
            self._start_watching()
        elif not is_watched:
            self._stop_watching()
        self._rejects.look_around()
        self.parts.state.mark_stale(steady_s(), _STALE_AFTER_S)

    def _start_watching(self) -> None:
        views = self.parameters.views
        for view in views or ('',):
            # Only the pictures of the leading view are kept for later.
            for kind in _PICTURES if view in ('', *views[:1]) else (MARKED,):
                topic = f'{_PICTURES[kind]}/compressed'
                taken = functools.partial(self._take_picture, view, kind)
                self._pictures.append(
                    self.listen(
                        *(CompressedImage, f'{view}/{topic}' if view else topic),
                        *(taken, WATCH_IMAGE),
                    )
                )

    def _stop_watching(self) -> None:
        while self._pictures:
            self.stop_listening(self._pictures.pop())

    def _take_picture(self, view: str, kind: str, message: CompressedImage) -> None:
        stamp_ns = nanoseconds_from_stamp(message.header.stamp)
        key = self._keys_by_stamp.get((view, stamp_ns))
        if key is None:
            return
        frame = Frame(key, bytes(message.data), self._verdict_of(key), kind, stamp_ns / 1e9, view)
        if view and frame.has_passed is None:
            self._undecided[view, kind] = frame
        else:
            self.parts.frames.give(frame)

    def _verdict_of(self, key: tuple[str, int]) -> bool | None:
        part = self.parts.state.part(key)
        return part.decision.has_passed if part and part.decision else None

    def _give_decided(self, key: tuple[str, int]) -> None:
        for place, frame in list(self._undecided.items()):
            if frame.key == key:
                del self._undecided[place]
                self.parts.frames.give(replace(frame, has_passed=self._verdict_of(key)))

    # What the cell says

    def _take_part(self, message: Part) -> None:
        key = (message.session_id, message.part_id)
        stamp_ns = nanoseconds_from_stamp(message.frame_stamps[-1])
        self._keys_by_stamp['', stamp_ns] = key
        for view, stamp in zip(message.frame_views, message.frame_stamps, strict=False):
            self._keys_by_stamp[view, nanoseconds_from_stamp(stamp)] = key
        while len(self._keys_by_stamp) > _REMEMBERED_STAMPS:
            self._keys_by_stamp.popitem(last=False)
        self._rejects.take_part(message)
        self.parts.state.take_part(
            key, stamp_ns / 1e9, message.frame_names[-1], message.frame_problems[-1]
        )

    def _take_score(self, message: Score) -> None:
        key = (message.session_id, message.part_id)
        self._rejects.take_score(message)
        self.parts.state.take_score(key, panel_views.score_view(message))

    def _take_decision(self, message: Decision) -> None:
        key = (message.session_id, message.part_id)
        self.parts.state.take_decision(key, panel_views.decision_view(message), time.time())
        self._give_decided(key)
        self._rejects.take_decision(message)

    def _take_sort_event(self, message: SortEvent) -> None:
        key = (message.session_id, message.part_id)
        self.parts.state.take_sort(key, panel_views.sort_view(message))

    def _take_limits(self, message: LimitsInForce) -> None:
        views = panel_views.limit_views(message)
        self.parts.state.set_limits(
            views,
            are_unsaved=message.is_unsaved,
            needs_all=message.combination == LimitsInForce.COMBINATION_ALL,
        )
        self._tuning.take_limits(message)

    def _take_recipe(self, message: RecipeInForce) -> None:
        self.parts.state.set_recipe(panel_views.recipe_view(message))

    def _take_line_stop(self, message: LineStop) -> None:
        self.parts.state.set_line_stop(panel_views.line_stop_view(message))

    def _take_drift(self, message: DriftState) -> None:
        self.parts.state.set_drift(panel_views.drift_view(message))

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        namespace = self.get_namespace()
        statuses = panel_views.health_views(message, namespace, steady_s(), self.parameters.views)
        self.parts.state.set_health(statuses)


def check_panel_packages() -> None:
    """
    Raise SettingError where the packages of the page are not installed.

    """
    check_needed('panel', _NEEDED, 'panel')


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    try:
        check_panel_packages()
    except SettingError as error:
        print(error, file=sys.stderr)
        sys.exit(PARAMETERS_REFUSED)
    share_heaps()
    spin_node(PanelNode)
