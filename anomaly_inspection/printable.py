# SPDX-License-Identifier: Apache-2.0
"""
File names and values in messages: on one line, in characters that every terminal and log takes.

"""

from __future__ import annotations

import os
import re
import reprlib

# A no-break space or a soft hyphen does no harm; what ends a line or steers a terminal does.
_CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029]')
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlong = 30


def printable(name: str | os.PathLike[str]) -> str:
    r"""
    Give a file name as people can read it.

    Returns
    -------
    str
        Bytes that are not UTF-8 become U+FFFD; line breaks and other control characters are
        escaped, a newline as '\\n'. All other names come back as they are.

    """
    text = re.sub('[\ud800-\udfff]', '\N{REPLACEMENT CHARACTER}', os.fspath(name))
    return _CONTROL.sub(lambda found: repr(found.group())[1:-1], text)


def shown(value: object) -> str:
    """
    Give a value as Python writes it, shortened when it is long.

    """
    try:
        return _SHORT.repr(value)
    except ValueError:
        # Python refuses to write integers of more than 4300 digits.
        return 'a number of thousands of digits'
