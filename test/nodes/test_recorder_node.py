# SPDX-License-Identifier: Apache-2.0
"""
The recorder over DDS: what a cell says is in the database, once, with its pictures.

"""

import base64
import hashlib
import json
import time

import cv2
import numpy as np
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')
pytest.importorskip('sqlalchemy', reason='SQLAlchemy is not installed: pip install .[records]')

from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
import sqlalchemy as sa

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.deciding.frame_judge import Reason
from anomaly_inspection.msg import (
    Calibration,
    ChallengeEvent,
    Decision,
    DriftCause,
    DriftState,
    Explanation,
    JudgedMeasure,
    LimitInForce,
    LimitsInForce,
    LineStop,
    Measure,
    Part,
    PartIdentity,
    RecipeInForce,
    Region,
    Score,
    SortEvent,
)
from anomaly_inspection.nodes.image_conversion import image_from_array
from anomaly_inspection.nodes.panel_commands import PanelCommands
from anomaly_inspection.nodes.qos import EVENT, IMAGE, KEPT_EVENT, LATCHED
from anomaly_inspection.nodes.recorder_node import RecorderNode
from anomaly_inspection.nodes.spinning import NodeThread
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.overlay.good_patch import crop_box
from anomaly_inspection.panel.cell.commands import PartNames
from anomaly_inspection.panel.cell.state import CellPicture
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.records import schema
from anomaly_inspection.records.database import open_database
from anomaly_inspection.records.picture_store import picture_path
from support.cell_bench import NodeBench, Peer
from support.small_recipe import SMALL_LINE

pytestmark = pytest.mark.ros

WIDTH, HEIGHT = 64, 48
TOPICS = (
    *((Part, 'part', EVENT), (Image, 'part/image', IMAGE), (Image, 'anomaly_map', IMAGE)),
    *(
        (Score, 'score', EVENT),
        (Decision, 'decision', KEPT_EVENT),
        (SortEvent, 'sort_event', EVENT),
    ),
    *((LimitsInForce, 'limits_in_force', LATCHED), (RecipeInForce, 'recipe_in_force', LATCHED)),
    *((DriftState, 'drift', LATCHED), (Calibration, 'calibration', LATCHED)),
    *((LineStop, 'line_stop', LATCHED), (PartIdentity, 'part_identity', EVENT)),
    (ChallengeEvent, 'challenge_event', EVENT),
)


class Cell(Peer):
    """
    Plays the cell around the recorder.

    """

    def __init__(self, context):
        super().__init__(context)
        self.outputs = {
            topic: self.create_publisher(message_type, topic, qos)
            for message_type, topic, qos in TOPICS
        }

    def is_heard(self):
        return all(
            output.get_subscription_count() == 1
            for topic, output in self.outputs.items()
            if topic != 'anomaly_map'
        )

    def say(self, topic, message, stamp_ns=None):
        if stamp_ns is not None:
            message.header.stamp = stamp_from_nanoseconds(stamp_ns)
        self.outputs[topic].publish(message)

    def say_limits(self, value, stamp_ns):
        limit = LimitInForce(scorer='ssim', measure='mean_ssim', value=value)
        message = LimitsInForce(recipe_name='pump', recipe_version=3, limits=[limit])
        self.say('limits_in_force', message, stamp_ns)

    def whole_part(
        self,
        number,
        *,
        has_passed=True,
        anomaly_score=0.3,
        known_as=0,
        pixels=None,
        recipe_hash='',
        explanation=None,
    ):
        key = {'session_id': 'test', 'part_id': number}
        stamp = stamp_from_nanoseconds(number)
        if pixels is None:
            pixels = np.full((HEIGHT, WIDTH, 3), number % 200, np.uint8)
        self.say(
            'part',
            Part(
                **key,
                frame_stamps=[stamp],
                frame_names=[f'frame {number}'],
                frame_problems=[''],
                is_complete=True,
            ),
        )
        self.outputs['part/image'].publish(image_from_array(pixels, stamp, 'camera'))
        values = np.full((HEIGHT, WIDTH), 2.0, np.float32)
        heat = Image(height=HEIGHT, width=WIDTH, encoding='32FC1', step=4 * WIDTH)
        heat.data = values.tobytes()
        self.say('anomaly_map', heat, number)
        measure = Measure(name='mean_ssim', value=0.8, bad_side=Measure.BAD_SIDE_LOW)
        score = Score(**key, scorer='ssim', status=Score.STATUS_OK, region_limit=2.0)
        score.alignment_scale = 1.0
        score.measures = [measure]
        score.regions = [Region(x_min=1, y_min=2, x_max=3, y_max=4, area_px=4, peak=3.0)]
        self.say('score', score, number)
        decision = Decision(
            **key,
            verdict=Decision.VERDICT_PASS if has_passed else Decision.VERDICT_REJECT,
            reason=int(Reason.WITHIN_LIMITS if has_passed else Reason.LIMIT_EXCEEDED),
            anomaly_score=anomaly_score,
            comparison='ssim.mean_ssim 0.8 < 0.9',
            recipe_name='pump',
            recipe_version=3,
            recipe_hash=recipe_hash,
            explanation=explanation or Explanation(),
            known_as=known_as,
            measures=[JudgedMeasure(scorer='ssim', measure='mean_ssim', value=0.8, limit=0.9)],
        )
        self.say('decision', decision, number)
        event = SortEvent(
            **key,
            action=SortEvent.ACTION_PASSED if has_passed else SortEvent.ACTION_REJECTED,
            outcome=SortEvent.OUTCOME_CONFIRMED,
            cause=SortEvent.CAUSE_DECISION,
        )
        self.say('sort_event', event)


