# SPDX-License-Identifier: Apache-2.0
"""
The options of `teach` that mark the part for a robot.

"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TYPE_CHECKING

import click

from anomaly_inspection.cli.options import Number
from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from anomaly_inspection.imaging.part_marks import PartMarks
    from anomaly_inspection.recipes.recipe import Recipe

_KEYS = ('origin', 'axis', 'grasps', 'height_m', 'edge_shift', 'marks_in', 'keeps_marks')
_HIGHEST_M = 2.0


def _numbers(text: str, counts: tuple[int, ...], example: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in text.split(','))
    except ValueError:
        numbers = ()
    if len(numbers) not in counts:
        raise click.BadParameter(f'{text!r} is refused; allowed: numbers such as {example!r}')
    return numbers


def _pair(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    return None if value is None else _numbers(value, (2,), '320.5,240')


def _grasps(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[float, ...], ...]:
    return tuple(_numbers(value, (3, 4), '320.5,240,90,60') for value in values)


def mark_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """
    Add the options to a command.

    """
    options = (
        click.option(
            '--origin',
            metavar='X,Y',
            callback=_pair,
            help='Mark the origin of the part for part_pose, in pixels of --marks-in. Default: '
            'the centre of its silhouette.',
        ),
        click.option(
            '--axis',
            type=Number(-360, 360),
            metavar='DEG',
            help='Mark the direction of its axis: 0 = to the right, 90 = up in the picture. '
            'Default: the main axis of its silhouette.',
        ),
        click.option(
            '--grasp',
            'grasps',
            multiple=True,
            metavar='X,Y,DEG[,WIDTH]',
            callback=_grasps,
            help='Mark where a gripper may take the part: middle between the jaws, direction in '
            'which they close, and width of the part there in pixels. Up to 16, the best first.',
        ),
        click.option(
            '--height-m',
            type=Number(0, _HIGHEST_M),
            metavar='M',
            help='How high above the belt the marks and the edges of the part are, metres. '
            'Default: 0.',
        ),
        click.option(
            '--edge-shift',
            metavar='X,Y',
            callback=_pair,
            help='By how much light and shadow shift the edges of the part in every picture, '
            'pixels to the right and down; docs/robot.md says how to measure it. Default: 0,0.',
        ),
        click.option(
            '--marks-in',
            type=click.Path(path_type=Path, dir_okay=False),
            help='Picture of a good part in which the marks are. Default: the first of IMAGES.',
        ),
        click.option(
            '--no-marks',
            'keeps_marks',
            flag_value=False,
            default=True,
            type=bool,
            help='Forget the marks of the version before.',
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


class GivenMarks:
    """
    The marks that were given, and their picture.

    Parameters
    ----------
    given : dict
        Options of the command; those of the marks are taken out.
    folder : Path or None
        With the images to teach; None = none were given.

    Raises
    ------
    SettingError
        When a mark is out of range or outside of its picture, or the picture cannot be read.

    """

    def __init__(self, given: dict[str, Any], folder: Path | None) -> None:
        from anomaly_inspection.capture.image_file import read_image
        from anomaly_inspection.imaging.part_marks import Grasp, PartMarks

        *marked, file, self._keeps = (given.pop(key) for key in _KEYS)
        self._marks: PartMarks | None = None
        if all(one in (None, ()) for one in marked):
            if file is not None:
                raise SettingError(
                    '--marks-in needs --origin, --axis, --grasp, --height-m or --edge-shift'
                )
            return
        origin, axis, grasps, height_m, edge_shift = marked
        if not self._keeps:
            raise SettingError('give marks or --no-marks, not both')
        self._marks = PartMarks(
            origin,
            axis,
            tuple(Grasp(*numbers) for numbers in grasps),
            height_m or 0.0,
            edge_shift or (0.0, 0.0),
        )
        path = file or _first_image(folder)
        self._name = printable(path)
        try:
            self._picture = read_image(path)
        except FrameError as error:
            raise SettingError(f'{self._name}: {error}') from error
        try:
            self._marks.check_within(self._picture.shape[1], self._picture.shape[0])
        except SettingError as error:
            raise SettingError(f'{self._name}: {error}') from error

    def put_on(self, recipe: Recipe, older: Recipe | None) -> Recipe:
        """
        Give a recipe the marks, or those of the version before.

        Raises
        ------
        SettingError
            When they cannot be carried to its reference.

        """
        from anomaly_inspection.learning.carried_marks import with_marks, with_marks_of

        if self._marks is not None:
            return with_marks(recipe, self._marks, self._picture, self._name)
        return with_marks_of(older, recipe) if self._keeps else recipe


def _first_image(folder: Path | None) -> Path:
    from anomaly_inspection.capture.image_folder import ImageFolder

    if folder is None:
        raise SettingError('marks need a picture: give --marks-in')
    with ImageFolder(folder) as images:
        return images.path / images.names[0]
