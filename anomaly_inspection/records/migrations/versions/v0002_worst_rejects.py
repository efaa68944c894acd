# SPDX-License-Identifier: Apache-2.0
"""
An index of the rejects by their anomaly scores, so that the worst ones are found at once.

"""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

revision = '0002'
down_revision = '0001'


def upgrade() -> None:
    """
    Make it; takes some seconds for each million rejects.

    """
    condition = sa.text("verdict <> 'PASS' AND known_as = '' AND anomaly_score IS NOT NULL")
    op.create_index(
        'ix_parts_worst',
        'parts',
        ['anomaly_score', 'time_us'],
        sqlite_where=condition,
        postgresql_where=condition,
    )
