# SPDX-License-Identifier: Apache-2.0
"""
The MQTT bridge over DDS, with a real broker: decisions, states, commands.

"""

import base64
import json
import math
import os
import ssl
import subprocess

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import numpy as np
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from sensor_msgs.msg import CompressedImage

from anomaly_inspection.msg import Challenge, Decision, Explanation, Part, PartIdentity, Region
from anomaly_inspection.nodes.mqtt_bridge_node import MqttBridgeNode
from anomaly_inspection.nodes.qos import EVENT, WATCH_IMAGE
from support.cell_bench import NodeBench
from support.mosquitto import Listener, Mosquitto
from support.mqtt_schema import check
from support.plant_cell import PlantCell
from support.sparkplug_reader import read
from support.tls import write_certificate

pytestmark = pytest.mark.ros

ALL_COMMANDS = ['load_recipe', 'reset_line', 'start_challenge']
COMMAND = 'site/area/line/inspection/command/'


@pytest.fixture
def make_bench(ros_context, broker):
    benches = []

    def make(**parameters):
        given = {'port': broker.port, 'longest_retry_s': 0.2, **parameters}
        benches.append(NodeBench(MqttBridgeNode, PlantCell(ros_context), **given))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


def connected(bench, listener):
    bench.wait_until_active()
    bench.wait(lambda: bench.peer.decision_out.get_subscription_count() == 1)
    bench.wait(lambda: listener.of('state') and listener.of('state')[-1]['state'] == 'online')
    return bench


def test_a_decision_arrives_with_its_measures_quality_and_keys(make_bench, listener):
    bench = connected(make_bench(site='Berlin', cell='cell 7'), listener)
    bench.peer.decide(1)
    bench.peer.decide(2, known_as=Decision.KNOWN_AS_BAD)
    bench.wait(lambda: listener.sequences == [1, 2])
    topics = {topic for topic, _, _ in listener.messages if topic.endswith('decision')}
    assert topics == {'Berlin/area/line/cell 7/decision'}
    first, second = listener.of('decision')
    check('decision', first)
    assert first['part'] == {'session': bench.peer.session, 'id': 1}
    assert (first['verdict'], first['reason']) == ('REJECT', 'LIMIT_EXCEEDED')
    assert (first['quality'], first['known_as']) == ('good', None)
    assert first['measures'] == [
        {
            'name': 'ssim.mse',
            'value': 71.2,
            'limit': 60.0,
            'unit': 'gray_level^2',
            'bad_side': 'high',
            'anomaly_score': 1.2,
        }
    ]
    assert first['recipe'] == {'name': 'pump', 'version': 3, 'hash': 'f' * 64}
    assert second['known_as'] == 'bad'


def test_a_reject_says_why_and_a_passed_part_nothing(make_bench, listener):
    bench = connected(make_bench(), listener)
    region = Region(x_min=1, y_min=2, x_max=9, y_max=5, area_px=20, peak=6.0)
    region.reference_x_px, region.reference_y_px = 12.5, math.nan
    explanation = Explanation(
        text='The difference at the top of the part is 3 times the limit.',
        scorer='ssim',
        region=region,
        times_region_limit=3.0,
        other_regions=2,
        place=Explanation.PLACE_TOP,
        good_parts=40,
        good_parts_as_bad=1,
        good_parts_worst=61.0,
    )
    bench.peer.decide(1, explanation=explanation)
    # A part that could not be measured has words alone.
    bench.peer.decide(2, explanation=Explanation(text='No part was found.'))
    bench.peer.decide(3)
    bench.wait(lambda: listener.sequences == [1, 2, 3])
    for payload in listener.of('decision'):
        check('decision', payload)
    first, second, third = (payload['explanation'] for payload in listener.of('decision'))
    assert first == {
        'text': explanation.text,
        'region': {
            'scorer': 'ssim',
            'x_min': 1,
            'y_min': 2,
            'x_max': 9,
            'y_max': 5,
            'area_px': 20,
            'times_region_limit': 3.0,
            'place': 'top',
            'reference_x_px': 12.5,
            'reference_y_px': None,
        },
        'other_regions': 2,
        'good_parts': {'count': 40, 'as_bad': 1, 'worst': 61.0},
    }
    assert second == {
        'text': 'No part was found.',
        'region': None,
        'other_regions': 0,
        'good_parts': None,
    }
    assert third is None


