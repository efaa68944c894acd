# SPDX-License-Identifier: Apache-2.0
"""
The tables of the records.

Rows are only ever added. A correction is a new row, and whoever reads takes the newest. One table
is no record but a summary: `minute_counts` adds up what the other tables hold, in the same
transaction, so that counts of millions of parts are there at once.

Every record has a UTC time in microseconds since 1970, and a source with a sequence number. The
source names the cell and one run of the node that published; the pair makes a record unique, so
that it stands here once though it was delivered twice.

"""

from __future__ import annotations

import sqlalchemy as sa

#: SQLite counts rows by themselves for INTEGER alone.
_ROW = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')

#: As the index of the worst rejects has it, word for word: planners prove no more. With
#: verdict = 'REJECT', SQLite would take the index of the verdicts and sort all rejects.
SCORED_REJECT = sa.text("verdict <> 'PASS' AND known_as = '' AND anomaly_score IS NOT NULL")

metadata = sa.MetaData(
    naming_convention={
        'pk': 'pk_%(table_name)s',
        'ix': 'ix_%(table_name)s_%(column_0_N_name)s',
        'uq': 'uq_%(table_name)s_%(column_0_N_name)s',
    }
)


def _record(
    name: str, *columns: sa.Column[object], indices: tuple[sa.Index, ...] = ()
) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column('id', _ROW, primary_key=True),
        sa.Column('time_us', sa.BigInteger, nullable=False),
        sa.Column('source_id', sa.Integer, nullable=False),
        sa.Column('sequence', sa.BigInteger, nullable=False),
        *columns,
        sa.UniqueConstraint('source_id', 'sequence'),
        *indices,
    )


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=False, default='')


#: Who said it: a cell and one run of a node of it.
sources = sa.Table(
    'sources',
    metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    _text('cell'),
    _text('name'),
    sa.UniqueConstraint('cell', 'name'),
)

#: One decided part. The name of its source is the session, its sequence the number of the part.
parts = _record(
    'parts',
    # Exposure by the camera's clock.
    sa.Column('exposure_us', sa.BigInteger, nullable=False),
    # PASS or REJECT, and the reason code in words.
    _text('verdict'),
    _text('reason'),
    # '', or 'good' or 'bad' for a known part of a challenge.
    _text('known_as'),
    sa.Column('anomaly_score', sa.Float(53)),
    _text('worst_measure'),
    # As the decider wrote it, with the measures and the limits it compared them with.
    _text('comparison'),
    _text('recipe'),
    sa.Column('recipe_version', sa.Integer, nullable=False, default=0),
    # First 16 digits; the events of kind 'recipe' hold all.
    _text('recipe_hash'),
    sa.Column('latency_s', sa.Float(53)),
    _text('order_name'),
    _text('lot'),
    _text('serial'),
    # JSON: {'ssim.mean_ssim': 0.934, ...}; of the worst frame where a part has several.
    _text('measures'),
    # JSON: {'ssim.mean_ssim': 0.9, ...}, the limits in force when the part came.
    _text('limits'),
    # JSON: name, problems, regions and alignment of each frame; '' for parts without any.
    _text('details'),
    indices=(
        sa.Index(None, 'time_us'),
        sa.Index(None, 'verdict', 'time_us'),
        sa.Index(None, 'reason', 'time_us'),
        sa.Index(None, 'lot', 'time_us'),
        sa.Index(None, 'serial'),
        # The worst rejects of production: few rows, so that it takes hardly any room.
        sa.Index(
            'ix_parts_worst',
            *('anomaly_score', 'time_us'),
            sqlite_where=SCORED_REJECT,
            postgresql_where=SCORED_REJECT,
        ),
    ),
)

#: What the gate did with one part; source and sequence are those of the part.
sort_events = _record(
    'sort_events',
    _text('action'),
    _text('outcome'),
    _text('cause'),
    _text('detail'),
    sa.Column('firing_error_s', sa.Float(53)),
    indices=(sa.Index(None, 'time_us'),),
)

#: All else that happens to a line: see docs/records.md for the kinds.
events = _record(
    'events',
    _text('kind'),
    # Who did it, '' = nobody did.
    _text('who'),
    # One sentence.
    _text('what'),
    # JSON.
    _text('data'),
    indices=(sa.Index(None, 'kind', 'time_us'), sa.Index(None, 'time_us')),
)

#: A picture file of one part.
pictures = _record(
    'pictures',
    _text('session'),
    sa.Column('part', sa.BigInteger, nullable=False),
    # 'reject', 'near' (a limit) or 'sample'.
    _text('kind'),
    # 'frame', 'map', or 'good': the nearest good part, at the place of the defect.
    _text('shows'),
    # Relative to the folder of the pictures.
    _text('path'),
    _text('sha256'),
    sa.Column('n_bytes', sa.BigInteger, nullable=False),
    indices=(sa.Index(None, 'session', 'part'), sa.Index(None, 'path')),
)

#: A picture file that was deleted, and why.
picture_removals = _record(
    'picture_removals', _text('path'), _text('why'), indices=(sa.Index(None, 'path'),)
)

#: A summary: parts and gate actions of one minute by all that people count them by.
minute_counts = sa.Table(
    'minute_counts',
    metadata,
    # Minutes since 1970, UTC. No zone or shift of the world begins within a minute.
    sa.Column('minute', sa.Integer, primary_key=True, autoincrement=False),
    sa.Column('cell', sa.Text, primary_key=True),
    # 'PASS' and 'REJECT' of parts; 'SORTED' and 'UNSORTED' of gate actions.
    sa.Column('result', sa.Text, primary_key=True),
    sa.Column('reason', sa.Text, primary_key=True),
    sa.Column('known_as', sa.Text, primary_key=True),
    sa.Column('recipe', sa.Text, primary_key=True),
    sa.Column('order_name', sa.Text, primary_key=True),
    sa.Column('lot', sa.Text, primary_key=True),
    sa.Column('n', sa.Integer, nullable=False),
)
