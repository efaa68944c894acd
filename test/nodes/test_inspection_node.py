# SPDX-License-Identifier: Apache-2.0
"""
The base of the nodes: parameters, lifecycle, guarded callbacks, diagnostics.

"""

from dataclasses import dataclass
import functools
import time
from typing import ClassVar

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from std_msgs.msg import Int32
from std_srvs.srv import Trigger

from anomaly_inspection.errors import InspectionError, SettingError
from anomaly_inspection.nodes import diagnosed_node, inspection_node
from anomaly_inspection.nodes.inspection_node import InspectionNode, NodeParameters
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, IMAGE, WATCH_IMAGE

ERROR = DiagnosticStatus.ERROR
SUCCESS = TransitionCallbackReturn.SUCCESS


@dataclass(frozen=True)
class ExampleParameters(NodeParameters):
    speed: float = parameter(1.0, 'Belt speed.', unit='m/s', minimum=0.0, maximum=5.0)
    count: int = parameter(3, 'A count.', minimum=1, maximum=10)
    mode: str = parameter('belt', 'A mode.', choices=('belt', 'station'))
    names: tuple[str, ...] = parameter((), 'Some names.')
    is_fast: bool = parameter(False, 'A switch.')
    place: str = parameter('here', 'Fixed.', read_only=True)


class ExampleNode(InspectionNode[ExampleParameters]):
    concerns: ClassVar[dict[str, tuple[str, ...]]] = {'belt': ('speed',), 'parts': ('part *',)}

    def __init__(self, **options):
        self.fails_in = ''
        self.taken = []
        super().__init__('example', ExampleParameters, **options)

    def _maybe_fail(self, where):
        if self.fails_in == where:
            raise InspectionError(f'{where} does not work')

    def configure(self):
        self.out = self.publish_on(Int32, 'out', EVENT)
        self._maybe_fail('configure')
        self.listen(Int32, 'in', self._take, EVENT)
        self.serve(Trigger, '~/ask', self._answer)

    def activate(self):
        self._maybe_fail('activate')

    def deactivate(self):
        self._maybe_fail('deactivate')

    def _take(self, message):
        if message.data < 0:
            raise InspectionError(f'data = {message.data} is refused: allowed is 0 and more')
        self.taken.append(message.data)

    def _answer(self, request):
        self._maybe_fail('ask')
        return 'all is well'


def overrides(**values):
    return [Parameter(name, value=value) for name, value in values.items()]


@pytest.fixture
def node(ros_context):
    node = ExampleNode(context=ros_context, parameter_overrides=overrides(autostart=False))
    yield node
    node.destroy_node()


def set_parameter(node, **values):
    return node.set_parameters_atomically(overrides(**values))


# Parameters


def test_a_parameter_given_at_start_acts_and_an_integer_serves_for_a_number(ros_context):
    given = overrides(autostart=False, speed=2, names=['a', 'b'])
    node = ExampleNode(context=ros_context, parameter_overrides=given)
    assert node.parameters == ExampleParameters(autostart=False, speed=2.0, names=('a', 'b'))
    assert node.get_parameter('speed').value == 2.0
    node.destroy_node()


@pytest.mark.parametrize(
    ('value', 'words'),
    [
        ({'speed': 5.5}, 'speed = 5.5 is out of range: allowed is a number from 0 to 5 m/s'),
        ({'speed': 'fast'}, "speed = 'fast' is refused: allowed is a number from 0 to 5 m/s"),
        ({'speed': float('nan')}, 'speed = nan is refused'),
        ({'speed': True}, 'speed = True is refused'),
        ({'count': 0}, 'count = 0 is out of range: allowed is an integer from 1 to 10'),
        ({'count': 2.5}, 'count = 2.5 is refused: allowed is an integer from 1 to 10'),
        ({'mode': 'bolt'}, "mode = 'bolt' is refused: allowed is 'belt', 'station'"),
        ({'names': 'a'}, "names = 'a' is refused: allowed is a list of texts"),
        ({'is_fast': 1}, 'is_fast = 1 is refused: allowed is true or false'),
    ],
)
def test_a_refused_value_names_itself_and_the_allowed_range(node, ros_context, value, words):
    result = set_parameter(node, **value)
    assert not result.successful
    assert words in result.reason
    assert node.parameters == ExampleParameters(autostart=False)
    with pytest.raises(SettingError) as refused:
        ExampleNode(context=ros_context, parameter_overrides=overrides(**value))
    assert words in str(refused.value)


