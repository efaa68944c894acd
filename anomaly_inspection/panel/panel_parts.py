# SPDX-License-Identifier: Apache-2.0
"""
What every page of the panel is given.

"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from anomaly_inspection.panel.cell.guarded_commands import GuardedCommands
from anomaly_inspection.panel.cell.state import CellState
from anomaly_inspection.panel.frames.hub import FrameHub
from anomaly_inspection.panel.people.work import PeopleWork
from anomaly_inspection.panel.review.good_parts import GoodParts
from anomaly_inspection.panel.review.guarded_reviews import GuardedReviews
from anomaly_inspection.panel.review.review_set import ReviewSet
from anomaly_inspection.panel.review.verdicts import GuardedAcceptance
from anomaly_inspection.panel.teach.guarded_commands import GuardedTeaching

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.commands import CellCommands
    from anomaly_inspection.panel.people.people import People
    from anomaly_inspection.panel.people.roles import Visitor
    from anomaly_inspection.panel.report.shift_reports import ShiftReports
    from anomaly_inspection.panel.teach.commands import TeachCommands


@dataclass(frozen=True)
class PanelParts:
    """
    Joins the pages to the cell.

    Parameters
    ----------
    commands : CellCommands
        What a page may ask of the cell.
    teaching : TeachCommands
        What a page may ask of the teacher.
    people : People
        Who may log in and do what.
    cell_name : str
        Shown on every page, so that nobody takes one cell for another.
    state : CellState
        What is known of the cell.
    frames : FrameHub
        Pictures of the parts.
    people_work : PeopleWork
        Runs what takes long about people.
    reviews : ReviewSet
        Rejects and what people said about them; pages judge through `reviews_for`.
    good_parts : GoodParts
        Lays rejects beside the nearest good part.
    reports : ShiftReports or None
        Makes shift reports; None = nobody keeps records.

    """

    commands: CellCommands
    teaching: TeachCommands
    people: People
    cell_name: str = 'inspection'
    state: CellState = field(default_factory=CellState)
    frames: FrameHub = field(default_factory=FrameHub)
    people_work: PeopleWork = field(default_factory=PeopleWork)
    reviews: ReviewSet = field(default_factory=lambda: ReviewSet(None))
    good_parts: GoodParts = field(default_factory=GoodParts)
    reports: ShiftReports | None = None

    @property
    def has_views(self) -> bool:
        """
        Whether the cell has several views, each with a decider and a recipe of its own.

        """
        return self.views != ('',)

    @property
    def views(self) -> tuple[str, ...]:
        """
        Give the names of the views; '' alone in a cell with one camera.

        """
        return self.frames.views

    def commands_for(self, visitor: Visitor | None) -> GuardedCommands:
        """
        Give the commands of the cell as this visitor may give them.

        """
        return GuardedCommands(self.commands, self.people, visitor, self.state)

    def reviews_for(self, visitor: Visitor | None) -> GuardedReviews:
        """
        Give the way in which this visitor may judge rejects.

        """
        return GuardedReviews(self.reviews, self.people, visitor)

    def acceptance_for(self, visitor: Visitor | None) -> GuardedAcceptance:
        """
        Give the way in which this visitor may accept limits that the verdicts speak for.

        """
        commands = self.commands_for(visitor)
        return GuardedAcceptance(commands, self.people, visitor, self.state, self.reviews)

    def for_visitor(self, visitor: Visitor | None) -> PanelParts:
        """
        Give the same with all commands as this visitor may give them; pages use these alone.

        """
        teaching = GuardedTeaching(self.teaching, self.people, visitor)
        return replace(self, commands=self.commands_for(visitor), teaching=teaching)
