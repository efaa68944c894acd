# SPDX-License-Identifier: Apache-2.0
"""
What lies in the tray of an arm, compared with what the parts really are.

"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from anomaly_inspection.evaluation.run_summary import PartRecord

#: Why an arm leaves a good part; no fault of the line.
LEFT_CAUSES = ('not_picked', 'out_of_reach', 'pick_missed', 'pose_unsure', 'too_close')


@dataclass(frozen=True)
class TrayRow:
    """
    Where the parts of one true class are.

    """

    true_class: str
    parts: int
    in_tray: int
    left_on_belt: int
    dropped: int


@dataclass
class TrayFigures:
    """
    The confusion of the tray against the truth, and why good parts are not in it.

    Parameters
    ----------
    rows : list of TrayRow
        Good first.
    left_good : dict of str to int
        Good parts that are not in the tray, by reason.
    said_otherwise : int
        Parts of which the sorter's record says something else than the tray.

    """

    rows: list[TrayRow] = field(default_factory=list)
    left_good: dict[str, int] = field(default_factory=dict)
    said_otherwise: int = 0

    @property
    def bad_in_tray(self) -> int:
        """
        How many parts in the tray are not good.

        """
        return sum(row.in_tray for row in self.rows if row.true_class != 'good')

    def to_dict(self) -> dict[str, Any]:
        """
        Give the figures, ready for JSON.

        """
        return {
            'rows': [vars(row) for row in self.rows],
            'left_good': self.left_good,
            'bad_in_tray': self.bad_in_tray,
            'said_otherwise': self.said_otherwise,
        }


def tray_figures(
    records: Mapping[int, PartRecord], tray: Iterable[int], dropped: Iterable[int]
) -> TrayFigures:
    """
    Compare the tray with the truth.

    Parameters
    ----------
    records : mapping of int to PartRecord
        By the number of the part that truly lay on the belt.
    tray, dropped : iterable of int
        Numbers of the parts that the arm has put into the tray, and into reject.

    """
    in_tray, was_dropped = set(tray), set(dropped)
    classes: Counter[str] = Counter()
    places: Counter[tuple[str, str]] = Counter()
    left: Counter[str] = Counter()
    said_otherwise = 0
    for number, record in records.items():
        place = 'dropped' if number in was_dropped else 'left_on_belt'
        place = 'in_tray' if number in in_tray else place
        classes[record.true_class] += 1
        places[record.true_class, place] += 1
        said_otherwise += bool(record.has_passed_gate) != (place == 'in_tray')
        if record.true_class == 'good' and place != 'in_tray':
            was_rejected = record.verdict != 'PASS'
            left['rejected' if was_rejected else record.sort_cause or 'unknown'] += 1
    rows = [
        TrayRow(
            name,
            count,
            places[name, 'in_tray'],
            places[name, 'left_on_belt'],
            places[name, 'dropped'],
        )
        for name, count in sorted(classes.items(), key=lambda item: (item[0] != 'good', item[0]))
    ]
    unknown = len((in_tray | was_dropped) - set(records))
    if unknown:
        rows.append(TrayRow('unknown', unknown, len(in_tray - set(records)), 0, 0))
    return TrayFigures(rows, dict(left), said_otherwise)
