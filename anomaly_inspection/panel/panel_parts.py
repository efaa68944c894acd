# SPDX-License-Identifier: Apache-2.0
"""
What every page of the panel is given.

"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anomaly_inspection.panel.cell_state import CellState
from anomaly_inspection.panel.frame_hub import FrameHub

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell_commands import CellCommands


@dataclass(frozen=True)
class PanelParts:
    """
    Joins the pages to the cell.

    Parameters
    ----------
    commands : CellCommands
        What a page may ask of the cell.
    cell_name : str
        Shown on every page, so that nobody takes one cell for another.
    state : CellState
        What is known of the cell.
    frames : FrameHub
        Pictures of the parts.

    """

    commands: CellCommands
    cell_name: str = 'inspection'
    state: CellState = field(default_factory=CellState)
    frames: FrameHub = field(default_factory=FrameHub)
