# SPDX-License-Identifier: Apache-2.0
"""
A recipe of a small simulated line, taught in a few seconds.

"""

from pathlib import Path

SMALL_LINE = 'line:width_px=320,height_px=240,shift_px=3,rotation_deg=2'


def teach_small_recipe(folder: Path, seed: int = 1) -> Path:
    """
    Teach a recipe on a few good parts of a small simulated line.

    """
    from anomaly_inspection.capture.open_source import open_source
    from anomaly_inspection.learning.teach import teach, TeachOptions
    from anomaly_inspection.recipes.folder import write_recipe

    with open_source(f'{SMALL_LINE},defect_rate=0,parts=12,seed={seed}') as line:
        frames = [line.read().image for _ in range(12)]
    # Few good parts are rejected: tests count verdicts.
    options = TeachOptions(scorers=('ssim', 'variation'), false_reject_rate=0.005)
    write_recipe(teach(frames, name=folder.name, options=options), folder)
    return folder