def test_order_lot_and_serial_number_come_with_the_part_they_were_told_for(make_bench, listener):
    bench = connected(make_bench(), listener)
    parts = bench.peer.create_publisher(Part, 'part', EVENT)
    told = bench.peer.create_publisher(PartIdentity, 'part_identity', EVENT)
    bench.wait(lambda: parts.get_subscription_count() == told.get_subscription_count() == 1)

    def is_told():
        return bench.node._identities.current.lot

    def announce(part_id):
        parts.publish(Part(session_id=bench.peer.session, part_id=part_id))
        bench.wait(lambda: (bench.peer.session, part_id) in bench.node._identities._parts)

    told.publish(PartIdentity(source='plc', order='4711', lot='A', serial='S1'))
    bench.wait(lambda: is_told() == 'A')
    announce(1)
    told.publish(PartIdentity(source='plc', order='4711', lot='B'))
    bench.wait(lambda: is_told() == 'B')
    announce(2)
    alone = {'session_id': bench.peer.session, 'part_id': 3, 'only_this_part': True}
    told.publish(PartIdentity(source='inspect', order='4712', serial='S3', **alone))
    bench.wait(lambda: bench.node._identities._told)
    announce(3)
    announce(4)
    told.publish(PartIdentity(source='plc', lot='\x07'))
    bench.wait(lambda: bench.node.problem('identity'))
    for part_id in (1, 2, 3, 4):
        bench.peer.decide(part_id)
    bench.wait(lambda: listener.sequences == [1, 2, 3, 4])
    identities = [(d['order'], d['lot'], d['serial_number']) for d in listener.of('decision')]
    of_others = ('4711', 'B', None)
    assert identities == [('4711', 'A', 'S1'), of_others, ('4712', 'B', 'S3'), of_others]


def test_states_follow_the_cell(make_bench, listener, tmp_path):
    bench = connected(make_bench(), listener)
    bench.wait(lambda: listener.of('cell') and listener.of('cell')[-1]['state'] == 'unknown')
    bench.peer.say(tmp_path)
    bench.wait(lambda: listener.of('cell')[-1]['state'] == 'idle')
    bench.peer.decide(1)
    bench.wait(lambda: listener.of('cell')[-1]['state'] == 'running')
    bench.peer.say(
        tmp_path, stop_reason='the gate failed', status='no recipe', level=DiagnosticStatus.ERROR
    )
    bench.wait(lambda: listener.of('cell')[-1]['state'] == 'stopped')
    assert listener.of('cell')[-1]['reason'] == 'the gate failed'
    bench.wait(lambda: listener.of('health')[-1]['level'] == 'error')
    problems = [(p['node'], p['message']) for p in listener.of('health')[-1]['problems']]
    assert problems == [('decider', 'no recipe')]
    bench.wait(lambda: listener.of('counts')[-1]['rejected'] == 1)
    assert listener.of('line_stop')[-1]['active']
    assert listener.of('line_stop')[-1]['cause'] == 'gate'
    assert str(tmp_path) not in json.dumps(listener.of('recipe'))
    for name in ('cell', 'recipe', 'line_stop', 'health', 'counts', 'state'):
        for payload in listener.of(name):
            check(name, payload)


def test_a_challenge_that_blocks_one_view_blocks_the_cell(ros_context, broker, listener, tmp_path):
    views = ['top', 'left']
    bench = NodeBench(MqttBridgeNode, PlantCell(ros_context, views), port=broker.port, views=views)
    connected(bench, listener)
    bench.peer.say(tmp_path)
    bench.wait(lambda: listener.of('cell')[-1]['state'] == 'idle')
    blocked = Challenge(
        state=Challenge.STATE_DUE, production_is_blocked=True, detail='a challenge is due'
    )
    bench.peer.say(tmp_path, challenge=blocked)
    bench.wait(lambda: listener.of('cell')[-1]['state'] == 'blocked')
    assert listener.of('cell')[-1]['reason'] == 'top: a challenge is due'
    bench.peer.say(tmp_path)
    bench.wait(lambda: listener.of('cell')[-1]['state'] == 'idle')
    bench.close()


