# SPDX-License-Identifier: Apache-2.0
"""
The benchmark of several views still runs and writes what it promises.

"""

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

import rclpy

from benchmarks.views import run, table

pytestmark = pytest.mark.ros


def test_one_view_is_measured_through_its_joiner(domain_id, taught_recipe, tmp_path):
    rclpy.init(domain_id=domain_id)
    try:
        found = run(1, [taught_recipe], tmp_path, parts=5, rate_hz=5.0, size='320x240')
    finally:
        rclpy.try_shutdown()
    assert found.parts == 5
    assert found.passed > 0
    assert found.p50_ms > 0
    assert found.joiner_cpu_percent > 0
    assert table([found]).count('\n') == 2
