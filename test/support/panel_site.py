# SPDX-License-Identifier: Apache-2.0
"""
The whole panel on a cell that the test makes up: served for real, without ROS.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
import threading
from typing import BinaryIO

import numpy as np

from anomaly_inspection.panel.access.guard import AccessSettings
from anomaly_inspection.panel.cell.commands import Answer, PartNames
from anomaly_inspection.panel.cell.part_views import (
    DecisionView,
    LimitView,
    MeasureView,
    ScoreView,
)
from anomaly_inspection.panel.cell.views import LineStopView, RecipeView
from anomaly_inspection.panel.panel_parts import PanelParts
from anomaly_inspection.panel.people.people import People
from anomaly_inspection.panel.report.shift_reports import RecordsPlace, ShiftReports
from anomaly_inspection.panel.review.review_set import ReviewSet
from anomaly_inspection.panel.server import PanelServer, ServerSettings
from support.panel_people import add_accounts

SCRIPT = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


class FakeCell:
    """
    Notes the commands it is given, from many threads.

    """

    def __init__(self) -> None:
        self.given: list[tuple[str, object]] = []
        self.answer = Answer(True, 'done')
        #: Told of every command.
        self.changed = threading.Condition()

    def _take(self, name: str, value: object = None) -> Answer:
        with self.changed:
            self.given.append((name, value))
            self.changed.notify_all()
        return self.answer

    def reset_line(self) -> Answer:
        return self._take('reset_line')

    def grab(self) -> Answer:
        return self._take('grab')

    def set_limits(self, limits: Mapping[str, float]) -> Answer:
        return self._take('set_limits', dict(limits))

    def save_limits(self) -> Answer:
        return self._take('save_limits')

    def undo_limits(self) -> Answer:
        return self._take('undo_limits')

    def load_recipe(self, path: str, override_reason: str = '') -> Answer:
        return self._take('load_recipe', (path, override_reason) if override_reason else path)

    def roll_back(self, path: str, version: int) -> Answer:
        return self._take('roll_back', (path, version))

    def import_recipe(self, file: BinaryIO, library: str) -> Answer:
        return self._take('import_recipe', library)

    def delete_recipe(self, path: str) -> Answer:
        return self._take('delete_recipe', path)

    def set_limit_ranges(self, ranges: Mapping[str, tuple[float | None, float | None]]) -> Answer:
        return self._take('set_limit_ranges', dict(ranges))

    def calibrate(self, parts: int, false_reject_rate: float) -> Answer:
        return self._take('calibrate', (parts, false_reject_rate))

    def cancel_calibration(self) -> Answer:
        return self._take('cancel_calibration')

    def undo_calibration(self) -> Answer:
        return self._take('undo_calibration')

    def run_challenge(self, view: str = '') -> Answer:
        return self._take('run_challenge', *([view] if view else []))

    def cancel_challenge(self, view: str = '') -> Answer:
        return self._take('cancel_challenge', *([view] if view else []))

    def tell_lot(self, names: PartNames, who: str) -> Answer:
        return self._take('tell_lot', (names, who))


class FakeTeacher:
    """
    Notes all commands as those of the cell.

    """

    def __init__(self, cell: FakeCell) -> None:
        self._cell = cell

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        return lambda *values: self._cell._take(name, values)


class PanelSite:
    """
    A running panel with an account for each role, and texts of the cell that try to be scripts.

    """

    def __init__(self, folder: Path) -> None:
        self.people = People(folder / 'people')
        add_accounts(self.people)
        self.cell = FakeCell()
        self.teacher = FakeTeacher(self.cell)
        self.reviews = ReviewSet(folder / 'review')
        self.parts = PanelParts(
            *(self.cell, self.teacher, self.people, 'cell one'),
            reviews=self.reviews,
            reports=ShiftReports(RecordsPlace(str(folder / 'records'), cell='cell one')),
        )
        self.recipes = folder / 'recipes'
        for name in ('pump', 'valve'):
            (self.recipes / name).mkdir(parents=True)
            (self.recipes / name / 'recipe.yaml').touch()
        self._fill()
        # NiceGUI runs once in a process.
        self.server = PanelServer(ServerSettings(port=0), self.parts, AccessSettings())
        self.server.start()
        self.address = self.server.address

    def close(self) -> None:
        """
        End it.

        """
        self.server.stop()
        self.reviews.close()
        self.people.close()

    def cookie(self, role: str) -> dict[str, str]:
        """
        Give the cookie of a new log-in.

        """
        from support.panel_people import PASSWORD

        port = self.address.rstrip('/').rpartition(':')[2]
        secret = self.people.log_in(role, PASSWORD, '127.0.0.1')
        return {f'anomaly_inspection_{port}': secret}

    def token(self, role: str) -> str:
        """
        Make a token; all of an account's older ones are revoked.

        """
        from anomaly_inspection.panel.people.roles import role_of

        for token in self.people.tokens.all(role):
            self.people.tokens.revoke(token.id)
        return self.people.tokens.create(role, 'test', role_of(role), 1)[0]

    def forget_attempts(self) -> None:
        """
        Forget the wrong passwords of other tests.

        """
        with self.people.attempts._file.change() as content:
            content['attempts'] = {}

    def _fill(self) -> None:
        state = self.parts.state
        limit = LimitView('ssim.mean_ssim', 0.8, 0.95, high_is_bad=False)
        state.set_limits((limit, replace(limit, name='ssim.mse', value=9.0)), are_unsaved=True)
        path = str(self.recipes / 'pump')
        state.set_recipe(RecipeView('pump', 3, path, 'abc'))
        state.set_line_stop(LineStopView(True, SCRIPT, 0.0))
        for number in range(1, 4):
            key = ('session', number)
            state.take_part(key, 1.7e9 + number, SCRIPT)
            measures = (MeasureView('ssim.mean_ssim', 0.7),)
            state.take_score(key, ScoreView('ssim', True, SCRIPT, measures))
            state.take_decision(
                key, DecisionView(False, SCRIPT, SCRIPT, 1.5, SCRIPT, SCRIPT), 1.7e9
            )
            image = np.full((60, 80), 50 * number, np.uint8)
            self.reviews.put(state.part(key), lambda image=image: image, image.size, 1.7e9)
        assert self.reviews.settle()
