# SPDX-License-Identifier: Apache-2.0
"""
The first tables.

"""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

revision = '0001'
down_revision = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=False)


def _number(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Float(53))


def _record(name: str, *columns: sa.Column[object], indices: tuple[tuple[str, ...], ...]) -> None:
    op.create_table(
        name,
        sa.Column('id', _ROW, nullable=False),
        sa.Column('time_us', sa.BigInteger, nullable=False),
        sa.Column('source_id', sa.Integer, nullable=False),
        sa.Column('sequence', sa.BigInteger, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint('id', name=f'pk_{name}'),
        sa.UniqueConstraint('source_id', 'sequence', name=f'uq_{name}_source_id_sequence'),
    )
    for names in indices:
        op.create_index(f'ix_{name}_{"_".join(names)}', name, list(names))


def upgrade() -> None:
    """
    Make them.

    """
    op.create_table(
        'sources',
        sa.Column('id', sa.Integer, nullable=False),
        *map(_text, ('cell', 'name')),
        sa.PrimaryKeyConstraint('id', name='pk_sources'),
        sa.UniqueConstraint('cell', 'name', name='uq_sources_cell_name'),
    )
    _record(
        'parts',
        sa.Column('exposure_us', sa.BigInteger, nullable=False),
        *map(_text, ('verdict', 'reason', 'known_as')),
        _number('anomaly_score'),
        *map(_text, ('worst_measure', 'comparison', 'recipe')),
        sa.Column('recipe_version', sa.Integer, nullable=False),
        _text('recipe_hash'),
        _number('latency_s'),
        *map(_text, ('order_name', 'lot', 'serial', 'measures', 'limits', 'details')),
        indices=(
            *(('time_us',), ('verdict', 'time_us'), ('reason', 'time_us')),
            *(('lot', 'time_us'), ('serial',)),
        ),
    )
    _record(
        'sort_events',
        *map(_text, ('action', 'outcome', 'cause', 'detail')),
        _number('firing_error_s'),
        indices=(('time_us',),),
    )
    _record(
        'events',
        *map(_text, ('kind', 'who', 'what', 'data')),
        indices=(('kind', 'time_us'), ('time_us',)),
    )
    _record(
        'pictures',
        _text('session'),
        sa.Column('part', sa.BigInteger, nullable=False),
        *map(_text, ('kind', 'shows', 'path', 'sha256')),
        sa.Column('n_bytes', sa.BigInteger, nullable=False),
        indices=(('session', 'part'), ('path',)),
    )
    _record('picture_removals', *map(_text, ('path', 'why')), indices=(('path',),))
    names = ('cell', 'result', 'reason', 'known_as', 'recipe', 'order_name', 'lot')
    op.create_table(
        'minute_counts',
        sa.Column('minute', sa.Integer, nullable=False),
        *map(_text, names),
        sa.Column('n', sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint('minute', *names, name='pk_minute_counts'),
    )
