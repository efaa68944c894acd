# SPDX-License-Identifier: Apache-2.0
"""
The OPC UA server over DDS, with a real client: what it shows, who may do what.

"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
import json

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')
pytest.importorskip('asyncua', reason='asyncua is not installed')

from asyncua import Client, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.ua.uaerrors import BadIdentityTokenRejected, BadUserAccessDenied
from cryptography.x509.oid import ExtendedKeyUsageOID

from anomaly_inspection.nodes.opcua_server_node import OpcuaServerNode
from anomaly_inspection.plant.opcua_server import NAMESPACE
from anomaly_inspection.plant.opcua_users import OpcuaRole, user_line
from support.cell_bench import NodeBench
from support.mosquitto import free_port
from support.mqtt_schema import problem_of
from support.plant_cell import PlantCell

pytestmark = [
    pytest.mark.ros,
    # asyncua leaves its transports to the garbage collector.
    pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning'),
    pytest.mark.filterwarnings('ignore::DeprecationWarning'),
]

PASSWORD = 'correct horse'
URI = 'urn:test:client'
RESULT = 'VisionSystem.ResultManagement.LastResult.'
RECIPE = 'VisionSystem.RecipeManagement.ActiveRecipe.ExternalId'


def finished(work):
    """
    Give what a coroutine returns. It has a thread of its own: the browser of other tests keeps an
    event loop running in this one.

    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class OpcuaBench(NodeBench):
    """
    A server, and clients of it.

    """

    def __init__(self, context, folder, **parameters):
        self.folder = folder
        users = folder / 'users'
        users.write_text(
            f'{user_line("hmi", OpcuaRole.OPERATOR, PASSWORD)}\n'
            f'{user_line("eye", OpcuaRole.OBSERVER, PASSWORD)}\n'
        )
        users.chmod(0o600)
        self.port = free_port()
        given = {'port': self.port, 'users_file': str(users), **parameters}
        super().__init__(OpcuaServerNode, PlantCell(context, given.get('views', ())), **given)

    @asynccontextmanager
    async def client(self, user='hmi', password=PASSWORD):
        await setup_self_signed_certificate(
            *(self.folder / 'client_key.pem', self.folder / 'client.der', URI, 'localhost'),
            *([ExtendedKeyUsageOID.CLIENT_AUTH], {'commonName': 'client'}),
        )
        client = Client(f'opc.tcp://127.0.0.1:{self.port}/anomaly_inspection')
        client.application_uri = URI
        if user:
            client.set_user(user)
            client.set_password(password)
        await client.set_security(
            SecurityPolicyBasic256Sha256,
            str(self.folder / 'client.der'),
            str(self.folder / 'client_key.pem'),
            mode=ua.MessageSecurityMode.SignAndEncrypt,
        )
        async with client:
            yield client

    def ask(self, work, **who):
        """
        Do something with a client that knows the namespace; give what it gives.

        """

        async def asked():
            async with self.client(**who) as client:
                return await work(client, await client.get_namespace_index(NAMESPACE))

        return finished(asked())

    def values(self, *names):
        async def read(client, index):
            return [await client.get_node(ua.NodeId(name, index)).read_value() for name in names]

        return self.ask(read, user='eye')

    def call(self, parent, method, *arguments, user='hmi'):
        async def called(client, index):
            node = client.get_node(ua.NodeId(parent, index))
            return await node.call_method(f'{index}:{method}', *arguments)

        return self.ask(called, user=user)


@pytest.fixture(scope='module')
def bench(shared_ros_context, tmp_path_factory):
    """
    One server for all tests: it takes seconds to start.

    """
    folder = tmp_path_factory.mktemp('opcua')
    given = {'state_folder': str(folder / 'state')}
    bench = OpcuaBench(shared_ros_context, folder, **given)
    bench.wait(lambda: bench.node.is_active, timeout_s=110.0)
    bench.wait(lambda: bench.peer.decision_out.get_subscription_count() == 1)
    bench.peer.say(folder)
    bench.wait(lambda: bench.values(RECIPE) == ['pump'])
    yield bench
    bench.close()


def test_the_cell_is_shown_with_its_last_result_and_counts(bench):
    (before,) = bench.values('VisionSystem.Counts.Total')
    bench.peer.decide(before + 1)
    bench.peer.decide(before + 2)
    bench.peer.decide(before + 2)
    bench.peer.say(bench.folder)
    bench.wait(
        lambda: (
            bench.values('VisionSystem.Counts.Total', 'VisionSystem.CellState')
            == [before + 2, 'running']
        )
    )
    assert bench.values(
        'VisionSystem.VisionStateMachine.CurrentState',
        'VisionSystem.VisionStateMachine.AutomaticModeStateMachine.CurrentState',
        'VisionSystem.RecipeManagement.ActiveRecipe.Version',
        'VisionSystem.Counts.Rejected',
        f'{RESULT}Verdict',
        f'{RESULT}Reason',
        f'{RESULT}PartId',
    ) == [
        *('Operational', 'ContinuousExecution', 3, before + 2),
        *('REJECT', 'LIMIT_EXCEEDED', before + 2),
    ]
    (content,) = bench.values(f'{RESULT}ResultContent')
    decision = {'stream': '0' * 12, 'sequence': 2, **json.loads(content)}
    assert problem_of('decision', decision) == ''
    bench.peer.say(bench.folder, stop_reason='the gate failed')
    bench.wait(lambda: bench.values('VisionSystem.LineStop.Reason') == ['the gate failed'])
    assert bench.values('VisionSystem.VisionStateMachine.CurrentState') == ['Error']
    bench.peer.say(bench.folder)


