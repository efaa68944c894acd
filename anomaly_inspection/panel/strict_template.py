# SPDX-License-Identifier: Apache-2.0
"""
Lets NiceGUI's page work without permission for all inline scripts.

"""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import BaseLoader, Environment
from nicegui.client import templates

_MARK = '<script'
_WITH_NONCE = '<script nonce="{{ request.state.csp_nonce }}"'


def use_nonces() -> None:
    """
    Give every script of NiceGUI's template the nonce of its answer.

    The source of the template is changed, not the page that it makes: a script that comes in with
    a value has no nonce, so the browser does not run it.

    """
    environment = templates.env
    if environment.loader is not None and not isinstance(environment.loader, _NonceLoader):
        environment.loader = _NonceLoader(environment.loader)
        if environment.cache is not None:
            environment.cache.clear()


class _NonceLoader(BaseLoader):
    def __init__(self, loader: BaseLoader) -> None:
        self._loader = loader

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, filename, is_fresh = self._loader.get_source(environment, template)
        return source.replace(_MARK, _WITH_NONCE), filename, is_fresh
