# SPDX-License-Identifier: Apache-2.0
"""
Run the migrations on the connection that `records.database` hands over.

"""

from __future__ import annotations

from alembic import context

from anomaly_inspection.records.schema import metadata

context.configure(
    connection=context.config.attributes['connection'],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