def test_an_operator_loads_a_recipe_and_resets_the_line(bench):
    (bench.folder / 'valve').mkdir()
    (bench.folder / 'valve' / 'recipe.yaml').write_text('')
    loaded, resets = len(bench.peer.loaded), bench.peer.resets
    assert bench.call('VisionSystem.RecipeManagement', 'LoadRecipe', 'valve') == [True, 'in force']
    assert bench.peer.loaded[loaded:] == [str(bench.folder / 'valve')]
    answer = bench.call('VisionSystem.VisionStateMachine', 'Reset')
    assert answer == [True, 'the line may run']
    assert bench.peer.resets == resets + 1


def test_a_hostile_call_changes_nothing(bench):
    loaded = list(bench.peer.loaded)

    async def attack(client, index):
        node = client.get_node(ua.NodeId('VisionSystem.RecipeManagement', index))
        for arguments in (('../valve',), ('',), (5,), (), ('pump', 'x'), ('x' * 9999,), ('a\0',)):
            try:
                success, _ = await node.call_method(f'{index}:LoadRecipe', *arguments)
            except ua.UaError:
                success = False
            assert success is False, arguments

    bench.ask(attack)
    assert bench.peer.loaded == loaded
    assert bench.values(RECIPE) == ['pump']


def test_an_observer_may_not_command_and_nobody_may_write(bench):
    resets, state = bench.peer.resets, bench.values('VisionSystem.LineStop.Reason')
    with pytest.raises(BadUserAccessDenied):
        bench.call('VisionSystem.VisionStateMachine', 'Reset', user='eye')
    assert bench.peer.resets == resets

    async def write(client, index):
        await client.get_node(ua.NodeId('VisionSystem.LineStop.Reason', index)).write_value('x')

    async def add(client, index):
        await client.nodes.objects.add_object(index, 'mine')

    async def stop(client, index):
        await client.get_node(ua.NodeId('VisionSystem', index)).delete()

    for work in (write, add, stop):
        for user in ('eye', 'hmi'):
            with pytest.raises(ua.UaError):
                bench.ask(work, user=user)
    assert bench.values('VisionSystem.LineStop.Reason') == state


def test_without_password_or_encryption_nobody_comes_in(bench):
    async def nothing(client, index):
        pytest.fail('it came in')

    for who in ({'password': 'wrong'}, {'user': 'nobody'}):
        with pytest.raises(BadUserAccessDenied):
            bench.ask(nothing, **who)
    with pytest.raises(BadIdentityTokenRejected):
        bench.ask(nothing, user=None)

    async def unencrypted():
        client = Client(f'opc.tcp://127.0.0.1:{bench.port}/anomaly_inspection')
        client.set_user('hmi')
        client.set_password(PASSWORD)
        async with client:
            pytest.fail('it came in')

    with pytest.raises(ua.UaError):
        finished(unencrypted())
    assert "log-in of 'nobody' is refused" in bench.node.problem('client')
    assert PASSWORD not in bench.node.problem('client')


def test_counts_outlive_the_server(ros_context, tmp_path):
    for expected in (1, 2):
        bench = OpcuaBench(ros_context, tmp_path)
        bench.wait(lambda bench=bench: bench.node.is_active, timeout_s=110.0)
        bench.peer.session = f'session {expected}'
        bench.wait(lambda bench=bench: bench.peer.decision_out.get_subscription_count() == 1)
        bench.peer.decide(1)
        bench.wait(
            lambda bench=bench, expected=expected: (
                bench.values('VisionSystem.Counts.Total') == [expected]
            )
        )
        bench.close()


def test_of_several_views_the_joiner_decides_and_no_recipe_is_loaded(ros_context, tmp_path):
    bench = OpcuaBench(ros_context, tmp_path, views=['top', 'left'])
    bench.wait(lambda: bench.node.is_active, timeout_s=110.0)
    bench.wait(lambda: bench.peer.decision_out.get_subscription_count() == 1)
    bench.peer.say(tmp_path)
    bench.wait(lambda: bench.values('VisionSystem.CellState') == ['idle'])
    success, told = bench.call('VisionSystem.RecipeManagement', 'LoadRecipe', 'valve')
    assert not success
    assert told.startswith('a cell with several views takes its recipe when it is launched')
    assert bench.peer.loaded == []
    bench.close()


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'users_file': ''}, 'nobody could log in'),
        ({'users_file': '/nowhere'}, 'No such file'),
        ({'certificate': 'x'}, 'give both, or neither'),
        ({'certificate': '/nowhere', 'key': '/nowhere'}, 'cannot serve opc.tcp://'),
        ({'host': '192.0.2.1'}, 'cannot serve opc.tcp://192.0.2.1'),
    ],
)
def test_what_it_cannot_serve_with_is_said(ros_context, tmp_path, parameters, words):
    bench = OpcuaBench(ros_context, tmp_path, **parameters)
    bench.wait(lambda: bench.node.problem('lifecycle'), timeout_s=110.0)
    assert words in bench.node.problem('lifecycle')
    bench.close()
