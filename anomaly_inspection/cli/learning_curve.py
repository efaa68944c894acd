# SPDX-License-Identifier: Apache-2.0
"""
The learning curve that `teach --curve` ends with.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table

from anomaly_inspection.cli.output import console, print_note, progress_bar
from anomaly_inspection.errors import SettingError

if TYPE_CHECKING:
    from anomaly_inspection.learning.good_images import GoodImages
    from anomaly_inspection.recipes.recipe import Recipe


def print_curve(recipe: Recipe, good: GoodImages) -> None:
    """
    Teach on more and more of the images, and print how good the recipes get.

    The recipe is written already: where there are too few images for a curve, a note says so.

    """
    from anomaly_inspection.evaluation.learning_curve import CONTRAST_LEVELS, learning_curve

    try:
        with progress_bar() as progress:
            curve = learning_curve(good, recipe, progress)
    except SettingError as error:
        print_note(f'No learning curve: {error}')
        return
    table = Table(box=None, pad_edge=False)
    for heading in ('images', 'AUROC', 'false rejects', 'smallest defect seen'):
        table.add_column(heading, justify='right')
    for point in curve.points:
        table.add_row(
            str(point.image_count),
            f'{point.auroc:.3f}',
            f'{100 * point.false_rejects:.0f} %',
            'none' if math.isinf(point.smallest_px) else f'{point.smallest_px:g} px',
        )
    console.print(table)
    console.print(
        f'Measured on {curve.held_out_count} good parts that were held out, with synthetic '
        f'defects of {CONTRAST_LEVELS:g} levels. {curve.next_images()}',
        soft_wrap=True,
    )