def test_parameters_set_together_change_all_or_none(node):
    assert not set_parameter(node, speed=2.0, count=99).successful
    assert node.parameters.speed == 1.0
    assert set_parameter(node, speed=2, count=4).successful
    assert (node.parameters.speed, node.parameters.count) == (2.0, 4)


def test_a_read_only_parameter_keeps_its_value(node):
    result = set_parameter(node, place='there')
    assert not result.successful
    assert 'read-only' in result.reason
    assert node.parameters.place == 'here'


def test_every_parameter_describes_itself(node):
    descriptor = node.describe_parameter('speed')
    assert descriptor.description == 'Belt speed.'
    assert descriptor.floating_point_range[0].to_value == 5.0
    assert 'm/s' in descriptor.additional_constraints


# Lifecycle


def test_a_failed_transition_says_why_and_can_be_tried_again(node):
    node.fails_in = 'configure'
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.problem('lifecycle') == 'cannot configure: configure does not work'
    assert node.count_publishers('out') == 0, 'what was made before the failure is gone'
    node.fails_in = 'activate'
    assert node.trigger_configure() == SUCCESS
    assert node.problem('lifecycle') is None
    assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
    assert not node.is_active
    node.fails_in = ''
    assert node.trigger_activate() == SUCCESS
    assert node.is_active


def test_a_node_goes_through_its_life_twice(node):
    for _ in range(2):
        assert node.trigger_configure() == SUCCESS
        assert node.trigger_activate() == SUCCESS
        assert node.is_active
        assert node.trigger_deactivate() == SUCCESS
        assert not node.is_active
        assert node.trigger_cleanup() == SUCCESS


def test_a_node_that_fails_to_stop_is_inactive_all_the_same(node):
    node.trigger_configure()
    node.trigger_activate()
    node.fails_in = 'deactivate'
    assert node.trigger_deactivate() == SUCCESS
    assert not node.is_active
    assert 'deactivate does not work' in node.problem('lifecycle')


def test_autostart_brings_the_node_up(ros_context, spin_until):
    node = ExampleNode(context=ros_context)
    spin_until(lambda: node.is_active, node)
    node.destroy_node()


def test_autostart_tries_again_to_activate(ros_context, spin_until, monkeypatch):
    monkeypatch.setattr(inspection_node, '_ACTIVATE_AGAIN_S', 0.1)
    node = ExampleNode(context=ros_context)
    node.fails_in = 'activate'
    spin_until(lambda: node.problem('lifecycle'), node)
    spin_until.for_a_moment(node)
    assert not node.is_active
    node.fails_in = ''
    spin_until(lambda: node.is_active, node)
    assert node.problem('lifecycle') is None
    node.trigger_deactivate()
    spin_until.for_a_moment(node)
    assert not node.is_active, 'what was stopped by hand stays so'
    node.destroy_node()


def test_between_two_attempts_to_activate_the_node_does_its_other_work(
    ros_context, spin_until, monkeypatch
):
    monkeypatch.setattr(inspection_node, '_ACTIVATE_AGAIN_S', 0.4)

    class Blocking(ExampleNode):
        ends_s: ClassVar[list[float]] = []
        pauses_s: ClassVar[list[float]] = []

        def activate(self):
            if self.ends_s:
                self.pauses_s.append(time.monotonic() - self.ends_s[-1])
            time.sleep(0.4)
            self.ends_s.append(time.monotonic())
            raise InspectionError('not there yet')

    node = Blocking(context=ros_context)
    spin_until(lambda: len(node.pauses_s) >= 2, node)
    assert min(node.pauses_s) > 0.3
    node.destroy_node()


def test_autostart_gives_up_when_the_node_is_cleaned_up(ros_context, spin_until, monkeypatch):
    monkeypatch.setattr(inspection_node, '_ACTIVATE_AGAIN_S', 0.1)
    node = ExampleNode(context=ros_context)
    node.fails_in = 'activate'
    spin_until(lambda: node.problem('lifecycle'), node)
    assert node.trigger_cleanup() == SUCCESS
    assert node.trigger_configure() == SUCCESS
    node.fails_in = ''
    spin_until.for_a_moment(node)
    assert not node.is_active
    node.destroy_node()


