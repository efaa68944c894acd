# SPDX-License-Identifier: Apache-2.0
"""
Run the cell in one process on a source.

"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
import re
import signal
import sys
import threading
from typing import Any, TYPE_CHECKING

import click

from anomaly_inspection.cli.options import Number
from anomaly_inspection.cli.output import (
    check_results_writable,
    console,
    escaped,
    EXIT_FAULT,
    EXIT_OK,
    print_note,
)
from anomaly_inspection.cli.run_output import PartPrinter, print_summary, print_trays, write_report
from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.tray_figures import LEFT_CAUSES
from anomaly_inspection.state_file import NO_FOLDER

if TYPE_CHECKING:
    from anomaly_inspection.nodes.node_process import NodeProcess


@click.command(short_help='Run the whole cell on a source.')
@click.option(
    '--recipe',
    type=click.Path(path_type=Path),
    help='Folder of the recipe. Without one, --panel is needed: every part is rejected until '
    'somebody teaches a product on the page and accepts it.',
)
@click.option(
    '--source',
    required=True,
    help="Where images come from: a camera's index (0) or device (/dev/video0), a folder of "
    "images, a video file, or 'line' for the simulated line "
    "('line:parts=200,seed=2,defect_rate=0.3').",
)
@click.option(
    '--rate',
    type=Number(0.01, 1000),
    default=5.0,
    show_default=True,
    help='Parts per second from files and the simulated line. A camera keeps its own pace.',
)
@click.option(
    '--loop',
    is_flag=True,
    help='Begin a folder or a video anew at its end, until Ctrl-C; each image is then a new part. '
    'Always so without --recipe.',
)
@click.option(
    '--parts',
    type=click.IntRange(1),
    help='Stop after this many parts. Default: at the end of the source.',
)
@click.option(
    '--config',
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='Parameter file of the nodes. Default: config/cell.yaml.',
)
@click.option(
    '--report',
    type=click.Path(path_type=Path, file_okay=False),
    help='Write pictures of all parts, parts.jsonl and summary.json to this folder.',
)
@click.option(
    '--fail-on-escape',
    is_flag=True,
    help='Exit with status 1 when a part passes that is known to have a large defect (12 px and '
    '30 gray levels or more).',
)
@click.option('--panel', is_flag=True, help="Serve the operator's page while the cell runs.")
@click.option(
    '--panel-port',
    type=click.IntRange(0, 65535),
    help="Port of the page; 0 = any that is free. Default: the parameter file's, 8080.",
)
@click.option(
    '--wall-display', is_flag=True, help='Let everybody look at the page without log-in.'
)
@click.option(
    '--record',
    type=click.Path(path_type=Path, file_okay=False),
    help='Keep records of every part and change in this folder: a database, and pictures of '
    'rejects. See anomaly-inspection records.',
)
@click.option(
    '--drift',
    is_flag=True,
    help='Warn when light, lens, camera, belt or parts are no longer as taught (docs/drift.md).',
)
@click.option(
    '--robot',
    is_flag=True,
    help='Put a simulated belt and an arm in the place of the gate: the arm picks good parts into '
    'a tray, and what lies there is compared with the truth (docs/robot.md). Simulated line only.',
)
@click.option(
    '--mqtt',
    metavar='HOST[:PORT]',
    help='Tell an MQTT broker what the cell decides (docs/mqtt.md); without PORT: the port of the '
    'parameter file.',
)
def run(
    recipe: Path | None,
    source: str,
    rate: float,
    loop: bool,
    parts: int | None,
    config: Path | None,
    report: Path | None,
    fail_on_escape: bool,
    panel: bool,
    panel_port: int | None,
    wall_display: bool,
    record: Path | None,
    drift: bool,
    robot: bool,
    mqtt: str | None,
) -> None:
    """
    Run the whole cell on a source: print a line for each part, and a summary at the end.

    All nodes run in one process and talk over ROS 2 topics, so rqt, RViz and `ros2 topic echo` can
    watch. Ctrl-C ends the run; parts on the belt are still sorted.

    Exit status: 0 when every part was decided and the gate confirmed each one, 1 when a part was
    lost, the gate did not follow or confirm, the line was stopped, the source failed, or a
    defective part lies in the tray of the arm, 2 when the command cannot be carried out.
    """
    from anomaly_inspection.capture.open_source import open_source
    from anomaly_inspection.evaluation.frame_time import measure_frame_time
    from anomaly_inspection.parameter_file import check_parameter_file
    from anomaly_inspection.recipes.folder import read_recipe

    check_results_writable(folders=(report, record))
    if config is not None:
        check_parameter_file(config)
    has_page = panel or panel_port is not None
    if recipe is None and not has_page:
        raise SettingError(
            'a recipe is needed: name its folder with --recipe, or add --panel to teach the first '
            "product on the operator's page"
        )
    if robot:
        _check_robot(source, loop=loop, recipe=recipe)
    read = read_recipe(recipe) if recipe else None
    try:
        from anomaly_inspection.nodes.cell import NAMESPACE
        from anomaly_inspection.nodes.cell_run import run_cell
        from anomaly_inspection.nodes.robot_line import RobotLine
        from anomaly_inspection.nodes.share_folder import share_folder
    except ImportError as error:
        raise SettingError(
            f'run needs ROS 2 and the built messages ({error}): source the workspace first, or '
            'use bin/anomaly-inspection of the checkout'
        ) from error

    parameter_file = config or share_folder() / 'config' / 'cell.yaml'
    page = None
    if has_page:
        from anomaly_inspection.nodes.panel_node import check_panel_packages
        from anomaly_inspection.nodes.panel_process import PanelProcess

        check_panel_packages()
        page = PanelProcess(
            *(parameter_file, NAMESPACE, panel_port), wall_display=wall_display, records=record
        )
    recorder = _recorder(record, parameter_file) if record else None
    drift_watch = _drift_watch(parameter_file) if drift else None
    bridge = _mqtt_bridge(mqtt, parameter_file) if mqtt is not None else nullcontext()
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    truth_source = open_source(source)
    if truth_source.is_live:
        # A camera that is not there now is a wrong option; one that is lost later is opened again.
        with truth_source:
            pass
    frame_time = measure_frame_time(read) if read else None
    if read:
        console.print(f'Recipe {read.name}, version {read.version}: {frame_time}.', soft_wrap=True)
    else:
        console.print(
            'No recipe yet: every part is rejected until a product is taught on the page '
            'and accepted.',
            soft_wrap=True,
        )
    printer = PartPrinter(interrupted, by_arm=robot)
    # The truth of files can be read once they are open; a camera has none.
    with bridge, nullcontext() if truth_source.is_live else truth_source:
        result = run_cell(
            recipe,
            truth_source,
            source,
            rate_hz=rate,
            loop=loop or recipe is None,
            parameter_file=parameter_file,
            overlays=report / 'overlays' if report else None,
            most_parts=parts,
            interrupted=interrupted,
            part_done=printer.take,
            frame_time=frame_time,
            warn=print_note,
            panel=page,
            recorder=recorder,
            drift_watch=drift_watch,
            robot=RobotLine(rate, report / 'arm.png' if report else None) if robot else None,
            tell=lambda sentence: console.print(escaped(sentence), soft_wrap=True),
        )
    if read:
        printer.refuse_another_format(read.name)
    summary = print_summary(result)
    if result.trays is not None:
        summary['trays'] = result.trays.to_dict()
        print_trays(result.trays)
    if report:
        write_report(report, result, summary)
    if result.recipe is not None and (recipe is None or recipe.resolve() != result.recipe):
        console.print(f'  next time             --recipe {escaped(result.recipe)}', soft_wrap=True)
    sys.exit(_exit_status(summary, fail_on_escape=fail_on_escape))


def _check_robot(source: str, *, loop: bool, recipe: Path | None) -> None:
    """
    Refuse what does not go with the simulated belt.

    """
    if source != 'line' and not source.startswith('line:'):
        raise SettingError(
            f"--robot with --source {source!r} is refused: allowed is the simulated line, 'line' "
            "or 'line:parts=200,seed=2'; only of it the truth is known that the tray is compared "
            'with'
        )
    if loop or recipe is None:
        raise SettingError(
            '--robot needs --recipe, and does not go with --loop: each part lies on the belt once'
        )


def _recorder(folder: Path, parameter_file: Path) -> NodeProcess:
    from anomaly_inspection.nodes.cell import NAMESPACE
    from anomaly_inspection.nodes.node_process import NodeProcess
    from anomaly_inspection.nodes.recorder_node import (
        check_record_packages,
        recorder_options,
        RECORDS_WORDS,
    )

    check_record_packages()
    options = recorder_options(folder)
    return NodeProcess('recorder', parameter_file, NAMESPACE, RECORDS_WORDS, options)


def _drift_watch(parameter_file: Path) -> NodeProcess:
    from anomaly_inspection.nodes.cell import NAMESPACE
    from anomaly_inspection.nodes.drift_watch_node import DRIFT_WORDS
    from anomaly_inspection.nodes.node_process import NodeProcess

    # A run begins anew, whatever the run before has learned.
    options = ['-p', f'state_folder:={NO_FOLDER}']
    return NodeProcess('drift_watch', parameter_file, NAMESPACE, DRIFT_WORDS, options)


def _mqtt_bridge(address: str, parameter_file: Path) -> AbstractContextManager[object]:
    from anomaly_inspection.nodes.cell import NAMESPACE
    from anomaly_inspection.nodes.mqtt_bridge_node import check_mqtt_packages
    from anomaly_inspection.nodes.mqtt_process import MqttProcess

    # An IPv6 address with a port stands in brackets.
    found = re.fullmatch(r'(?:\[([\da-fA-F:.]+)\]|([^\s:\[\]\'"]+))(?::(\d{1,5}))?', address)
    port = int(found[3] or 0) if found else 0
    if found is None or port > 65535 or (found[3] and not port):
        raise SettingError(
            f'--mqtt {address!r} is refused: allowed is HOST or HOST:PORT, port 1 to 65535, as '
            "'broker.plant.example:1883'"
        )
    check_mqtt_packages()
    return MqttProcess(parameter_file, NAMESPACE, found[1] or found[2], port)


def _exit_status(summary: dict[str, Any], *, fail_on_escape: bool) -> int:
    trays = summary.get('trays')
    causes = summary['gate_causes'].items()
    # What an arm has no time for, it leaves.
    left = sum(count for cause, count in causes if cause in LEFT_CAUSES) if trays else 0
    has_fault = bool(
        summary['lost']
        or summary['gate_not_followed'] > left
        or (trays and (trays['bad_in_tray'] or trays['said_otherwise']))
        or summary['gate_not_confirmed']
        or summary['line_stops']
        or summary['source_problem']
        or not summary['parts']
    )
    has_escape = fail_on_escape and summary['large_escapes'] > 0
    return EXIT_FAULT if has_fault or has_escape else EXIT_OK
