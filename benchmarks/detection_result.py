# SPDX-License-Identifier: Apache-2.0
"""
The fixed set of the detection benchmark, and one judged part of it.

"""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_inspection.capture.simulated_line import SimulatedLineSettings
from anomaly_inspection.evaluation.run_summary import LARGE_CONTRAST_LEVELS, LARGE_DIAMETER_PX

# The bench. Any change here makes it another bench, whose figures cannot be compared with older
# ones.
TAUGHT = SimulatedLineSettings(seed=1001, defect_rate=0.0)
GOOD = SimulatedLineSettings(seed=2002, defect_rate=0.0)
DEFECTIVE = SimulatedLineSettings(
    seed=3003, defect_rate=1.0, diameter_px=(3.0, 40.0), contrast_levels=(8.0, 80.0)
)
TAUGHT_PARTS, GOOD_PARTS, DEFECTIVE_PARTS = 80, 1000, 1200
DIAMETERS_PX = (3, 5, 8, 12, 20, 40)
CONTRASTS_LEVELS = (8, 15, 30, 50, 80)
COMBINED, PLAIN = 'combined', 'plain SSIM'


@dataclass(frozen=True)
class JudgedPart:
    """
    One judged part of the bench.

    Parameters
    ----------
    index : int
        Which part of its line.
    defect : str
        Kind of defect, or 'good'.
    diameter_px, contrast_levels : float
        Of the defect; NaN for a good part.
    rejected : dict of str to bool
        By scorer, 'combined' and 'plain SSIM'.
    grounds : str
        Why 'combined' rejected it: the exceeded limits, or the status; '' = passed.

    """

    index: int
    defect: str
    diameter_px: float
    contrast_levels: float
    rejected: dict[str, bool]
    grounds: str

    @property
    def is_large(self) -> bool:
        """
        Tell whether its defect must be found.

        """
        return (
            self.diameter_px >= LARGE_DIAMETER_PX and self.contrast_levels >= LARGE_CONTRAST_LEVELS
        )
