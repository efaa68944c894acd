# SPDX-License-Identifier: Apache-2.0
"""
The threshold bridge over DDS: a device on a pseudo-terminal, a real decider, limits that move.

"""

import math
import time

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from cell_bench import NodeBench, Peer
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger
from wire_bench import PtyDevice

from anomaly_inspection.msg import (
    LimitsInForce,
    Potentiometers,
    RecipeInForce,
    RecipePrepared,
    Thresholds,
)
from anomaly_inspection.nodes.decider_node import DeciderNode
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.spin import NodeThread
from anomaly_inspection.nodes.threshold_bridge_node import ThresholdBridgeNode
from anomaly_inspection.recipes.folder import read_recipe

pytestmark = pytest.mark.ros

PEAK = ('variation', 'peak_z')
MSE = ('ssim', 'mse')
CHANNELS = {'channel_34.measure': '.'.join(PEAK), 'channel_39.measure': '.'.join(MSE)}
NO_SCALE = {'max_age_s': 5.0, 'silence_s': 10.0}


class Panel(Peer):
    """
    Watches the bridge; stands in for a decider, or confirms recipes as the scorers would.

    """

    def __init__(self, context):
        super().__init__(context)
        self.positions = self.hear(Potentiometers, 'potentiometers', EVENT)
        self.thresholds = self.hear(Thresholds, 'thresholds', EVENT)
        self.limits = self.hear(LimitsInForce, 'limits_in_force', LATCHED)
        self.prepared_out = self.create_publisher(RecipePrepared, 'recipe_prepared', LATCHED)
        self.create_subscription(RecipeInForce, 'recipe_prepare', self._confirm, LATCHED)

    def _confirm(self, message):
        self.prepared_out.publish(
            RecipePrepared(
                scorers=message.scorers, recipe_hash=message.hash, is_ready=True, error=''
            )
        )

    def in_force(self, key):
        limits = self.limits[-1].limits if self.limits else []
        return next((x.value for x in limits if (x.scorer, x.measure) == key), math.nan)


class Bench(NodeBench):
    def __init__(self, context, recipe_folder=None, **parameters):
        self.device = PtyDevice()
        self.panel = Panel(context)
        self.recipe_folder = recipe_folder
        self.decider = self.decider_thread = None
        given = {'port': self.device.path, **NO_SCALE, **CHANNELS, **parameters}
        super().__init__(ThresholdBridgeNode, self.panel, **given)
        if recipe_folder is not None:
            recipe = Parameter('recipe', value=str(recipe_folder))
            self.decider = DeciderNode(context=context, parameter_overrides=[recipe])
            self.decider_thread = NodeThread([self.decider], 'decider', context=context)
            self.decider_thread.start()

    def ready(self):
        """
        Wait until knobs are read and limits known.

        """
        self.wait_until_active()
        self.wait(lambda: self.panel.positions)
        self.wait(lambda: self.node._in_force)
        self.wait(lambda: self.node._thresholds.get_subscription_count() >= 1)
        if self.decider is not None:
            self.wait(lambda: self.decider.is_ready)
            self.wait(lambda: self.node._thresholds.get_subscription_count() == 2)
        return self

    def typical(self, key):
        scorer, measure = key
        return read_recipe(self.recipe_folder).scorers[scorer].limits[measure].typical

    def turn(self, channel, position):
        self.device.positions[channel] = position

    def settle(self, readings=5):
        """
        Wait until the node has taken that many lines that the device had yet to say.

        """
        lines = self.node._link.counters.lines + readings
        taken = self.node._link
        self.wait(lambda: taken.counters.lines >= lines)
        told = self.node._told
        self.wait(lambda: self.node._taken is not None)
        self.wait(lambda: self.node._taken.received_s >= told.received_s)

    def limit_at(self, key, position, tolerance=0.003):
        """
        Wait until the limit stands where the knob is: 1.05 to 5 times typical.

        """
        typical = self.typical(key)
        expected = typical * (1.05 + (5.0 - 1.05) * position)
        self.wait(lambda: abs(self.panel.in_force(key) - expected) <= 4 * typical * tolerance)

    def grab(self):
        return self.call(Trigger, 'threshold_bridge/grab')

    def close(self):
        super().close()
        if self.decider is not None:
            self.decider_thread.stop()
            self.decider.shut_down()
            self.decider.destroy_node()
        self.device.close()


@pytest.fixture
def make_bench(ros_context):
    benches = []

    def make(recipe_folder=None, **parameters):
        benches.append(Bench(ros_context, recipe_folder, **parameters))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


def test_what_the_device_reads_is_published(make_bench, taught_recipe):
    bench = make_bench(taught_recipe).ready()
    message = bench.panel.positions[-1]
    assert message.header.frame_id == bench.device.path
    assert abs(message.header.stamp.sec - time.time()) < 60
    first, second = message.readings
    assert (first.channel, second.channel) == (34, 39)
    assert first.smoothed == pytest.approx(0.25)
    assert first.raw == pytest.approx(0.25, abs=1e-3)
    assert 0 <= first.age_s < 5
    count = len(bench.panel.positions)
    bench.wait(lambda: len(bench.panel.positions) > count + 10)


