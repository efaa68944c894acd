# SPDX-License-Identifier: Apache-2.0
"""
The web server of the panel: FastAPI with NiceGUI on it, run by uvicorn on a thread of its own.

NiceGUI keeps its pages in the process, so a process has one panel.

"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import socket
import threading
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from nicegui import ui
import uvicorn

from anomaly_inspection.errors import SettingError
from anomaly_inspection.panel import layout
from anomaly_inspection.panel.access.guard import AccessGuard, AccessSettings
from anomaly_inspection.panel.access.page_sockets import is_own_page
from anomaly_inspection.panel.api import routes as api
from anomaly_inspection.panel.frames import routes as frame_routes
from anomaly_inspection.panel.line import page as line_page
from anomaly_inspection.panel.people import forms as people_forms
from anomaly_inspection.panel.people import page as people_page
from anomaly_inspection.panel.recipes import page as recipes_page
from anomaly_inspection.panel.report import routes as report_routes
from anomaly_inspection.panel.review import page as review_page
from anomaly_inspection.panel.review import routes as review_routes
from anomaly_inspection.panel.strict_template import use_nonces
from anomaly_inspection.panel.teach import page as teach_page
from anomaly_inspection.panel.teach import routes as teach_routes
from anomaly_inspection.panel.tls_files import tls_files
from anomaly_inspection.panel.tune import page as tune_page

if TYPE_CHECKING:
    from anomaly_inspection.panel.panel_parts import PanelParts

# Resolved: in a workspace built with --symlink-install the files are links, which are not served.
_ASSETS = Path(__file__).resolve().parent / 'assets'
_START_TIMEOUT_S = 20.0
# Viewers keep their connections open; the process must end all the same.
_GOODBYE_S = 1


@dataclass(frozen=True)
class ServerSettings:
    """
    Where the panel is served.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        TCP port; 0 = any that is free.
    certificate, key : str
        Files in PEM format for TLS; '' = plain HTTP.

    """

    host: str = '127.0.0.1'
    port: int = 8080
    certificate: str = ''
    key: str = ''

    @property
    def scheme(self) -> str:
        """
        Give 'https' or 'http'.

        """
        return 'https' if self.certificate else 'http'


class PanelServer:
    """
    The running server.

    Parameters
    ----------
    settings : ServerSettings
        Where.
    parts : PanelParts
        What the pages show and do.
    access : AccessSettings
        Who may look on without log-in, and under which names the page may be called.

    """

    def __init__(
        self,
        settings: ServerSettings,
        parts: PanelParts,
        access: AccessSettings | None = None,
    ) -> None:
        self._settings = settings
        self._access = access or AccessSettings()
        self._parts = parts
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.address = ''

    @property
    def is_running(self) -> bool:
        """
        Whether it answers.

        """
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """
        Listen, and serve on a thread; blocks until the server answers.

        Raises
        ------
        SettingError
            When the address is taken or not ours, or a file for TLS cannot be used.

        """
        settings = self._settings
        certificate, key = tls_files(settings.certificate, settings.key)
        listener = _listener(settings)
        host, port = listener.getsockname()[:2]
        shown = f'[{host}]' if ':' in host else host
        self.address = f'{settings.scheme}://{shown}:{port}/'
        config = uvicorn.Config(
            guarded_app(self._parts, self._access),
            # Otherwise anybody on this machine could claim to come from another address.
            proxy_headers=False,
            ws_max_size=2 * 1024 * 1024,
            log_level='warning',
            access_log=False,
            timeout_graceful_shutdown=_GOODBYE_S,
            ssl_certfile=certificate or None,
            ssl_keyfile=key or None,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name='panel server', daemon=True
        )
        self._thread.start()
        pause = threading.Event()
        for _ in range(int(_START_TIMEOUT_S / 0.05)):
            if self._server.started or not self._thread.is_alive():
                break
            pause.wait(0.05)
        if not self._server.started:
            self.stop()
            raise SettingError(f'the panel did not start on {self.address}; see the log above')

    def stop(self) -> None:
        """
        End the server; viewers see that the connection is lost.

        """
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_GOODBYE_S + 5)
        self._server = self._thread = None


def guarded_app(parts: PanelParts, access: AccessSettings) -> AccessGuard:
    """
    Build the application with the guard around it.

    """
    return AccessGuard(build_app(parts), parts.people, access, is_own_page=is_own_page)


_app: FastAPI | None = None


def build_app(parts: PanelParts) -> FastAPI:
    """
    Build the application; the second call gives the first one's, because pages are global.

    """
    global _app
    if _app is None:
        _app = FastAPI(title='anomaly_inspection', docs_url=None, redoc_url=None, openapi_url=None)
        _app.mount('/assets', StaticFiles(directory=_ASSETS), name='assets')
        frame_routes.add_routes(_app, parts)
        layout.add_routes(_app)
        people_forms.add_routes(_app, parts.people, parts.people_work, parts.cell_name)
        api.add_routes(_app, parts)
        line_page.add_page(parts)
        teach_routes.add_routes(_app, parts)
        teach_page.add_page(parts)
        tune_page.add_page(parts)
        recipes_page.add_page(_app, parts)
        report_routes.add_routes(_app, parts)
        review_routes.add_routes(_app, parts)
        review_page.add_page(parts)
        people_page.add_page(parts)
        use_nonces()
        ui.run_with(
            _app,
            title='anomaly_inspection',
            favicon=_ASSETS / 'icon.svg',
            dark=None,
            tailwind=False,
            binding_refresh_interval=0.5,
            reconnect_timeout=10.0,
            show_welcome_message=False,
        )
    return _app


def _listener(settings: ServerSettings) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingError(
            f'host = {settings.host!r} is refused: {error.strerror or error}; allowed: an address '
            'of this machine, 127.0.0.1 for this machine alone, 0.0.0.0 for the whole network'
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise SettingError(
            f'cannot listen on {settings.host}:{settings.port}: {error.strerror or error}. '
            'Another program may use the port; choose another one with the parameter port.'
        ) from error
    return listener