def settings(folder, **parameters):
    return {
        'folder': str(folder / 'records'),
        'people_folder': str(folder / 'people'),
        'least_free_mb': 0,
        **parameters,
    }


def opened(ros_context, folder, **parameters):
    bench = NodeBench(RecorderNode, Cell(ros_context), **settings(folder, **parameters))
    bench.wait_until_active()
    bench.wait(bench.peer.is_heard)
    if parameters.get('maps'):
        bench.wait(bench.peer.outputs['anomaly_map'].get_subscription_count)
    return bench


@pytest.fixture
def bench(ros_context, tmp_path):
    bench = opened(ros_context, tmp_path)
    yield bench
    bench.close()


def rows(folder, table):
    engine = open_database(folder / 'records')
    try:
        with engine.connect() as connection:
            query = sa.select(table).order_by(table.c.time_us, table.c.id)
            return [row._mapping for row in connection.execute(query)]
    except sa.exc.OperationalError:
        # No table yet.
        return []
    finally:
        engine.dispose()


def wait_for(bench, folder, table, wanted):
    found = []

    def is_there():
        time.sleep(0.05)
        found[:] = rows(folder, table)
        return wanted(found)

    bench.wait(is_there)
    return found


def test_a_part_is_recorded_with_its_measures_limits_sorting_and_lot(bench, tmp_path):
    cell = bench.peer
    cell.say_limits(0.9, 5)
    bench.wait(lambda: 'limits' in bench.node._last_states)
    identity = PartIdentity(source='plc', order='A 17', lot='L-4', serial='0001')
    cell.say('part_identity', identity, 6)
    bench.wait(lambda: bench.node._identities.current.lot == 'L-4')
    cell.whole_part(1)
    alone = {'session_id': 'test', 'part_id': 2, 'only_this_part': True}
    cell.say('part_identity', PartIdentity(order='B 18', serial='0002', **alone), 7)
    bench.wait(lambda: bench.node._identities._told)
    cell.whole_part(2, has_passed=False, anomaly_score=1.7)
    wait_for(bench, tmp_path, schema.sort_events, lambda found: len(found) == 2)
    first, second = rows(tmp_path, schema.parts)
    assert bench.node._identities.current.order_name == 'A 17'
    assert (second['order_name'], second['serial']) == ('B 18', '0002')
    assert (first['verdict'], first['reason']) == ('PASS', 'WITHIN_LIMITS')
    assert (first['order_name'], first['lot'], first['serial']) == ('A 17', 'L-4', '0001')
    assert json.loads(first['measures']) == {'ssim.mean_ssim': 0.8}
    assert json.loads(first['limits']) == {'ssim.mean_ssim': 0.9}
    assert first['details'] == ''
    assert second['lot'] == 'L-4'
    details = json.loads(second['details'])
    assert details['frames'] == [{'name': 'frame 2', 'problem': ''}]
    assert details['scores'][0]['regions'] == [[1, 2, 3, 4, 4, 1.5]]
    assert details['scores'][0]['status'] == 'OK'
    kinds = {row['kind'] for row in rows(tmp_path, schema.events)}
    assert {'recorder', 'limits', 'identity'} <= kinds
    counted = rows_of_counts(tmp_path)
    assert counted[('PASS', 'L-4')] == counted[('REJECT', 'L-4')] == 1
    assert counted[('SORTED', 'L-4')] == 2


