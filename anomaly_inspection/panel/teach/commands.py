# SPDX-License-Identifier: Apache-2.0
"""
What a page may ask of the teacher.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TYPE_CHECKING

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.commands import Answer


@dataclass(frozen=True)
class TeachSettings:
    """
    How to teach; see Teach.action.

    Parameters
    ----------
    region : (left, top, width, height) or empty
        Region of interest in pixels of the images; empty = the whole image.
    scorers : tuple of str
        Methods; empty = chosen automatically.
    tolerance : str
        'shift=12px,rotation=any'; '' = the usual values.
    speed_budget_ms : float
        Longest time for a part; 0 = the usual one.

    """

    recipe_name: str = ''
    region: tuple[int, int, int, int] | tuple[()] = ()
    highlight_colours: bool = False
    scorers: tuple[str, ...] = ()
    tolerance: str = ''
    speed_budget_ms: float = 0.0
    taught_by: str = ''


class TeachCommands(Protocol):
    """
    Commands to the teacher.

    Each blocks for a few seconds at most and never raises. `record`, `teach` and `accept` answer
    when they have begun; what came of them is in `CellPicture.teacher_answers`.

    """

    def record(self, product: str, session: str, parts: int) -> Answer:
        """
        Record parts into a new session (product) or an old one (session); 0 parts = until stopped.

        """
        ...

    def teach(self, session: str, settings: TeachSettings) -> Answer:
        """
        Teach a draft.

        """
        ...

    def accept(self, session: str) -> Answer:
        """
        Put the draft into force.

        """
        ...

    def stop(self) -> Answer:
        """
        Cancel what `record`, `teach` or `accept` has begun.

        """
        ...

    def add_image(self, product: str, session: str, file_name: str, content: bytes) -> Answer:
        """
        Add an image file to a session, or begin one for a product; `session` of the values.

        """
        ...

    def delete_images(self, session: str, images: list[str]) -> Answer:
        """
        Delete images.

        """
        ...

    def delete_session(self, session: str) -> Answer:
        """
        Delete a session with all that is in it.

        """
        ...

    def start_trial(self, session: str) -> Answer:
        """
        Let the draft judge parts beside the recipe in force.

        """
        ...

    def stop_trial(self) -> Answer:
        """
        End the trial run.

        """
        ...

    def discard(self, session: str) -> Answer:
        """
        Throw the draft away.

        """
        ...