def test_a_bridge_that_starts_late_catches_up(make_bench, ros_context, listener):
    bench = connected(make_bench(), listener)
    for part_id in (1, 2, 3):
        bench.peer.decide(part_id)
    bench.wait(lambda: listener.sequences == [1, 2, 3])
    assert bench.node.trigger_deactivate().name == 'SUCCESS'
    for part_id in (4, 5, 6):
        bench.peer.decide(part_id)
    assert bench.node.trigger_activate().name == 'SUCCESS'
    bench.wait(lambda: len(listener.sequences) == 6)
    assert listener.sequences == [1, 2, 3, 4, 5, 6]
    assert [payload['part']['id'] for payload in listener.of('decision')] == [1, 2, 3, 4, 5, 6]


def test_the_old_dashboard_gets_its_topics_and_pictures(make_bench, listener):
    bench = connected(
        make_bench(old_dashboard='AiVision_Defects', old_dashboard_pictures=True), listener
    )
    pictures = bench.peer.create_publisher(CompressedImage, 'overlay/part/compressed', WATCH_IMAGE)
    bench.wait(lambda: pictures.get_subscription_count() == 1)
    bench.peer.decide(1)
    jpeg = cv2.imencode('.jpg', np.full((480, 640, 3), 90, np.uint8))[1].tobytes()

    def of(name):
        return [m[1] for m in listener.messages if m[0] == f'AiVision_Defects/{name}']

    bench.wait(lambda: of('parts_minute'))
    assert (of('result'), of('total'), of('defect_parts')) == ([b'NOK'], [b'1'], [b'1'])
    pictures.publish(CompressedImage(format='jpeg', data=jpeg))
    bench.wait(lambda: of('defect_image'))
    png = np.frombuffer(base64.b64decode(of('defect_image')[0]), np.uint8)
    assert cv2.imdecode(png, cv2.IMREAD_COLOR).shape == (256, 256, 3)
    # A picture that is none is left out, and the bridge goes on.
    pictures.publish(CompressedImage(format='jpeg', data=b'no picture'))
    bench.peer.decide(2)
    bench.wait(lambda: of('total') == [b'1', b'2'])
    assert len(of('defect_image')) == 1


def test_without_permission_no_command_is_heard(make_bench, listener):
    bench = connected(make_bench(), listener)
    listener.publish(f'{COMMAND}reset_line', '{"id":"1"}')
    bench.peer.decide(1)
    bench.wait(lambda: listener.sequences)
    assert listener.of('answer/reset_line') == []
    assert bench.peer.resets == 0


def test_each_allowed_command_is_carried_out_and_answered(make_bench, listener, tmp_path):
    for name in ('pump', 'valve'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'recipe.yaml').write_text('')
    bench = connected(make_bench(commands=ALL_COMMANDS), listener)
    listener.publish(f'{COMMAND}load_recipe', '{"id":"0","recipe":"valve"}')
    bench.wait(lambda: listener.of('answer/load_recipe'))
    assert 'set recipe_folder' in listener.of('answer/load_recipe')[0]['message']
    bench.peer.say(tmp_path)
    bench.wait(lambda: listener.of('recipe'))
    listener.publish(f'{COMMAND}reset_line', '{"id":"1"}')
    listener.publish(f'{COMMAND}reset_line', '{"id":"1"}')
    listener.publish(f'{COMMAND}load_recipe', '{"id":"2","recipe":"valve"}')
    listener.publish(f'{COMMAND}load_recipe', '{"id":"3","recipe":"nothing"}')
    listener.publish(f'{COMMAND}start_challenge', '{"id":"4"}')
    bench.wait(lambda: listener.of('answer/start_challenge'))
    bench.wait(lambda: len(listener.of('answer/load_recipe')) == 3)
    answers = {
        answer['id']: (answer['success'], answer['message'])
        for command in ALL_COMMANDS
        for answer in listener.of(f'answer/{command}')
    }
    assert answers['1'] == (True, 'the line may run')
    assert answers['2'] == (True, 'in force')
    assert answers['3'][0] is False
    assert "no recipe 'nothing'" in answers['3'][1]
    assert answers['4'] == (False, 'no challenge parts are configured')
    # A request that is delivered twice acts once.
    assert bench.peer.resets == 1
    assert bench.peer.loaded == [str(tmp_path / 'valve')]
    for command in ALL_COMMANDS:
        for answer in listener.of(f'answer/{command}'):
            check('answer', answer)


