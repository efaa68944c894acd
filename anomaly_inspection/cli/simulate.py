# SPDX-License-Identifier: Apache-2.0
"""
Write a labelled data set of the simulated line.

"""

from __future__ import annotations

from pathlib import Path

import click

from anomaly_inspection.cli.output import console, escaped, progress_bar


@click.command(short_help='Write images of the simulated line.')
@click.argument('directory', type=click.Path(path_type=Path))
@click.option(
    '--parts',
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help='Number of test images, good and defective.',
)
@click.option(
    '--train-parts',
    type=click.IntRange(0),
    default=60,
    show_default=True,
    help='Number of images of good parts to teach from.',
)
@click.option(
    '--seed',
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help='The same seed gives the same images.',
)
@click.option(
    '--line',
    default='line',
    show_default=True,
    help="Settings of the line, such as 'line:rotation_deg=180,defect_rate=0.5'.",
)
def simulate(directory: Path, parts: int, train_parts: int, seed: int, line: str) -> None:
    """
    Write a labelled data set of the simulated line into DIRECTORY.

    Use it to try the commands without a camera. Layout as in MVTec AD: train/good, test/good,
    test/<defect> and ground_truth/<defect>, with labels.csv and events.csv.
    """
    from dataclasses import replace

    from anomaly_inspection.capture.simulated_dataset import write_dataset
    from anomaly_inspection.capture.simulated_line import SimulatedLineSettings

    settings = replace(SimulatedLineSettings.from_spec(line), seed=seed)
    with progress_bar() as progress:
        write_dataset(
            directory,
            settings,
            train_parts=train_parts,
            test_parts=parts,
            progress=progress,
        )
    console.print(
        f'{train_parts} images to teach from and {parts} test images written to '
        f'{escaped(directory)}',
        soft_wrap=True,
    )
