# SPDX-License-Identifier: Apache-2.0
"""
What every answer tells the browser not to do.

"""

from __future__ import annotations

# Pages of our own need files from here and nothing else.
_PLAIN_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

# NiceGUI needs two things more. 'unsafe-eval': Vue compiles templates in the browser and NiceGUI
# evaluates the handlers that the server sends. 'unsafe-inline' for styles: Vue and Quasar set the
# attribute `style`. Inline scripts run only with the nonce of the answer, which the template of
# NiceGUI carries (`strict_template.py`): a script that came in with a name or a reason does not.
_NICEGUI_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; media-src 'self' blob:; worker-src 'none'; object-src 'none'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

# A shift report is one file that loads nothing and runs nothing: style and pictures stand in it.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; sandbox"
)
#: Header by which a route says that its answer is a shift report.
REPORT_MARK = 'x-shift-report'

_ALWAYS = (
    (b'x-content-type-options', b'nosniff'),
    (b'x-frame-options', b'DENY'),
    # Choosing a language leads back to the page it was chosen on.
    (b'referrer-policy', b'same-origin'),
    (b'cross-origin-opener-policy', b'same-origin'),
    (b'cross-origin-resource-policy', b'same-origin'),
    (b'permissions-policy', b'camera=(), microphone=(), geolocation=(), payment=(), usb=()'),
    (b'x-robots-tag', b'noindex'),
)

Headers = list[tuple[bytes, bytes]]


def with_security_headers(headers: Headers, nonce: str) -> Headers:
    """
    Give the headers of an answer with those that make it safe.

    Parameters
    ----------
    headers : list of (bytes, bytes)
        What the application has set, names in lower case.
    nonce : str
        What inline scripts of this answer carry.

    """
    names = {name.lower() for name, _ in headers}
    policy = _PLAIN_POLICY
    if b'x-nicegui-content' in names:
        policy = _NICEGUI_POLICY.format(nonce=nonce)
    elif REPORT_MARK.encode() in names:
        policy = _REPORT_POLICY
    ours = dict(_ALWAYS) | {b'content-security-policy': policy.encode()}
    kept = [(name, value) for name, value in headers if name.lower() not in ours]
    if b'cache-control' not in names:
        kept.append((b'cache-control', b'no-store'))
    return kept + list(ours.items())
