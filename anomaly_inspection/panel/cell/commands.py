# SPDX-License-Identifier: Apache-2.0
"""
What a page may ask of the cell.

"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anomaly_inspection.errors import InspectionError


#: Code of the refusal of a recipe that would pass parts which people have confirmed as bad.
PASSES_BAD_PARTS = 'passes_bad_parts'
#: Longest order, lot or serial number, characters.
LONGEST_NAME = 100


@dataclass(frozen=True)
class Answer:
    """
    What came of a command.

    Parameters
    ----------
    success : bool
        False: nothing has changed.
    message : str
        One sentence: what is now, or why it was refused.
    code : str
        The commonest of these sentences as a code, for pages in another language; '' = it has
        none.
    values : mapping of str to str
        What belongs to the code, by name.

    """

    success: bool
    message: str
    code: str = ''
    values: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_error(cls, error: InspectionError) -> Answer:
        """
        Give the refusal that an error stands for.

        """
        return cls(
            False, str(error), getattr(error, 'code', ''), dict(getattr(error, 'values', {}))
        )


@dataclass(frozen=True)
class PartNames:
    """
    What parts belong to, as somebody outside the cell knows it; '' = none.

    Parameters
    ----------
    order_name, lot : str
        Of all parts from now on; at most 100 characters each.
    serial : str
        Of one part.
    key : (str, int)
        Session and number of that part; ('', 0) = the next one.

    """

    order_name: str = ''
    lot: str = ''
    serial: str = ''
    key: tuple[str, int] = ('', 0)


class CellCommands(Protocol):
    """
    Commands to the cell.

    Each blocks until the cell has answered, a few seconds at most, and never raises: a page calls
    it on a thread (`nicegui.run.io_bound`) and shows the answer.

    """

    def reset_line(self) -> Answer:
        """
        Let the line run again after a stop; refused while the cause lasts.

        """
        ...

    def grab(self) -> Answer:
        """
        Take the values of the potentiometers over as limits.

        """
        ...

    def set_limits(self, limits: Mapping[str, float]) -> Answer:
        """
        Change limits, 'scorer.measure' -> value, together: all or none.

        """
        ...

    def save_limits(self) -> Answer:
        """
        Write the limits in force as a new version of the recipe.

        """
        ...

    def undo_limits(self) -> Answer:
        """
        Put the limits of the recipe back into force.

        """
        ...

    def load_recipe(self, path: str, override_reason: str = '') -> Answer:
        """
        Switch to the recipe in a folder, between two parts; a bad one leaves the old one in force.

        One that would pass confirmed bad parts is refused (PASSES_BAD_PARTS) without a reason.

        """
        ...

    def roll_back(self, path: str, version: int) -> Answer:
        """
        Write an older version of the recipe in a folder as its next version, and switch to it.

        """
        ...

    def import_recipe(self, file: BinaryIO, library: str) -> Answer:
        """
        Put the recipe of an archive into a library; nothing that is there is changed.

        """
        ...

    def delete_recipe(self, path: str) -> Answer:
        """
        Delete the recipe in a folder with its older versions; refused for the one in force.

        """
        ...

    def set_limit_ranges(self, ranges: Mapping[str, tuple[float | None, float | None]]) -> Answer:
        """
        Set in which range limits may be moved, and write it into the recipe as its next version.

        'scorer.measure' -> lowest and highest limit, both included; None = as far as the measure
        allows.

        """
        ...

    def calibrate(self, parts: int, false_reject_rate: float) -> Answer:
        """
        Begin to derive the limits from the next parts, all of them good.

        `false_reject_rate` is the share of good parts that may be rejected; 0 = as taught.

        """
        ...

    def cancel_calibration(self) -> Answer:
        """
        Give up the calibration under way; the limits stay as they are.

        """
        ...

    def undo_calibration(self) -> Answer:
        """
        Put the limits from before the last calibration back into force.

        """
        ...

    def run_challenge(self, view: str = '') -> Answer:
        """
        Begin a challenge, with several views in one: the next parts are the known ones, in order.

        """
        ...

    def cancel_challenge(self, view: str = '') -> Answer:
        """
        Give up the challenge under way (of a view); where one was due, it has failed.

        """
        ...

    def tell_lot(self, names: PartNames, who: str) -> Answer:
        """
        Tell the records and the plant what the parts belong to; all of it or nothing.

        """
        ...