def rows_of_counts(folder):
    engine = open_database(folder / 'records')
    table = schema.minute_counts
    with engine.connect() as connection:
        query = sa.select(table.c.result, table.c.lot, sa.func.sum(table.c.n)).group_by(
            table.c.result, table.c.lot
        )
        found = {(result, lot): n for result, lot, n in connection.execute(query)}
    engine.dispose()
    return found


def test_rejects_near_parts_and_samples_keep_their_frame_and_map(ros_context, tmp_path):
    bench = opened(ros_context, tmp_path, sample_every=5, maps=True)
    cell = bench.peer
    cell.whole_part(1)
    cell.whole_part(2, has_passed=False, anomaly_score=1.7)
    cell.whole_part(3, anomaly_score=0.85)
    cell.whole_part(5)
    found = wait_for(bench, tmp_path, schema.pictures, lambda found: len(found) == 6)
    bench.close()
    assert {(row['part'], row['kind'], row['shows']) for row in found} == {
        (number, kind, shows)
        for number, kind in ((2, 'reject'), (3, 'near'), (5, 'sample'))
        for shows in ('frame', 'map')
    }
    for row in found:
        content = (tmp_path / 'records' / 'pictures' / row['path']).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row['sha256']
        assert len(content) == row['n_bytes']
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        # A map at twice the limit is 128.
        assert np.all(pixels == (row['part'] if row['shows'] == 'frame' else 128))


def test_a_reject_is_kept_beside_the_nearest_good_part_and_with_its_explanation(
    ros_context, tmp_path, taught_recipe
):
    recipe = read_recipe(taught_recipe)
    with open_source(f'{SMALL_LINE},defect_rate=0,parts=1,seed=77') as line:
        frame = line.read().image
    bench = opened(ros_context, tmp_path)
    cell = bench.peer
    in_force = RecipeInForce(name='small', version=1, path=str(taught_recipe), hash=recipe.hash)
    cell.say('recipe_in_force', in_force, 5)
    bench.wait(lambda: 'recipe' in bench.node._last_states)
    bench.node._good.settle()
    region = Region(x_min=150, y_min=110, x_max=170, y_max=130, area_px=400, peak=3.0)
    explanation = Explanation(text='Difference of 20 x 20 px.', scorer='ssim', region=region)
    cell.whole_part(1, pixels=frame, recipe_hash=recipe.hash, has_passed=False)
    cell.whole_part(
        *(2,),
        pixels=frame,
        recipe_hash=recipe.hash,
        has_passed=False,
        explanation=explanation,
    )
    # Judged by another recipe: there is no good part to show beside it.
    cell.whole_part(
        3, pixels=frame, recipe_hash='other', has_passed=False, explanation=explanation
    )
    wait_for(bench, tmp_path, schema.sort_events, lambda found: len(found) == 3)
    found = wait_for(bench, tmp_path, schema.pictures, lambda found: len(found) == 4)
    bench.close()
    assert sorted((row['part'], row['shows']) for row in found) == [
        *((1, 'frame'), (2, 'frame'), (2, 'good'), (3, 'frame'))
    ]
    good = next(row for row in found if row['shows'] == 'good')
    pixels = cv2.imread(str(picture_path(tmp_path / 'records' / 'pictures', good['path'])))
    left, top, right, bottom = crop_box((150, 110, 170, 130), (320, 240))
    assert pixels.shape[:2] == (bottom - top, right - left)
    details = json.loads(rows(tmp_path, schema.parts)[1]['details'])
    assert details['explanation'] == {
        'text': 'Difference of 20 x 20 px.',
        'scorer': 'ssim',
        'region': [150, 110, 170, 130],
    }


