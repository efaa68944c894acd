# SPDX-License-Identifier: Apache-2.0
"""
Good images from a folder, for the commands that learn from them.

"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from anomaly_inspection.cli.output import errors, escaped
from anomaly_inspection.errors import SettingError


def good_images(folder: Path) -> Iterator[tuple[str, Any]]:
    """
    Give the images of a folder with their names; one that cannot be read is an error.

    """
    from anomaly_inspection.capture.image_folder import ImageFolder

    with ImageFolder(folder) as images:
        while (frame := images.read()) is not None:
            if frame.image is None:
                raise SettingError(f'{folder / frame.name}: {frame.problem}')
            yield frame.name, frame.image


def print_left_out(left_out: Iterable[str]) -> None:
    for name in left_out:
        errors.print(f'[yellow]left out:[/] {escaped(name)}', soft_wrap=True)