# Callbacks


@pytest.fixture
def speaker(ros_context):
    speaker = Node('speaker', context=ros_context)
    yield speaker
    speaker.destroy_node()


def test_input_is_dropped_unless_active(node, speaker, spin_until):
    publisher = speaker.create_publisher(Int32, 'in', EVENT)
    node.trigger_configure()
    spin_until(lambda: publisher.get_subscription_count() == 1, node, speaker)
    publisher.publish(Int32(data=1))
    spin_until.for_a_moment(node, speaker)
    assert node.taken == []
    node.trigger_activate()
    publisher.publish(Int32(data=2))
    spin_until(lambda: node.taken, node, speaker)
    node.trigger_deactivate()
    publisher.publish(Int32(data=3))
    spin_until.for_a_moment(node, speaker)
    assert node.taken == [2]


def test_a_bad_message_is_reported_and_the_next_one_taken(node, speaker, spin_until):
    publisher = speaker.create_publisher(Int32, 'in', EVENT)
    node.trigger_configure()
    node.trigger_activate()
    spin_until(lambda: publisher.get_subscription_count() == 1, node, speaker)
    publisher.publish(Int32(data=-7))
    publisher.publish(Int32(data=8))
    spin_until(lambda: node.taken, node, speaker)
    assert node.taken == [8]
    assert 'data = -7 is refused: allowed is 0 and more' in node.problem('_take')


def test_a_bad_message_is_reported_by_a_callback_with_arguments_of_its_own(node):
    node.trigger_configure()
    node.trigger_activate()
    node._guarded(functools.partial(node._take))(Int32(data=-7))
    assert 'data = -7 is refused' in node.problem('_take')


def test_a_bad_message_leaves_the_diagnostics_after_a_while_and_is_counted(
    node, speaker, spin_until, monkeypatch
):
    monkeypatch.setattr(diagnosed_node, '_EVENT_SHOWN_S', 1.5)
    heard = []
    speaker.create_subscription(DiagnosticArray, '/diagnostics', heard.append, 10)
    publisher = speaker.create_publisher(Int32, 'in', EVENT)
    node.trigger_configure()
    node.trigger_activate()
    spin_until(lambda: publisher.get_subscription_count() == 1, node, speaker)
    for number in (-7, -8):
        publisher.publish(Int32(data=number))
    spin_until(
        lambda: heard and heard[-1].status[0].level == DiagnosticStatus.ERROR, node, speaker
    )
    assert 'data = -8 is refused' in heard[-1].status[0].message
    spin_until(lambda: heard[-1].status[0].level == DiagnosticStatus.OK, node, speaker)
    values = {value.key: value.value for value in heard[-1].status[0].values}
    assert values['bad messages'] == '2'


def test_what_lasts_stays_though_it_began_as_an_event(node, monkeypatch):
    monkeypatch.setattr(diagnosed_node, '_EVENT_SHOWN_S', 0.0)
    node.report_event('x', DiagnosticStatus.WARN, 'once', counted_as='times')
    node.report('x', DiagnosticStatus.ERROR, 'for good')
    node.publish_diagnostics()
    assert node.problem('x') == 'for good'


# Quality of service


def qos_override(topic, end, policy, value):
    return Parameter(f'qos_overrides./{topic}.{end}.{policy}', value=value)


def test_a_parameter_changes_the_quality_of_service_of_an_image(ros_context):
    class Viewing(ExampleNode):
        def configure(self):
            self.publish_on(Int32, 'out', WATCH_IMAGE)
            self.listen(Int32, 'in', self._take, IMAGE)

    given = [
        *overrides(autostart=False),
        qos_override('out', 'publisher', 'reliability', 'reliable'),
        qos_override('in', 'subscription', 'reliability', 'best_effort'),
        qos_override('in', 'subscription', 'depth', 2),
    ]
    node = Viewing(context=ros_context, parameter_overrides=given)
    for _ in range(2):
        assert node.trigger_configure() == SUCCESS
        [out] = node.get_publishers_info_by_topic('/out')
        [listener] = node.get_subscriptions_info_by_topic('/in')
        assert out.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        assert listener.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
        assert node.trigger_cleanup() == SUCCESS
    assert (WATCH_IMAGE.reliability, IMAGE.depth) == (ReliabilityPolicy.BEST_EFFORT, 5)
    node.destroy_node()


