# SPDX-License-Identifier: Apache-2.0
"""
Who may reach which address of the panel: one table, and nobody reaches what is not in it.

A new page or address needs a line here; `test_route_rules.py` fails without it.

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
import re
from typing import TYPE_CHECKING

from starlette.routing import compile_path

from anomaly_inspection.panel.people.roles import Role
from anomaly_inspection.recipes.archive import LARGEST_ARCHIVE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Stands for a WebSocket where a method stands.
WEBSOCKET = 'WEBSOCKET'
_KIB, _MIB = 1024, 1024 * 1024


@dataclass(frozen=True)
class Rule:
    """
    Who may reach one address.

    Parameters
    ----------
    methods : str
        'GET', 'GET POST' ...; WEBSOCKET for a socket. GET includes HEAD.
    path : str
        As the route is written, '/parts/{part_id:int}'.
    role : Role or None
        The least role; None = everybody, without log-in.
    most_bytes : int
        Largest body, and largest message of a socket.
    needs_account : bool
        Whether a screen on the wall, which nobody has logged in on, is not enough.
    is_page : bool
        Whether a person who is not logged in is sent to the log-in page.
    takes_token : bool
        Whether a program may come with an API token.
    is_long : bool
        Whether the answer goes on for long, so that it must end with the log-in.
    keeps_logged_in : bool
        Whether a request means that a person is there.

    """

    methods: str
    path: str
    role: Role | None
    most_bytes: int = 64 * _KIB
    needs_account: bool = False
    is_page: bool = False
    takes_token: bool = False
    is_long: bool = False
    keeps_logged_in: bool = True
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, '_pattern', compile_path(self.path)[0])

    def covers(self, method: str, path: str) -> bool:
        """
        Say whether the rule is about this request.

        """
        method = 'GET' if method == 'HEAD' else method
        return method in self.methods.split() and self._pattern.match(path) is not None


def _page(path: str, role: Role) -> Rule:
    return Rule('GET', path, role, is_page=True)


def _api(methods: str, path: str, role: Role) -> Rule:
    return Rule(methods, f'/api{path}', role, takes_token=True)


#: All addresses. The first rule that covers a request counts.
RULES: Sequence[Rule] = (
    # Everybody: the way in, and our own files, which anybody can download with the package.
    Rule('GET POST', '/log-in', None),
    Rule('GET POST', '/first-engineer', None),
    Rule('GET', '/assets/{path:path}', None),
    Rule('GET', '/favicon.ico', None),
    Rule('GET', '/language/{code}', None),
    Rule('GET', '/theme/{name}', None),
    # Pages.
    _page('/', Role.VIEWER),
    _page('/teach', Role.ENGINEER),
    _page('/tune', Role.OPERATOR),
    _page('/recipes', Role.OPERATOR),
    _page('/review', Role.OPERATOR),
    _page('/wall', Role.VIEWER),
    _page('/report/{shift}.html', Role.OPERATOR),
    Rule('GET', '/people', Role.VIEWER, needs_account=True, is_page=True),
    Rule('GET POST', '/password', Role.VIEWER, needs_account=True, is_page=True),
    Rule('POST', '/log-out', Role.VIEWER, needs_account=True),
    Rule('GET', '/session', Role.VIEWER, keeps_logged_in=False),
    # Pictures.
    Rule(WEBSOCKET, '/frames', Role.VIEWER, takes_token=True, is_long=True, keeps_logged_in=False),
    Rule('GET', '/stream.mjpeg', Role.VIEWER, takes_token=True, is_long=True),
    Rule('GET', '/parts/{session_id}/{part_id}/{kind}.jpg', Role.VIEWER, takes_token=True),
    Rule('GET', '/recipes/{name}/picture.jpg', Role.OPERATOR),
    Rule('GET', '/rejects/{session_id}/{part_id}/{kind}', Role.OPERATOR, takes_token=True),
    Rule('GET', '/teaching/{session}/images/{name}', Role.ENGINEER),
    Rule('GET', '/teaching/{session}/thumbnails/{name}', Role.ENGINEER),
    Rule('GET', '/teaching/{session}/draft/{name}', Role.ENGINEER),
    # Files that are uploaded; the teacher checks their size and content again.
    Rule('POST', '/_nicegui/client/{client}/upload/{element}', Role.ENGINEER, 33 * _MIB),
    # NiceGUI: its scripts, and the socket of the pages. What a page does checks the role again.
    Rule(
        *(f'GET POST {WEBSOCKET}', '/_nicegui_ws/{path:path}', Role.VIEWER, _MIB),
        is_long=True,
        keeps_logged_in=False,
    ),
    Rule('GET', '/_nicegui/{path:path}', Role.VIEWER, keeps_logged_in=False),
    # JSON.
    _api('GET', '/openapi.json', Role.VIEWER),
    _api('GET', '/state', Role.VIEWER),
    _api('GET', '/counters', Role.VIEWER),
    _api('GET', '/parts', Role.VIEWER),
    _api('GET', '/parts/{session_id}/{part_id}', Role.VIEWER),
    _api('GET', '/limits', Role.VIEWER),
    _api('PUT', '/limits', Role.ENGINEER),
    _api('PUT', '/limit_ranges', Role.ENGINEER),
    _api('GET', '/calibration', Role.VIEWER),
    _api('GET', '/challenge', Role.VIEWER),
    _api('GET', '/recipes', Role.VIEWER),
    _api('POST', '/commands/reset_line', Role.OPERATOR),
    _api('POST', '/commands/grab', Role.OPERATOR),
    _api('POST', '/commands/save_limits', Role.ENGINEER),
    _api('POST', '/commands/undo_limits', Role.ENGINEER),
    _api('POST', '/commands/calibrate', Role.ENGINEER),
    _api('POST', '/commands/cancel_calibration', Role.ENGINEER),
    _api('POST', '/commands/undo_calibration', Role.ENGINEER),
    _api('POST', '/commands/run_challenge', Role.OPERATOR),
    _api('POST', '/commands/cancel_challenge', Role.OPERATOR),
    _api('POST', '/commands/load_recipe', Role.ENGINEER),
    _api('POST', '/commands/roll_back', Role.ENGINEER),
    _api('POST', '/lot', Role.OPERATOR),
    _api('GET', '/reviews', Role.OPERATOR),
    _api('GET', '/reviews/findings', Role.OPERATOR),
    _api('PUT', '/reviews/{session_id}/{part_id}', Role.OPERATOR),
    _api('POST', '/commands/delete_recipe', Role.ENGINEER),
    _api('GET', '/recipes/{name}/archive.zip', Role.ENGINEER),
    replace(_api('POST', '/recipes', Role.ENGINEER), most_bytes=LARGEST_ARCHIVE_BYTES),
    _api('GET', '/changes', Role.ENGINEER),
)


def rule_for(method: str, path: str, rules: Iterable[Rule] = RULES) -> Rule | None:
    """
    Give the rule of a request; None = nobody may make it.

    """
    return next((rule for rule in rules if rule.covers(method, path)), None)
