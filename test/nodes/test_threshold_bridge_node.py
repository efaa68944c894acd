# SPDX-License-Identifier: Apache-2.0
"""
The threshold bridge over DDS: a device on a pseudo-terminal, a real decider, limits that move.

"""

import math
import time

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from anomaly_inspection.msg import (
    LimitInForce,
    LimitsInForce,
    Potentiometers,
    RecipeInForce,
    RecipePrepared,
    Thresholds,
)
from anomaly_inspection.nodes.decider_node import DeciderNode
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.spinning import NodeThread
from anomaly_inspection.nodes.threshold_bridge_node import ThresholdBridgeNode
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from support.cell_bench import NodeBench, Peer
from support.wire_bench import PtyDevice

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
    def __init__(self, context, recipe_folder=None, *, says_readings=True, **parameters):
        self.device = PtyDevice(says_readings=says_readings)
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
        asked_ms = self.device.uptime_ms()
        lines = self.node._link.counters.lines + readings
        taken = self.node._link
        self.wait(lambda: taken.counters.lines >= lines)
        told = self.node._readings.state
        self.wait(lambda: self.node._taken is not None)
        self.wait(lambda: self.node._taken.received_s >= told.received_s)
        # On a busy machine, lines from before may still have been under way.
        self.wait(
            lambda: all(
                reading.uptime_ms is None
                or asked_ms <= reading.uptime_ms <= self.device.uptime_ms()
                for reading in self.node._taken.readings.values()
            )
        )

    def restart_device(self):
        """
        Restart it, and wait until its lines are taken.

        """
        self.device.restart()
        self.settle()
        # The link greets it anew, and with the answer all begins once more.
        self.wait(lambda: self.node._link.is_greeted)
        self.settle()

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


def test_the_whole_turn_of_a_knob_lies_in_the_range_of_the_engineer(
    make_bench, taught_recipe, tmp_path
):
    recipe = read_recipe(taught_recipe)
    limit = recipe.scorers['variation'].limits['peak_z']
    ends = (limit.limit - 0.5, limit.limit + 0.5)
    write_recipe(recipe.with_ranges({PEAK: ends}), tmp_path / 'small')
    bench = make_bench(tmp_path / 'small').ready()
    bench.turn(34, 0.0)
    bench.settle()
    assert bench.grab().success
    bench.wait(lambda: bench.panel.in_force(PEAK) == pytest.approx(ends[0]))
    bench.turn(34, 1.0)
    bench.settle()
    assert bench.grab().success
    bench.wait(lambda: bench.panel.in_force(PEAK) == pytest.approx(ends[1]))
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
    bench.restart_device()
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
    bench.restart_device()
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
    assert bench.set_parameter('follow', True).successful
    bench.settle()
    assert len(bench.panel.thresholds) == count, 'turned while it did not follow'


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
    bench.wait(lambda: time.monotonic() - bench.node._readings.state.received_s > 0.05)
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
    ranges = {
        'channel_34.low': 0.001,
        'channel_34.high': 9.0,
        'channel_39.measure': 'ssim.mean_ssim',
        'channel_39.low': 0.5,
        'channel_39.high': 1.0,
    }
    bench = make_bench(taught_recipe, **ranges).ready()
    bench.wait(lambda: bench.node.problem('channel 34') and bench.node.problem('channel 39'))
    assert 'variation.peak_z: limit 0.001 refused, allowed: above' in bench.node.problem(
        'channel 34'
    )
    assert 'limit 1.0 refused' in bench.node.problem('channel 39')
    refused = bench.grab()
    assert not refused.success
    assert 'limit 0.001 refused' in refused.message
    assert bench.panel.thresholds == []


def test_range_curve_and_direction_are_parameters(make_bench, taught_recipe):
    settings = {'low': 10.0, 'high': 1000.0, 'curve': 'logarithmic', 'is_reversed': True}
    bench = make_bench(
        taught_recipe, **{f'channel_34.{name}': value for name, value in settings.items()}
    ).ready()
    assert bench.grab().success
    bench.wait(lambda: bench.panel.in_force(PEAK) == pytest.approx(10 * 100**0.75))


def test_what_the_decider_refuses_is_told(make_bench, taught_recipe):
    """
    -4 is on the bad side; that the measure does not reach below -1, the decider knows.

    """
    beyond = {
        'channel_39.measure': 'ssim.mean_ssim',
        'channel_39.low': -5.0,
        'channel_39.high': -4.0,
    }
    bench = make_bench(taught_recipe, **beyond).ready()
    assert bench.grab().success
    bench.wait(lambda: bench.node.problem('thresholds'))
    assert 'ssim.mean_ssim -4.25 was sent' in bench.node.problem('thresholds')
    assert math.isfinite(bench.panel.in_force(('ssim', 'mean_ssim')))