@pytest.mark.parametrize(
    ('policy', 'value', 'words'),
    [
        ('reliability', 'best_effort', "reliability must stay 'reliable'"),
        ('depth', 3, 'depth 3, allowed: 100 and more'),
        ('reliability', 'perhaps', 'perhaps'),
        ('durability', 'volatile', 'durability: allowed are reliability, history, depth'),
    ],
)
def test_a_quality_of_service_that_could_lose_a_decision_is_refused(
    ros_context, policy, value, words
):
    given = [*overrides(autostart=False), qos_override('in', 'subscription', policy, value)]
    node = ExampleNode(context=ros_context, parameter_overrides=given)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    problem = node.problem('lifecycle')
    assert f'qos_overrides./in.subscription.{policy} = {value!r} is refused: ' in problem
    assert words in problem
    node.destroy_node()


def test_a_service_answers_when_refused_and_when_not_active(node, speaker, spin_until):
    node.trigger_configure()
    client = speaker.create_client(Trigger, 'example/ask')

    def ask():
        future = client.call_async(Trigger.Request())
        spin_until(future.done, node, speaker)
        return future.result().success, future.result().message

    spin_until(client.service_is_ready, node, speaker)
    assert ask() == (False, '~/ask refused: example is not active')
    node.trigger_activate()
    assert ask() == (True, 'all is well')
    node.fails_in = 'ask'
    assert ask() == (False, '~/ask refused: ask does not work')


def test_diagnostics_tell_state_and_problems(node, speaker, spin_until):
    heard = []
    speaker.create_subscription(DiagnosticArray, '/diagnostics', heard.append, 10)
    spin_until(lambda: heard, node, speaker)
    assert heard[-1].status[0].name == '/example'
    assert heard[-1].status[0].message == 'not active'
    node.report('x', DiagnosticStatus.WARN, 'low on oil')
    node.report('y', DiagnosticStatus.ERROR, 'on fire')
    spin_until(lambda: 'fire' in heard[-1].status[0].message, node, speaker)
    assert heard[-1].status[0].level == DiagnosticStatus.ERROR
    assert heard[-1].status[0].message == 'on fire; low on oil'


def test_a_problem_of_a_concern_stands_in_its_status_alone(node, speaker, spin_until):
    heard = []
    speaker.create_subscription(DiagnosticArray, '/diagnostics', heard.append, 10)
    node.report('part 7', DiagnosticStatus.ERROR, 'broken')
    spin_until(lambda: heard, node, speaker)
    found = [(status.name, status.level, status.message) for status in heard[-1].status]
    assert found == [
        ('/example', DiagnosticStatus.OK, 'not active'),
        ('/example: belt', DiagnosticStatus.OK, 'no problem'),
        ('/example: parts', DiagnosticStatus.ERROR, 'broken'),
    ]
    assert {status.hardware_id for status in heard[-1].status} == {'anomaly_inspection'}


# State that outlives the process


def test_a_node_finds_what_the_one_before_it_has_left(ros_context, monkeypatch, tmp_path):
    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    given = {'context': ros_context, 'parameter_overrides': overrides(autostart=False)}
    first = ExampleNode(**given, namespace='/cell_1')
    assert first.state.found.content is None
    first.keep_state({'a': 1})
    first.destroy_node()
    domain = f'domain_{ros_context.get_domain_id()}'
    assert list(tmp_path.rglob('*.json')) == [
        tmp_path / 'anomaly_inspection' / 'state' / domain / 'cell_1' / 'example.json'
    ]
    second = ExampleNode(**given, namespace='/cell_1')
    assert second.state.found.content == {'a': 1}
    assert second.state.found.is_respawn
    second.destroy_node()
    other = ExampleNode(**given, namespace='/cell_2')
    assert other.state.found.content is None
    other.destroy_node()


def test_a_state_that_cannot_be_written_is_an_error_in_the_diagnostics(
    ros_context, tmp_path, spin_until
):
    (tmp_path / 'file').write_text('')
    given = overrides(autostart=False, state_folder=str(tmp_path / 'file'))
    node = ExampleNode(context=ros_context, parameter_overrides=given)
    node.keep_state({})
    spin_until(lambda: node.problem('state'), node)
    assert 'cannot write the state to' in node.problem('state')
    node.destroy_node()
