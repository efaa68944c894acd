# SPDX-License-Identifier: Apache-2.0
"""
The `anomaly-inspection` command and what it is made of.

"""

from __future__ import annotations

import sys
from typing import Any

import click

from anomaly_inspection import __version__
from anomaly_inspection.cli.account import account
from anomaly_inspection.cli.calibrate import calibrate
from anomaly_inspection.cli.calibrate_camera import calibrate_camera
from anomaly_inspection.cli.evaluate import evaluate
from anomaly_inspection.cli.opcua_user import opcua_user
from anomaly_inspection.cli.output import errors, escaped, EXIT_USAGE
from anomaly_inspection.cli.recipe import recipe
from anomaly_inspection.cli.records import records
from anomaly_inspection.cli.report import report
from anomaly_inspection.cli.review import review
from anomaly_inspection.cli.run import run
from anomaly_inspection.cli.self_test import self_test
from anomaly_inspection.cli.simulate import simulate
from anomaly_inspection.cli.teach import teach
from anomaly_inspection.cli.train import train
from anomaly_inspection.cli.validate import validate
from anomaly_inspection.errors import InspectionError


class _Group(click.Group):
    """
    Turns the package's own errors, and a build that is too old, into one line and status 2.

    """

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except InspectionError as error:
            errors.print(f'[bold red]error:[/] {escaped(str(error))}', soft_wrap=True)
            sys.exit(EXIT_USAGE)
        except ModuleNotFoundError as error:
            module = error.name or ''
            if not module.startswith('anomaly_inspection.'):
                raise
            errors.print(
                f'[bold red]error:[/] the build is older than the source ({escaped(module)} '
                'is missing in it): build again, with make build or colcon build',
                soft_wrap=True,
            )
            sys.exit(EXIT_USAGE)


@click.group(cls=_Group, context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(__version__)
def main() -> None:
    """
    Visual inspection that learns from good parts only.

    \b
    Teach a product from a folder of good images, then run the cell on a camera:
      anomaly-inspection teach good_images/ --recipe recipes/pump
      anomaly-inspection run --recipe recipes/pump --source 0

    \b
    Without a camera, try it on the simulated line:
      anomaly-inspection simulate out/line --parts 60 --seed 1
      anomaly-inspection teach out/line/train/good --recipe out/pump
      anomaly-inspection run --recipe out/pump --source line:parts=100,seed=2
    """


for command in (
    *(teach, train, calibrate, self_test, run, evaluate, simulate, recipe, account),
    *(records, report, review, validate, opcua_user, calibrate_camera),
):
    main.add_command(command)