def test_what_comes_twice_is_recorded_once_even_by_another_recorder(ros_context, tmp_path):
    bench = opened(ros_context, tmp_path)
    cell = bench.peer
    cell.say('line_stop', LineStop(active=True, reason='jam', cause=LineStop.CAUSE_GATE), 7)
    for _ in range(2):
        cell.whole_part(1)
    cell.whole_part(2)
    wait_for(bench, tmp_path, schema.parts, lambda found: len(found) == 2)
    wait_for(bench, tmp_path, schema.sort_events, lambda found: len(found) == 2)
    # Another recorder on the same folder, while the cell goes on.
    bench.threads[0].stop()
    bench.node.shut_down()
    bench.node.destroy_node()
    bench.node = RecorderNode(
        context=ros_context,
        parameter_overrides=[Parameter(name, value=v) for name, v in settings(tmp_path).items()],
    )
    bench.threads[0] = NodeThread([bench.node], 'recorder', context=ros_context)
    bench.threads[0].start()
    bench.wait_until_active()
    bench.wait(cell.is_heard)
    # Latched: comes again by itself.
    bench.wait(lambda: 'line_stop' in bench.node._last_states)
    cell.whole_part(2)
    cell.whole_part(3)
    wait_for(bench, tmp_path, schema.parts, lambda found: len(found) == 3)
    wait_for(bench, tmp_path, schema.sort_events, lambda found: len(found) == 3)
    bench.close()
    stops = [row for row in rows(tmp_path, schema.events) if row['kind'] == 'line_stop']
    assert [row['what'] for row in stops] == ['jam']
    assert json.loads(stops[0]['data'])['cause'] == 'gate'


def test_a_drift_is_recorded_once_with_its_picture(bench, tmp_path):
    cell = bench.peer
    light = DriftCause(cause=DriftCause.CAUSE_LIGHT, condition='light', change=-6.0, unit='%')
    void = {
        'state': DriftState.STATE_VOID,
        'recipe_name': 'pump',
        'causes': [light],
        'picture': b'\xff\xd8\xff picture',
    }

    def drifts(found):
        return [row for row in found if row['kind'] == 'drift']

    cell.say('drift', DriftState(**void, detail='void since 14:02: light -6 %'), 7)
    wait_for(bench, tmp_path, schema.events, lambda found: len(drifts(found)) == 1)
    # Only its numbers are new. Over DDS the next one might take its place.
    bench.node._take_drift(DriftState(**void, detail='void since 14:02: light -7 %'))
    valid = DriftState(state=DriftState.STATE_VALID, recipe_name='pump', detail='valid')
    cell.say('drift', valid, 9)

    wait_for(bench, tmp_path, schema.events, lambda found: len(drifts(found)) == 2)
    first, second = drifts(rows(tmp_path, schema.events))
    assert first['what'] == 'the false-reject promise of pump is void since 14:02: light -6 %'
    data = json.loads(first['data'])
    assert data['causes'] == [
        {'cause': 'light', 'condition': 'light', 'change': -6.0, 'unit': '%'}
    ]
    assert base64.b64decode(data['picture']) == b'\xff\xd8\xff picture'
    assert second['what'] == 'the false-reject promise of pump is valid'


def test_a_calibration_is_recorded_when_there_is_one(bench, tmp_path):
    cell = bench.peer
    for state, detail in (
        (Calibration.STATE_UNKNOWN, ''),
        (Calibration.STATE_COLLECTING, 'begun'),
        (Calibration.STATE_COLLECTING, '1 of 30'),
        (Calibration.STATE_DONE, 'done'),
    ):
        cell.say('calibration', Calibration(state=state, detail=detail), 7 + state)
        # Latched: of messages in quick succession the newest is enough.
        bench.wait(lambda state=state: bench.node._last_states.get('calibration') == state)
    found = wait_for(
        *(bench, tmp_path, schema.events),
        lambda rows: sum(row['kind'] == 'calibration' for row in rows) == 2,
    )
    said = [row['what'] for row in found if row['kind'] == 'calibration']
    assert ['begun' in said[0], 'done' in said[1]] == [True, True]


def test_calibrations_and_challenges_of_each_view_are_recorded_with_its_name(
    ros_context, tmp_path
):
    views = ['top', 'left']
    given = settings(tmp_path, views=views)
    bench = NodeBench(RecorderNode, Cell(ros_context), **given).wait_until_active()
    outputs = {
        (view, topic): bench.peer.create_publisher(message_type, f'{view}/{topic}', qos)
        for view in views
        for message_type, topic, qos in (
            (Calibration, 'calibration', LATCHED),
            (ChallengeEvent, 'challenge_event', EVENT),
        )
    }
    bench.wait(lambda: all(one.get_subscription_count() == 1 for one in outputs.values()))
    messages = {
        'calibration': Calibration(state=Calibration.STATE_DONE, detail='new limits'),
        'challenge_event': ChallengeEvent(kind=ChallengeEvent.KIND_PASSED, detail='all right'),
    }
    # The deciders of two views may say so at the same instant.
    for (_, topic), output in outputs.items():
        messages[topic].header.stamp = stamp_from_nanoseconds(7_000_000)
        output.publish(messages[topic])
    kinds = ('calibration', 'challenge')
    found = wait_for(
        *(bench, tmp_path, schema.events),
        lambda rows: sum(row['kind'] in kinds for row in rows) == 4,
    )
    assert sorted(row['what'] for row in found if row['kind'] in kinds) == [
        *('left: calibration done: new limits', 'left: challenge passed: all right'),
        *('top: calibration done: new limits', 'top: challenge passed: all right'),
    ]
    bench.close()


