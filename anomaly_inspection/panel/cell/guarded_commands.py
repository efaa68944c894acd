# SPDX-License-Identifier: Apache-2.0
"""
The commands of the cell as one visitor may give them: roles hold here, whatever a page shows.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import math
from typing import BinaryIO, TYPE_CHECKING

from anomaly_inspection.errors import InspectionError
from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.panel.people.roles import Role, Visitor

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.commands import CellCommands, PartNames
    from anomaly_inspection.panel.cell.part_views import LimitView
    from anomaly_inspection.panel.cell.state import CellState
    from anomaly_inspection.panel.people.people import People

#: The least role for each command; a command that is missing here can be given by nobody.
LEAST_ROLES: Mapping[str, Role] = {
    'reset_line': Role.OPERATOR,
    'grab': Role.OPERATOR,
    'set_limits': Role.ENGINEER,
    'save_limits': Role.ENGINEER,
    'undo_limits': Role.ENGINEER,
    'load_recipe': Role.ENGINEER,
    'roll_back': Role.ENGINEER,
    'import_recipe': Role.ENGINEER,
    'delete_recipe': Role.ENGINEER,
    'set_limit_ranges': Role.ENGINEER,
    'calibrate': Role.ENGINEER,
    'cancel_calibration': Role.ENGINEER,
    'undo_calibration': Role.ENGINEER,
    'run_challenge': Role.OPERATOR,
    'cancel_challenge': Role.OPERATOR,
    'tell_lot': Role.OPERATOR,
}


class GuardedCommands:
    """
    Checks the role for each command, gives it to the cell, and records it.

    The role is looked up at each command: a page stays open when its visitor is logged out or gets
    another role. Like the commands themselves, these block and never raise.

    Parameters
    ----------
    commands : CellCommands
        The cell.
    people : People
        Who may do what, and the record.
    visitor : Visitor or None
        Who gives the commands; None = nobody, who may do nothing.
    state : CellState
        What was in force before, for the record.

    """

    def __init__(
        self, commands: CellCommands, people: People, visitor: Visitor | None, state: CellState
    ) -> None:
        self._commands = commands
        self._people = people
        self._visitor = visitor or Visitor('', Role.VIEWER)
        self._state = state

    def reset_line(self, why: str = '') -> Answer:
        """
        Let the line run again after a stop; refused while the cause lasts.

        """
        stop = self._state.picture().line_stop
        return self._do('reset_line', self._commands.reset_line, old=stop.reason, why=why)

    def grab(self, why: str = '') -> Answer:
        """
        Take the values of the potentiometers over as limits.

        """
        return self._do('grab', self._commands.grab, old=self._limits(), why=why)

    def set_limits(self, limits: Mapping[str, float], why: str = '') -> Answer:
        """
        Change limits together, all or none.

        """
        return self._do(
            *('set_limits', lambda: self._commands.set_limits(limits)),
            old={name: value for name, value in self._limits().items() if name in limits},
            new=dict(limits),
            why=why,
        )

    def save_limits(self, why: str = '') -> Answer:
        """
        Write the limits in force as a new version of the recipe.

        """
        return self._do('save_limits', self._commands.save_limits, new=self._limits(), why=why)

    def undo_limits(self, why: str = '') -> Answer:
        """
        Put the limits of the recipe back into force.

        """
        return self._do('undo_limits', self._commands.undo_limits, old=self._limits(), why=why)

    def load_recipe(self, path: str, override_reason: str = '', why: str = '') -> Answer:
        """
        Switch the cell to the recipe in this folder; with a reason, although it passes bad parts.

        """
        recipe = self._state.picture().recipe
        old = f'{recipe.name}, version {recipe.version}' if recipe.name else ''
        override = f'although it passes bad parts: {override_reason}' if override_reason else ''
        return self._do(
            *('load_recipe', lambda: self._commands.load_recipe(path, override_reason)),
            old=old,
            new=path,
            why=override or why,
        )

    def roll_back(self, path: str, version: int, why: str = '') -> Answer:
        """
        Write an older version of a recipe as its next version, and switch the cell to it.

        """
        recipe = self._state.picture().recipe
        old = f'{recipe.name}, version {recipe.version}' if recipe.name else ''
        return self._do(
            *('roll_back', lambda: self._commands.roll_back(path, version)),
            old=old,
            new=f'{path}, as in version {version}',
            why=why,
        )

    def import_recipe(self, file: BinaryIO, library: str, why: str = '') -> Answer:
        """
        Put the recipe of an archive into a library.

        """
        return self._do(
            *('import_recipe', lambda: self._commands.import_recipe(file, library)),
            new=library,
            why=why,
        )

    def delete_recipe(self, path: str, why: str = '') -> Answer:
        """
        Delete the recipe in a folder with its older versions.

        """
        return self._do(
            *('delete_recipe', lambda: self._commands.delete_recipe(path)), old=path, why=why
        )

    def set_limit_ranges(
        self, ranges: Mapping[str, tuple[float | None, float | None]], why: str = ''
    ) -> Answer:
        """
        Set in which range limits may be moved.

        """
        limits = self._state.picture().limits
        return self._do(
            *('set_limit_ranges', lambda: self._commands.set_limit_ranges(ranges)),
            old={one.name: _ends(one) for one in limits if one.name in ranges},
            new={name: list(ends) for name, ends in ranges.items()},
            why=why,
        )

    def calibrate(self, parts: int, false_reject_rate: float = 0.0, why: str = '') -> Answer:
        """
        Begin to derive the limits from the next parts.

        """
        return self._do(
            *('calibrate', lambda: self._commands.calibrate(parts, false_reject_rate)),
            old=self._limits(),
            new={'parts': parts, 'false_reject_rate': false_reject_rate},
            why=why,
        )

    def cancel_calibration(self, why: str = '') -> Answer:
        """
        Give up the calibration under way.

        """
        return self._do('cancel_calibration', self._commands.cancel_calibration, why=why)

    def undo_calibration(self, why: str = '') -> Answer:
        """
        Put the limits from before the last calibration back into force.

        """
        return self._do(
            *('undo_calibration', self._commands.undo_calibration), old=self._limits(), why=why
        )

    def run_challenge(self, view: str = '', why: str = '') -> Answer:
        """
        Begin a challenge, with several views in one.

        """
        return self._do('run_challenge', lambda: self._commands.run_challenge(view), why=why)

    def cancel_challenge(self, view: str = '', why: str = '') -> Answer:
        """
        Give up the challenge under way, with several views that of one.

        """
        return self._do('cancel_challenge', lambda: self._commands.cancel_challenge(view), why=why)

    def tell_lot(self, names: PartNames, why: str = '') -> Answer:
        """
        Tell what the parts belong to.

        """
        told = {'order': names.order_name, 'lot': names.lot, 'serial': names.serial}
        return self._do(
            *('tell_lot', lambda: self._commands.tell_lot(names, self._visitor.name)),
            new={name: text for name, text in told.items() if text},
            why=why,
        )

    def _limits(self) -> dict[str, float]:
        return {limit.name: limit.value for limit in self._state.picture().limits}

    def _do(
        self,
        name: str,
        command: Callable[[], Answer],
        *,
        old: object = None,
        new: object = None,
        why: str = '',
    ) -> Answer:
        what = name.replace('_', ' ')
        try:
            visitor = self._people.check_role(self._visitor, LEAST_ROLES[name], what)
        except InspectionError as error:
            return Answer.of_error(error)
        answer = command()
        self._people.audit.record(
            visitor,
            what,
            subject=answer.message,
            old=old,
            new=new,
            why=why,
            is_refused=not answer.success,
        )
        return answer


def _ends(limit: LimitView) -> list[float | None]:
    ends = (limit.lowest, limit.highest)
    return [end if math.isfinite(end) else None for end in ends]