def test_another_recipe_lets_the_knobs_rest(make_bench):
    bench = make_bench(follow=True)
    bench.wait_until_active()
    limits_out = bench.panel.create_publisher(LimitsInForce, 'limits_in_force', LATCHED)

    def in_force(recipe_hash):
        limit = {'value': 4.0, 'unit': '1', 'bad_side': 1, 'typical': 2.0, 'origin': 1}
        limits = [LimitInForce(scorer=s, measure=m, **limit) for s, m in (PEAK, MSE)]
        limits_out.publish(LimitsInForce(recipe_hash=recipe_hash, limits=limits))
        bench.wait(lambda: bench.node._recipe_hash == recipe_hash)

    in_force('first')
    bench.ready().settle()
    bench.turn(34, 0.5)
    bench.wait(lambda: bench.panel.thresholds)
    in_force('second')
    bench.settle()
    count = len(bench.panel.thresholds)
    bench.turn(34, 0.51)
    bench.settle()
    assert len(bench.panel.thresholds) == count, 'less than waking'
    bench.turn(34, 0.7)
    bench.wait(lambda: len(bench.panel.thresholds) > count)


def test_old_lines_act_when_two_agree(make_bench, taught_recipe):
    bench = make_bench(
        taught_recipe,
        says_readings=False,
        legacy_protocol=True,
        **{'channel_39.legacy_full_scale': 1.0, 'channel_34.legacy_full_scale': 4000.0},
    )
    bench.wait_until_active()
    bench.wait(lambda: bench.node._in_force)
    bench.wait(lambda: bench.device.heard)
    bench.device.say_bytes(b'_34#1000#34_\n_39#0.5#39_\r\n_34#3900#34_\n_39#0.501#39_\r\n')
    bench.wait(lambda: bench.panel.positions)
    [reading] = bench.panel.positions[-1].readings
    assert (reading.channel, reading.smoothed) == (39, pytest.approx(0.501))
    assert math.isnan(reading.age_s)
    answer = bench.grab()
    assert 'ssim.mse' in answer.message
    assert 'channel 34: the device has not sent a reading yet' in answer.message
    bench.limit_at(MSE, 0.501)


def test_without_a_port_the_node_is_idle_and_says_so(make_bench, taught_recipe):
    bench = make_bench(taught_recipe, port='').wait_until_active()
    refused = bench.grab()
    assert not refused.success
    assert 'port is empty' in refused.message
    assert bench.node.diagnostic_values() == {'port': 'none: set the parameter port'}
    assert not bench.node._problems


def test_without_a_decider_nothing_is_grabbed(make_bench):
    bench = make_bench().wait_until_active()
    bench.wait(lambda: bench.panel.positions)
    refused = bench.grab()
    assert not refused.success
    assert 'is the decider running?' in refused.message


def test_stopped_and_started_again_it_reads_on(make_bench, taught_recipe):
    bench = make_bench(taught_recipe).ready()
    bench.node.trigger_deactivate()
    assert not bench.node._link.is_connected
    count = len(bench.panel.positions)
    bench.node.trigger_activate()
    bench.wait(lambda: len(bench.panel.positions) > count)
    bench.wait(lambda: bench.grab().success)


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'channels': ['34', 'x', '39']}, 'allowed are 1 to 4 different GPIO numbers'),
        ({'channels': ['34', '34']}, 'allowed are 1 to 4 different GPIO numbers'),
        ({'channels': ['256']}, 'allowed are 1 to 4 different GPIO numbers'),
        ({'channels': ['34']}, 'parameter channel_39.measure: channels names only 34'),
        ({'channel_34.measure': 'peak_z'}, 'allowed is scorer.measure'),
        ({'channel_34.measure': 'ssim.mse'}, 'two channels move the same limit'),
        (
            {'channel_34.low': 3.0, 'channel_34.high': 2.0},
            'channel_34.low, channel_34.high: range',
        ),
        ({'channel_34.curve': 'cubic'}, "allowed is 'linear', 'logarithmic'"),
        ({'port': 'no://where'}, "port 'no://where' is refused"),
    ],
)
def test_what_cannot_be_is_refused_with_the_allowed_range(make_bench, parameters, words):
    bench = make_bench(**parameters)
    bench.wait(lambda: bench.node.problem('lifecycle'))
    assert words in bench.node.problem('lifecycle')
    assert not bench.node.is_active


def test_through_the_firmware(make_bench, taught_recipe, tmp_path):
    """
    The firmware's own logic behind a pty, noise included: button, knob, cable, reboot.

    """
    from firmware.twin.device_twin import DeviceTwin

    with DeviceTwin(tmp_path) as twin:
        bench = make_bench(
            taught_recipe,
            port=str(twin.bluetooth),
            follow=True,
            **{'channel_34.low': 100.0, 'channel_34.high': 200.0},
        ).ready()
        twin.tell('press')
        bench.wait(lambda: abs(bench.panel.in_force(PEAK) - 150) < 1)
        twin.tell('knob 34 0.9')
        bench.wait(lambda: bench.panel.in_force(PEAK) > 188)
        twin.tell('cut')
        bench.wait(lambda: bench.node.problem('link'))
        limit = bench.panel.in_force(PEAK)
        twin.tell('knob 34 0.2')
        twin.tell('plug')
        bench.wait(lambda: not bench.node.problem('link'))
        bench.settle(20)
        assert bench.panel.in_force(PEAK) == limit, 'turned while the cable was out'
        twin.tell('reboot')
        bench.wait(lambda: bench.node._link.counters.lost == 0)
        bench.settle(20)
        twin.tell('knob 34 0.5')
        bench.wait(lambda: abs(bench.panel.in_force(PEAK) - 150) < 1)
