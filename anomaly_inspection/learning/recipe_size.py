# SPDX-License-Identifier: Apache-2.0
"""
Refuse, before the work, to teach what would make a recipe too large to be read.

"""

from __future__ import annotations

import math
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest, SMALLEST_SIDE_PX
from anomaly_inspection.recipes.budget import DEFAULT_BUDGET_BYTES, size_text
from anomaly_inspection.recipes.frame_work import frame_work_bytes
from anomaly_inspection.scoring.ssim import SsimScorer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anomaly_inspection.imaging.frame_check import FrameFormat

_SMALLEST_REGION = RegionOfInterest(0, 0, SMALLEST_SIDE_PX, SMALLEST_SIDE_PX)


def check_recipe_size(
    frame_format: FrameFormat,
    colour: str,
    region: RegionOfInterest | None,
    scorers: Mapping[str, Mapping[str, Any]],
    parts: int,
    references: int,
) -> None:
    """
    Refuse a recipe that will surely take more memory than `read_recipe` allows.

    The estimate leaves out what cannot be known before the work, such as the sizes of files. So a
    recipe just below the budget may still be refused when it is written.

    Parameters
    ----------
    frame_format : FrameFormat
        Of the good images.
    colour : str
        'bgr' or 'gray': what the scorers compare.
    region : RegionOfInterest or None
        What is inspected; None = the whole frame.
    scorers : mapping of str to mapping
        The settings that are given for each scorer; empty when they are chosen later.
    parts : int
        How many good parts there are.
    references : int
        How many whole images the recipe keeps to align to.

    Raises
    ------
    SettingError
        Says what to do: a region of interest, smaller images, or another scorer.

    """
    kept_bytes = references * math.prod(frame_format.shape)

    def size_bytes(region: RegionOfInterest | None, are_scorers_counted: bool = True) -> int:
        size = kept_bytes + frame_work_bytes(frame_format, colour, region)
        if are_scorers_counted:
            size += _scorers_bytes(frame_format, colour, region, scorers, parts)
        return size

    size = size_bytes(region)
    if size <= DEFAULT_BUDGET_BYTES:
        return
    remedies = ['give smaller images (camera setting: binning or a smaller picture)']
    if size_bytes(_SMALLEST_REGION) <= DEFAULT_BUDGET_BYTES:
        smaller = 'a region of interest' if region is None else 'a smaller region of interest'
        remedies.insert(0, f'give {smaller} around the part (--roi)')
    if size_bytes(region, are_scorers_counted=False) <= DEFAULT_BUDGET_BYTES:
        remedies.append(f'choose another scorer than {", ".join(scorers)}')
    raise SettingError(
        f'{frame_format.width} x {frame_format.height} px '
        f'({"colour" if colour == "bgr" else "gray"}) are too large to teach: the recipe would '
        f'take {size_text(size)} of memory or more; allowed: {size_text(DEFAULT_BUDGET_BYTES)}. '
        f'To go on, {" or ".join(remedies)}'
    )


def _scorers_bytes(
    frame_format: FrameFormat,
    colour: str,
    region: RegionOfInterest | None,
    scorers: Mapping[str, Mapping[str, Any]],
    parts: int,
) -> int:
    """
    Give what the arrays of the scorers take that keep something for each pixel.

    """
    region = region or RegionOfInterest.whole(frame_format)
    pixels = region.width * region.height
    values = pixels * (3 if colour == 'bgr' else 1)
    size = 0
    if 'ssim' in scorers:
        default = SsimScorer.default_settings['references']
        references = min(parts, scorers['ssim'].get('references', default))
        # Pictures and their masks of 8 bits; what is tolerated, 32 bits.
        size += references * (values + pixels) + 4 * pixels
    if 'variation' in scorers:
        # Mean and deviation of 32 bits, and a mask of 8 bits.
        size += 8 * values + pixels
    return size
