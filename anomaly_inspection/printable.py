# SPDX-License-Identifier: Apache-2.0
"""
File names in messages: any name, on one line, in characters that every terminal and log takes.

"""

from __future__ import annotations

import os
import re


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
    return ''.join(one if one.isprintable() else repr(one)[1:-1] for one in text)