@pytest.mark.parametrize('text', ['x' * 101, 'two\nlines', '\x1b[31mred'])
def test_a_hostile_lot_is_refused_whole_and_the_old_one_holds(bench, text):
    cell = bench.peer
    cell.say('part_identity', PartIdentity(order='A', lot='L'), 6)
    bench.wait(lambda: bench.node._identities.current.lot == 'L')
    cell.say('part_identity', PartIdentity(order='B', lot=text), 7)
    bench.wait(lambda: bench.node.problem('identity'))
    assert 'the lot' in bench.node.problem('identity')
    assert bench.node._identities.current.order_name == 'A'


def test_the_page_tells_order_and_lot_and_a_hostile_text_changes_nothing(bench):
    commands = PanelCommands(bench.peer, CellPicture)
    try:
        bench.wait(lambda: commands.tell_lot(PartNames('A 17', 'L-4'), 'anna').success)
        bench.wait(lambda: bench.node._identities.current.lot == 'L-4')
        for names in (
            PartNames('B', 'x' * 101),
            PartNames('B', 'two\nlines'),
            PartNames('B', 'L', '\x1b[31mred'),
            PartNames('B', 'L', '1', ('\ud800', 3)),
        ):
            answer = commands.tell_lot(names, 'anna')
            assert not answer.success
            assert 'allowed' in answer.message or 'do not print' in answer.message
        assert commands.tell_lot(PartNames(), 'anna').message == 'told: no order and no lot'
        bench.wait(lambda: bench.node._identities.current.lot == '')
        assert bench.node._identities.current.order_name == ''
    finally:
        commands.close()


def test_order_and_lot_hold_over_a_restart(ros_context, tmp_path):
    bench = opened(ros_context, tmp_path)
    bench.peer.say('part_identity', PartIdentity(order='A', lot='L'), 6)
    bench.wait(lambda: bench.node._identities.current.lot == 'L')
    bench.close()
    bench = opened(ros_context, tmp_path)
    assert bench.node._identities.current.lot == 'L'
    bench.close()


def test_what_people_changed_is_recorded_from_the_log_of_the_page(bench, tmp_path):
    from anomaly_inspection.panel.people.audit import AuditLog
    from anomaly_inspection.panel.people.roles import Role, Visitor

    audit = AuditLog(tmp_path / 'people' / 'audit.jsonl')
    anna = Visitor('anna', Role.ENGINEER, '127.0.0.1')
    audit.record(anna, 'log in')
    audit.record(
        anna, 'set limits', old={'ssim.mean_ssim': 0.9}, new={'ssim.mean_ssim': 0.8}, why='dust'
    )
    audit.record(anna, 'load recipe', subject='pump', is_refused=True)
    audit.close()
    found = wait_for(
        bench, tmp_path, schema.events, lambda found: sum(r['who'] == 'anna' for r in found) == 3
    )
    assert [(row['kind'], row['what']) for row in found if row['who'] == 'anna'] == [
        ('log_in', 'log in'),
        (
            'limit_change',
            'set limits: {"ssim.mean_ssim": 0.9} -> {"ssim.mean_ssim": 0.8} (dust)',
        ),
        ('refusal', 'load recipe pump'),
    ]


def test_a_newer_database_keeps_the_recorder_down_with_one_sentence(ros_context, tmp_path):
    bench = opened(ros_context, tmp_path)
    wait_for(bench, tmp_path, schema.events, len)
    bench.close()
    engine = open_database(tmp_path / 'records')
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    bench = NodeBench(RecorderNode, Cell(ros_context), folder=str(tmp_path / 'records'))
    bench.wait(lambda: bench.node.problem('lifecycle'))
    assert 'newer version' in bench.node.problem('lifecycle')
    bench.close()