def test_a_retained_command_is_refused(make_bench, listener):
    listener.publish(f'{COMMAND}reset_line', '{"id":"1"}', retain=True)
    bench = connected(make_bench(commands=['reset_line']), listener)
    bench.wait(lambda: listener.of('answer/reset_line'))
    (answer,) = listener.of('answer/reset_line')
    assert answer['success'] is False
    assert 'it is retained' in answer['message']
    assert bench.peer.resets == 0


def test_hostile_payloads_never_act_and_never_end_the_node(make_bench, listener):
    bench = connected(make_bench(commands=ALL_COMMANDS), listener)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(ALL_COMMANDS),
        st.binary(max_size=100)
        | st.sampled_from(
            [b'[' * 50_000, b'{"id":"a","id":"b"}', b'{"id":1e999}', b'\0' * 100_000]
        )
        | st.text(max_size=20).map(lambda text: json.dumps({'id': text, 'x': 1}).encode()),
    )
    def attack(command, payload):
        listener.publish(COMMAND + command, payload)

    attack()
    # More than that in a second are not answered.
    bench.node._commands._second = 0
    bench.peer.decide(1)
    bench.wait(lambda: listener.sequences == [1])

    def is_answered():
        listener.publish(f'{COMMAND}reset_line', '{"id":"good"}')
        return any(answer['id'] == 'good' for answer in listener.of('answer/reset_line'))

    bench.wait(is_answered)
    assert bench.peer.resets == 1
    assert (bench.peer.loaded, bench.peer.challenges) == ([], 0)
    for command in ALL_COMMANDS:
        for answer in listener.of(f'answer/{command}'):
            check('answer', answer)


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'site': 'a/b'}, "site = 'a/b' is refused"),
        ({'commands': ['stop']}, "'stop' is refused"),
        ({'old_dashboard': 'a/b'}, "old_dashboard = 'a/b' is refused"),
        ({'old_dashboard': 'a', 'old_dashboard_shifts': ['6']}, "shift '6' is refused"),
        ({'sparkplug_group': 'a/b'}, "sparkplug_group = 'a/b' is refused"),
        ({'host': 'a b'}, "host = 'a b' is refused"),
        ({'ca_file': '/nowhere'}, 'refused without tls'),
        ({'tls': True, 'ca_file': '/nowhere'}, 'No such file'),
        ({'certificate': 'x'}, 'give both'),
        ({'credentials_file': '/nowhere'}, 'No such file'),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_words(make_bench, parameters, words):
    bench = make_bench(**parameters)
    bench.wait(lambda: bench.node.problem('lifecycle'))
    assert words in bench.node.problem('lifecycle')