def test_knobs_do_nothing_until_they_are_grabbed(make_bench, taught_recipe):
    bench = make_bench(taught_recipe).ready()
    bench.turn(34, 0.6)
    bench.settle()
    assert bench.panel.thresholds == []
    answer = bench.grab()
    assert answer.success, answer.message
    assert 'variation.peak_z' in answer.message
    bench.limit_at(PEAK, 0.6)
    bench.limit_at(MSE, 0.75)
    assert bench.panel.thresholds[-1].source == 'potentiometers'
    assert len(bench.panel.thresholds) == 1
    bench.wait(lambda: not bench.node._sent)
    assert not bench.node.problem('thresholds')


def test_the_button_grabs(make_bench, taught_recipe):
    bench = make_bench(taught_recipe).ready()
    bench.device.presses += 1
    bench.limit_at(PEAK, 0.25)
    bench.turn(34, 0.5)
    bench.settle()
    bench.device.presses += 2
    bench.limit_at(PEAK, 0.5)
    assert len(bench.panel.thresholds) == 2


def test_presses_from_before_and_a_restart_of_the_device_are_no_grab(make_bench, taught_recipe):
    bench = make_bench(taught_recipe)
    bench.device.presses = 7
    bench.ready()
    bench.settle()
    bench.device.restart()
    bench.settle()
    assert bench.panel.thresholds == []
    bench.device.presses += 1
    bench.limit_at(PEAK, 0.25)


def test_follow_acts_from_the_first_turn_on(make_bench, taught_recipe):
    bench = make_bench(taught_recipe, follow=True).ready()
    bench.settle()
    bench.turn(34, 0.26)
    bench.settle()
    assert bench.panel.thresholds == [], 'less than waking'
    bench.turn(34, 0.4)
    bench.limit_at(PEAK, 0.4)
    assert {x.measure for x in bench.panel.thresholds[-1].limits} == {'peak_z'}
    bench.turn(34, 0.405)
    bench.limit_at(PEAK, 0.405, tolerance=0.0005)
    count = len(bench.panel.thresholds)
    bench.turn(34, 0.406)
    bench.settle()
    assert len(bench.panel.thresholds) == count, 'within the deadband'


def test_a_reconnected_device_does_not_bring_its_position_into_force(make_bench, taught_recipe):
    bench = make_bench(taught_recipe, follow=True).ready()
    bench.settle()
    bench.turn(34, 0.4)
    bench.limit_at(PEAK, 0.4)
    bench.turn(34, 0.9)
    bench.device.restart()
    bench.settle()
    count = len(bench.panel.thresholds)
    bench.settle()
    # The turn and the restart raced: whether the first line after the turn came before or after
    # the restart, nothing acts that was not turned since.
    assert len(bench.panel.thresholds) == count
    bench.turn(34, 0.5)
    bench.limit_at(PEAK, 0.5)


def test_follow_can_be_switched_while_the_node_runs(make_bench, taught_recipe):
    bench = make_bench(taught_recipe).ready()
    assert bench.set_parameter('follow', True).successful
    bench.settle()
    assert bench.panel.thresholds == [], 'where the knobs stand means nothing'
    bench.turn(39, 0.1)
    bench.limit_at(MSE, 0.1)
    assert bench.set_parameter('follow', False).successful
    bench.settle()
    count = len(bench.panel.thresholds)
    bench.turn(39, 0.9)
    bench.settle()
    assert len(bench.panel.thresholds) == count


def test_the_limits_hold_while_the_device_is_gone(make_bench, taught_recipe):
    bench = make_bench(taught_recipe).ready()
    assert bench.grab().success
    bench.limit_at(PEAK, 0.25)
    bench.device.unplug()
    bench.wait(lambda: bench.node.problem('link'))
    assert 'the limits stay as they are' in bench.node.problem('link')
    refused = bench.grab()
    assert not refused.success
    assert bench.device.path in refused.message
    bench.limit_at(PEAK, 0.25)


def test_a_reading_that_is_too_old_is_not_grabbed(make_bench, taught_recipe):
    bench = make_bench(taught_recipe, max_age_s=0.05).ready()
    bench.device.says_readings = False
    bench.wait(lambda: time.monotonic() - bench.node._told.received_s > 0.05)
    refused = bench.grab()
    assert not refused.success
    assert 'allowed: 0.05 s (max_age_s)' in refused.message


def test_a_measure_the_recipe_does_not_have_is_told(make_bench, taught_recipe):
    bench = make_bench(taught_recipe, **{'channel_34.measure': 'autoencoder.latent_density'})
    bench.ready()
    bench.wait(lambda: bench.node.problem('channel 34'))
    assert 'autoencoder.latent_density is not among the limits' in bench.node.problem('channel 34')
    answer = bench.grab()
    assert answer.success
    assert 'not sent: channel 34' in answer.message
    bench.limit_at(MSE, 0.75)


def test_a_range_on_the_good_side_of_typical_is_told(make_bench, taught_recipe):
    bench = make_bench(
        taught_recipe, **{'channel_34.low': 0.001, 'channel_34.high': 9.0, 'channels': ['34']}
    )
