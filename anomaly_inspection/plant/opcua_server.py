# SPDX-License-Identifier: Apache-2.0
"""
The cell as an OPC UA server, after OPC 40100-1 (Machine Vision) as far as it goes.

The names are those of the companion specification; the types are plain ones of a namespace of our
own. Only encrypted connections and users with a password are taken.

"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, UTC
import json
import math
from pathlib import Path
import socket
import threading
import time
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import CommandError, SettingError
from anomaly_inspection.plant.commands import LOAD_RECIPE, parse_request, Request, RESET_LINE
from anomaly_inspection.plant.opcua_users import OpcuaRole, OpcuaUsers
from anomaly_inspection.plant.payloads import decision_payload, to_json
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from anomaly_inspection.plant.plant_decision import PlantDecision

NAMESPACE = 'urn:anomaly_inspection:vision_system'
# A second on an idle machine; a busy one must not begin it again and again.
_START_TIMEOUT_S = 120.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The states of the vision state machine of OPC 40100-1, and of the automatic mode below it.
_STATES = {
    'running': ('Operational', 'ContinuousExecution'),
    'idle': ('Operational', 'ContinuousExecution'),
    'blocked': ('Operational', 'Ready'),
    'no_recipe': ('Operational', 'Initialized'),
    'stopped': ('Error', ''),
    'unknown': ('Halted', ''),
}


@dataclass(frozen=True)
class OpcuaSettings:
    """
    Where the server listens, and its certificate.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        TCP port.
    certificate, key : Path
        PEM files; both are made where both are missing and `is_own` is True.
    is_own : bool
        Whether a certificate that signs itself may be made.
    cell : str
        Name of the cell.

    """

    host: str
    port: int
    certificate: Path
    key: Path
    is_own: bool
    cell: str

    @property
    def url(self) -> str:
        """
        The address of the endpoint.

        """
        return f'opc.tcp://{self.host}:{self.port}/anomaly_inspection'


@dataclass(frozen=True)
class CellPicture:
    """
    What the server shows of the cell, the last result apart; payloads as in `payloads.py`.

    """

    cell: dict[str, Any] = field(default_factory=lambda: {'state': 'unknown', 'reason': ''})
    recipe: dict[str, Any] = field(default_factory=dict)
    line_stop: dict[str, Any] = field(default_factory=dict)
    health: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)


class OpcuaServer:
    """
    Serves on a thread of its own.

    Parameters
    ----------
    settings : OpcuaSettings
        Where.
    users : OpcuaUsers
        Who.
    carry_out : callable
        Called with a `Request` of an operator on a thread that may wait; gives success and a
        sentence.
    note : callable
        Called with a sentence for the log and whether something was refused.

    """

    def __init__(
        self,
        settings: OpcuaSettings,
        users: OpcuaUsers,
        carry_out: Callable[[Request], tuple[bool, str]],
        note: Callable[[str, bool], None],
    ) -> None:
        self._settings, self._users = settings, users
        self._carry_out, self._note = carry_out, note
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._ready = threading.Event()
        self._problem: Exception | None = None
        self._variables: dict[str, Any] = {}
        self._shown: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._run, name='opcua server', daemon=True)

    def start(self) -> None:
        """
        Serve; blocks until the first client may come.

        Raises
        ------
        SettingError
            When that fails.

        """
        self._thread.start()
        self._ready.wait(_START_TIMEOUT_S)
        if self._problem is not None:
            self._thread.join()
            raise SettingError(
                f'cannot serve {self._settings.url}: '
                f'{getattr(self._problem, "strerror", None) or self._problem}'
            ) from self._problem
        if not self._ready.is_set():
            raise SettingError(f'cannot serve {self._settings.url}: it took too long')

    def stop(self) -> None:
        """
        End; clients are disconnected.

        """
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10.0)

    def show(self, picture: CellPicture) -> None:
        """
        Have the state of the cell shown; returns at once.

        """
        self._give(_values_of(picture))

    def show_result(self, decision: PlantDecision, number: int) -> None:
        """
        Have a decision shown as the last result; returns at once.

        """
        self._give(_result_values(decision, number))

    def _give(self, values: dict[str, Any]) -> None:
        with suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(self._write(values), self._loop)

    async def _write(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if self._shown.get(name) != value:
                self._shown[name] = value
                variable, kind = self._variables[name]
                await variable.write_value(value, kind)

    # The thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:  # noqa: BLE001 - the edge of this thread: told by `start`
            self._problem = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        from asyncua import Server, ua

        server = Server(user_manager=_UserManager(self._users, self._note))
        server.set_endpoint(self._settings.url)
        server.set_server_name('anomaly_inspection')
        uri = f'urn:{socket.gethostname()}:anomaly_inspection:{self._settings.cell}'
        # First what may be refused: the rest takes a second.
        await self._load_certificate(server, uri)
        await server.init()
        await server.set_application_uri(uri)
        server.set_identity_tokens([ua.UserNameIdentityToken])
        server.set_security_policy(
            [
                ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
                ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
            ],
            permission_ruleset=_permissions(),
        )
        index = await server.register_namespace(NAMESPACE)
        await self._make_nodes(server, index)
        async with server:
            self._ready.set()
            await self._end.wait()

    async def _load_certificate(self, server: Any, uri: str) -> None:
        certificate, key = self._settings.certificate, self._settings.key
        if self._settings.is_own:
            await _make_certificate(certificate, key, uri)
        await server.load_certificate(certificate)
        await server.load_private_key(key)

    async def _make_nodes(self, server: Any, index: int) -> None:
        from asyncua import ua

        nodes: dict[str, Any] = {'': server.nodes.objects}
        kinds = {
            str: ua.VariantType.String,
            bool: ua.VariantType.Boolean,
            int: ua.VariantType.UInt64,
            float: ua.VariantType.Double,
            datetime: ua.VariantType.DateTime,
        }
        for name, value in {**_values_of(CellPicture()), **_NO_RESULT}.items():
            parent = await self._folder(nodes, name.rpartition('/')[0], index)
            kind = kinds[type(value)]
            label = name.rpartition('/')[2]
            variable = await parent.add_variable(
                ua.NodeId(name.replace('/', '.'), index), f'{index}:{label}', value, kind
            )
            self._variables[name] = variable, kind
            self._shown[name] = value
        message = [ua.VariantType.Boolean, ua.VariantType.String]
        for name, command, inputs in (
            ('VisionSystem/RecipeManagement/LoadRecipe', LOAD_RECIPE, [ua.VariantType.String]),
            ('VisionSystem/VisionStateMachine/Reset', RESET_LINE, []),
        ):
            parent = await self._folder(nodes, name.rpartition('/')[0], index)
            await parent.add_method(
                ua.NodeId(name.replace('/', '.'), index),
                f'{index}:{name.rpartition("/")[2]}',
                self._method(command),
                inputs,
                message,
            )

    async def _folder(self, nodes: dict[str, Any], path: str, index: int) -> Any:
        from asyncua import ua

        if path not in nodes:
            above, _, label = path.rpartition('/')
            parent = await self._folder(nodes, above, index)
            nodes[path] = await parent.add_object(
                ua.NodeId(path.replace('/', '.'), index), f'{index}:{label}'
            )
        return nodes[path]

    def _method(self, command: str) -> Callable[..., Any]:
        from asyncua import ua

        async def call(parent: Any, *arguments: Any) -> list[Any]:
            given = [argument.Value for argument in arguments]
            content: dict[str, Any] = {'id': f'opcua-{time.time_ns()}'}
            if command == LOAD_RECIPE:
                content['recipe'] = given[0] if given else None
            try:
                request = parse_request(command, json.dumps(content, default=repr).encode())
                success, message = await asyncio.get_running_loop().run_in_executor(
                    None, self._carry_out, request
                )
            except CommandError as error:
                success, message = False, f'{command} is refused: {error}'
            self._note(f'OPC UA: {command}: {message}', not success)
            return [
                ua.Variant(success, ua.VariantType.Boolean),
                ua.Variant(message, ua.VariantType.String),
            ]

        return call


def _permissions() -> Any:
    from asyncua import ua
    from asyncua.crypto.permission_rules import PermissionRuleset, USER_TYPES

    # Nothing here may be written, by nobody.
    read = {ua.NodeId(name) for name in USER_TYPES}
    read.discard(ua.NodeId(ua.ObjectIds.WriteRequest_Encoding_DefaultBinary))
    call = ua.NodeId(ua.ObjectIds.CallRequest_Encoding_DefaultBinary)

    class Permissions(PermissionRuleset):  # type: ignore[misc]
        def check_validity(self, user: Any, action_type: Any, body: Any) -> bool:
            if user is None or action_type not in read:
                return False
            return bool(action_type != call or user.may_command)

    return Permissions()


def _UserManager(users: OpcuaUsers, note: Callable[[str, bool], None]) -> Any:  # noqa: N802
    from asyncua.crypto.permission_rules import User, UserRole
    from asyncua.server.user_managers import UserManager

    class CellUser(User):  # type: ignore[misc]
        may_command = False

    class Manager(UserManager):  # type: ignore[misc]
        def get_user(
            self,
            iserver: Any,
            username: str | None = None,
            password: str | bytes | None = None,
            certificate: Any = None,
        ) -> Any:
            if isinstance(password, bytes):
                password = password.decode(errors='replace')
            role = users.role_of(username or '', password or '', time.monotonic())
            if role is None:
                note(f'OPC UA: log-in of {printable(str(username))[:64]!r} is refused', True)
                return None
            user = CellUser(role=UserRole.User, name=username)
            user.may_command = role is OpcuaRole.OPERATOR
            return user

    return Manager()


async def _make_certificate(certificate: Path, key: Path, uri: str) -> None:
    from asyncua.crypto.cert_gen import setup_self_signed_certificate
    from cryptography.x509.oid import ExtendedKeyUsageOID

    certificate.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    await setup_self_signed_certificate(
        key,
        certificate,
        uri,
        socket.gethostname(),
        [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH],
        {'commonName': 'anomaly_inspection'},
    )
    key.chmod(0o600)


def _values_of(picture: CellPicture) -> dict[str, Any]:
    state, mode = _STATES[picture.cell['state']]
    recipe, counts = picture.recipe, picture.counts
    return {
        'VisionSystem/VisionStateMachine/CurrentState': state,
        'VisionSystem/VisionStateMachine/AutomaticModeStateMachine/CurrentState': mode,
        'VisionSystem/CellState': picture.cell['state'],
        'VisionSystem/CellStateReason': picture.cell['reason'],
        'VisionSystem/RecipeManagement/ActiveRecipe/ExternalId': recipe.get('name', ''),
        'VisionSystem/RecipeManagement/ActiveRecipe/Version': int(recipe.get('version', 0)),
        'VisionSystem/RecipeManagement/ActiveRecipe/Hash': recipe.get('hash', ''),
        'VisionSystem/LineStop/Active': bool(picture.line_stop.get('active', False)),
        'VisionSystem/LineStop/Reason': picture.line_stop.get('reason', ''),
        'VisionSystem/Health/Level': picture.health.get('level', 'stale'),
        'VisionSystem/Health/Problems': _json(picture.health.get('problems', [])),
        'VisionSystem/Counts/Total': int(counts.get('total', 0)),
        'VisionSystem/Counts/Passed': int(counts.get('passed', 0)),
        'VisionSystem/Counts/Rejected': int(counts.get('rejected', 0)),
        'VisionSystem/Counts/ChallengeParts': int(counts.get('challenge_parts', 0)),
        'VisionSystem/Counts/RejectedByReason': _json(counts.get('rejected_by_reason', {})),
        'VisionSystem/Counts/Since': counts.get('since', ''),
    }


_RESULT = 'VisionSystem/ResultManagement/LastResult/'
_NO_RESULT: dict[str, Any] = {
    f'{_RESULT}ResultId': '',
    f'{_RESULT}CreationTime': _EPOCH,
    f'{_RESULT}PartId': 0,
    f'{_RESULT}Verdict': '',
    f'{_RESULT}Reason': '',
    f'{_RESULT}Quality': '',
    f'{_RESULT}AnomalyScore': math.nan,
    f'{_RESULT}ExternalRecipeId': '',
    f'{_RESULT}ResultContent': '',
    # Last: a client that subscribes to it finds the others new.
    f'{_RESULT}Number': 0,
}


def _result_values(decision: PlantDecision, number: int) -> dict[str, Any]:
    payload = decision_payload(decision, '', number)
    del payload['stream'], payload['sequence']
    return {
        f'{_RESULT}ResultId': f'{decision.session_id}/{decision.part_id}',
        f'{_RESULT}CreationTime': _EPOCH + timedelta(microseconds=decision.decided_ns // 1000),
        f'{_RESULT}PartId': decision.part_id,
        f'{_RESULT}Verdict': decision.verdict,
        f'{_RESULT}Reason': decision.reason,
        f'{_RESULT}Quality': decision.quality.value,
        f'{_RESULT}AnomalyScore': decision.anomaly_score,
        f'{_RESULT}ExternalRecipeId': decision.recipe_name,
        f'{_RESULT}ResultContent': to_json(payload).decode(),
        f'{_RESULT}Number': number,
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