# paho leaves the socket of a handshake that fails to the garbage collector.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_log_in_and_tls(ros_context, make_bench, tmp_path, broker):
    certificate, key = write_certificate(tmp_path)
    passwords = tmp_path / 'passwords'
    subprocess.run(
        ['mosquitto_passwd', '-b', '-c', str(passwords), 'bridge', 'S3cret word'],
        check=True,
        capture_output=True,
    )
    secured = Mosquitto(
        tmp_path,
        f'allow_anonymous false\npassword_file {passwords}\ncertfile {certificate}\nkeyfile {key}',
    ).start()
    credentials = tmp_path / 'credentials'
    credentials.write_text('bridge\nS3cret word\n')
    os.chmod(credentials, 0o600)

    def setup(client):
        client.tls_set_context(ssl.create_default_context(cafile=str(certificate)))
        client.username_pw_set('bridge', 'S3cret word')

    listener = Listener(secured.port, setup=setup).wait_until_listening()
    given = {'port': secured.port, 'tls': True, 'ca_file': str(certificate)}
    try:
        bench = make_bench(**given, credentials_file=str(credentials))
        connected(bench, listener)
        bench.peer.decide(1)
        bench.wait(lambda: listener.sequences == [1])
        credentials.write_text('bridge\nwrong\n')
        broken = make_bench(**given, credentials_file=str(credentials), client_id='b',
                            store_folder=str(tmp_path / 'b'))  # fmt: skip
        broken.wait(lambda: broken.node.problem('broker'))
        assert 'refuses the connection: user name or password is wrong' in broken.node.problem(
            'broker'
        )
        # Corrected in the file, it connects without a restart.
        credentials.write_text('bridge\nS3cret word\n')
        broken.wait(lambda: broken.node.problem('broker') is None)
        stranger = make_bench(port=secured.port, tls=True, client_id='c',
                              store_folder=str(tmp_path / 'c'))  # fmt: skip
        stranger.wait(lambda: stranger.node.problem('broker'))
        assert 'self-signed' in stranger.node.problem('broker')
    finally:
        listener.close()
        secured.close()
    secrets = {'S3cret word', 'wrong'}
    values = json.dumps([bench.node.diagnostic_values(), repr(bench.node.parameters)])
    assert not any(secret in values for secret in secrets)


def test_credentials_that_everybody_may_read_are_refused(make_bench, tmp_path):
    credentials = tmp_path / 'credentials'
    credentials.write_text('bridge\nsecret\n')
    os.chmod(credentials, 0o644)
    bench = make_bench(credentials_file=str(credentials))
    bench.wait(lambda: bench.node.problem('lifecycle'))
    assert 'everybody may read it. chmod 600' in bench.node.problem('lifecycle')
    assert 'secret' not in bench.node.problem('lifecycle')


def test_sparkplug_hosts_see_each_part_the_recipe_and_the_state(make_bench, listener, tmp_path):
    pytest.importorskip('google.protobuf', reason='protobuf is not installed')
    bench = connected(make_bench(sparkplug_group='Berlin'), listener)

    def heard(kind):
        topic = f'spBv1.0/Berlin/{kind}/inspection'
        return [
            read(payload)['metrics'] for name, payload, _ in listener.messages if name == topic
        ]

    bench.wait(lambda: heard('NBIRTH'))
    bench.peer.say(tmp_path)
    bench.wait(lambda: any('Recipe/Name' in one for one in heard('NDATA')))
    bench.peer.decide(1)
    bench.peer.decide(2, known_as=Decision.KNOWN_AS_BAD)
    bench.wait(lambda: any(one.get('Last Part/Sequence') == 2 for one in heard('NDATA')))
    bench.wait(lambda: any(one.get('Cell/State') == 'running' for one in heard('NDATA')))
    part = next(one for one in heard('NDATA') if one.get('Last Part/Sequence') == 1)
    assert part['Last Part/Verdict'] == 'REJECT'
    assert (part['Parts/Rejected'], part['Parts/Passed']) == (1, 0)
    assert part['Last Part/Anomaly Score'] == 1.2
    assert part['Last Part/Lot'] is None
    assert heard('NDATA')[-1].keys() <= heard('NBIRTH')[0].keys()
    bench.node.trigger_deactivate()
    bench.wait(lambda: heard('NDEATH') == [{'bdSeq': 0}])
    bench.node.trigger_activate()
    bench.wait(lambda: len(heard('NBIRTH')) == 2)
    assert heard('NBIRTH')[1]['Recipe/Name'] == 'pump'
