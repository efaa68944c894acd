# SPDX-License-Identifier: Apache-2.0
"""
The whole cell with a simulated belt and arm: what lies in the tray is compared with the truth.

"""

import threading

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from click.testing import CliRunner

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.cli.command import main
from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.tray_figures import LEFT_CAUSES
from anomaly_inspection.nodes.cell_run import run_cell
from anomaly_inspection.nodes.robot_line import RobotLine
from support.paths import ROOT

pytestmark = pytest.mark.ros

PARAMETER_FILE = ROOT / 'config' / 'cell.yaml'
LINE = 'line:width_px=320,height_px=240,shift_px=3,rotation_deg=2,kinds=missing_bore'


def run(recipe, source, rate_hz, picture=None):
    return run_cell(
        recipe,
        open_source(source),
        source,
        rate_hz=rate_hz,
        parameter_file=PARAMETER_FILE,
        interrupted=threading.Event(),
        part_done=lambda record: None,
        robot=RobotLine(rate_hz, picture),
    )


def test_good_parts_lie_in_the_tray_and_bad_ones_do_not(taught_recipe, domain_id, tmp_path):
    picture = tmp_path / 'report' / 'arm.png'
    result = run(taught_recipe, f'{LINE},seed=1,parts=14,defect_rate=0.4', 3.0, picture)
    trays = result.trays
    rows = {row.true_class: row for row in trays.rows}
    assert set(rows) == {'good', 'missing_bore'}
    assert rows['missing_bore'].in_tray == 0
    assert rows['missing_bore'].left_on_belt == rows['missing_bore'].parts
    assert trays.bad_in_tray == 0
    assert trays.said_otherwise == 0
    # What is not there has its reason. A busy machine may be too late for some.
    assert rows['good'].in_tray + sum(trays.left_good.values()) == rows['good'].parts
    assert rows['good'].in_tray > 0
    assert set(trays.left_good) <= {*LEFT_CAUSES, 'late_decision', 'rejected', 'line_stopped'}
    assert picture.is_file() == (rows['good'].in_tray >= 6)


def test_parts_closer_than_the_arm_can_pick_are_refused(taught_recipe, domain_id):
    with pytest.raises(
        SettingError, match=r'the arm needs 0\.06 m .*allowed: up to 6\.67 parts/s'
    ):
        run(taught_recipe, f'{LINE},parts=5', 8.0)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--source', '0', '--recipe', 'r'], "--source '0' is refused"),
        (['--source', 'line', '--panel'], '--robot needs --recipe'),
        (['--source', 'line', '--recipe', 'r', '--loop'], 'does not go with --loop'),
    ],
)
def test_what_does_not_go_with_an_arm_is_refused(options, words):
    answer = CliRunner().invoke(main, ['run', '--robot', *options])
    assert answer.exit_code == 2
    assert words in ' '.join(answer.output.split())
