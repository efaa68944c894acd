# SPDX-License-Identifier: Apache-2.0
"""
The parts of the records as the room `reviewing` takes them.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
import json
import math
import re
from typing import Any, TYPE_CHECKING

import sqlalchemy as sa

from anomaly_inspection.records.picture_store import picture_path
from anomaly_inspection.records.queries import events_between, newest_parts
from anomaly_inspection.records.schema import picture_removals, pictures
from anomaly_inspection.reviewing.stored_part import Kind, StoredPart, Truth

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy.engine import Connection

    from anomaly_inspection.records.queries import PartFilter
    from anomaly_inspection.reviewing.stored_part import PartKey

#: Parts that are read at most, the newest.
MOST_PARTS = 100_000
_SUBJECT = re.compile(r'part (\d{1,19}) of session (.*)', re.DOTALL)
_VERDICTS = {'good': Truth.GOOD, 'defect': Truth.BAD}
_KNOWN = {'good': Truth.GOOD, 'bad': Truth.BAD}


@dataclass(frozen=True)
class RecordedParts:
    """
    Parts of the records.

    Parameters
    ----------
    parts : tuple of StoredPart
        The newest first.
    numbers : mapping of Kind to int
        How many production parts of each kind there are among them.

    """

    parts: tuple[StoredPart, ...]
    numbers: Mapping[Kind, int]


def recorded_parts(
    connection: Connection, folder: Path, wanted: PartFilter, most: int = MOST_PARTS
) -> RecordedParts:
    """
    Read the newest parts with their reviews and pictures.

    Parameters
    ----------
    connection : Connection
        Of the records.
    folder : Path
        Of the pictures.
    wanted : PartFilter
        Which parts.
    most : int
        How many, 1 or more.

    """
    rows = newest_parts(connection, wanted, most)
    since_us = min((row['time_us'] for row in rows), default=0)
    reviews = _reviews(connection, since_us)
    frames = _frames(connection, folder, since_us)
    parts = tuple(_part(row, reviews, frames) for row in rows)
    return RecordedParts(
        parts, Counter(part.kind for part in parts if part.kind is not Kind.KNOWN)
    )


def _part(
    row: dict[str, Any],
    reviews: Mapping[PartKey, Truth | None],
    frames: Mapping[PartKey, tuple[str, Path | None]],
) -> StoredPart:
    key = (row['session'], row['sequence'] & (2**64 - 1))
    kept_as, picture = frames.get(key, ('', None))
    is_rejected = row['verdict'] != 'PASS'
    known = _KNOWN.get(row['known_as'])
    if known:
        kind = Kind.KNOWN
    elif is_rejected:
        kind = Kind.REJECT
    else:
        kind = {'near': Kind.NEAR, 'sample': Kind.SAMPLE}.get(kept_as, Kind.PASSED)
    return StoredPart(
        key=key,
        kind=kind,
        is_rejected=is_rejected,
        reason=row['reason'],
        measures=_numbers(row['measures']),
        limits=_numbers(row['limits']),
        recipe=row['recipe'],
        recipe_version=row['recipe_version'],
        truth=known or reviews.get(key),
        picture=picture,
    )


def _numbers(text: str) -> dict[str, float]:
    content = json.loads(text) if text else {}
    return {
        str(name): math.nan if value is None else float(value) for name, value in content.items()
    }


def _reviews(connection: Connection, since_us: int) -> dict[PartKey, Truth | None]:
    """
    Give the last verdict of people on each part.

    """
    found: dict[PartKey, Truth | None] = {}
    for event in events_between(connection, ('review',), since_us, None):
        data = json.loads(event['data'] or '{}')
        subject = _SUBJECT.fullmatch(str(data.get('subject', '')))
        if subject:
            # Who is unsure takes the verdict before back.
            found[subject[2], int(subject[1])] = _VERDICTS.get(str(data.get('new', '')))
    return found


def _frames(
    connection: Connection, folder: Path, since_us: int
) -> dict[PartKey, tuple[str, Path | None]]:
    """
    Give why a frame was kept, and its file; None = the file is gone.

    """
    table, gone = pictures, picture_removals
    query = (
        sa.select(table.c.session, table.c.part, table.c.kind, table.c.path, gone.c.path)
        .outerjoin(gone, gone.c.path == table.c.path)
        .where(table.c.shows == 'frame', table.c.time_us >= since_us)
    )
    found: dict[PartKey, tuple[str, Path | None]] = {}
    for session, part, kind, path, removed in connection.execute(query):
        file = None if removed else picture_path(folder, path)
        is_there = file is not None and file.is_file()
        found[session, part & (2**64 - 1)] = (kind, file if is_there else None)
    return found
