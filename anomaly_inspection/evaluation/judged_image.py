# SPDX-License-Identifier: Apache-2.0
"""
One image of a data set and its judgement.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.deciding.frame_judge import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.deciding.frame_judge import Judgement

NO_PART = 'no_part'


@dataclass(frozen=True, eq=False)
class JudgedImage:
    """
    One image of a data set and the judgement on it.

    Parameters
    ----------
    name : str
        Path relative to the test folder.
    true_class : str
        'good', the kind of defect, or 'no_part' for an empty place.
    judgement : Judgement
        As the decider gives it at the recipe's limits.
    measures : dict of str to dict of str to float
        By scorer and measure; empty when the image could not be scored.
    time_s : float
        From the image to the judgement; NaN when the file could not be read.
    part_class, true_part_class : str
        Kind of part according to the scorers and to the labels; '' = not given.

    """

    name: str
    true_class: str
    judgement: Judgement
    measures: dict[str, dict[str, float]]
    time_s: float
    part_class: str = ''
    true_part_class: str = ''

    @property
    def is_rejected(self) -> bool:
        """
        Whether the verdict is REJECT.

        """
        return self.judgement.verdict is Verdict.REJECT

    @property
    def rank_score(self) -> float:
        """
        The anomaly score; infinity when there is none, because such a part is always rejected.

        """
        return rank_score(self.judgement)


def ranked(images: Sequence[JudgedImage]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """
    Give which parts are defective, and the score each is ranked by; empty places left out.

    """
    parts = [image for image in images if image.true_class != NO_PART]
    return (
        np.array([image.true_class != 'good' for image in parts], bool),
        np.array([image.rank_score for image in parts], np.float64),
    )


def rank_score(judgement: Judgement) -> float:
    """
    Give the anomaly score; infinity when there is none, because such a part is always rejected.

    """
    score = judgement.anomaly_score
    return math.inf if math.isnan(score) else score
