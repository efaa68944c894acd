# SPDX-License-Identifier: Apache-2.0
"""
Parameters of the recorder.

"""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_inspection.nodes.inspection_node import NodeParameters
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.recipes.view_set import check_view_name


@dataclass(frozen=True)
class RecorderParameters(NodeParameters):
    """
    Parameters of the recorder node.

    """

    folder: str = parameter(
        '',
        "Folder of the records: database, queue and pictures; empty: 'records' beside the state "
        'of this node.',
        read_only=True,
    )
    database: str = parameter(
        '',
        "PostgreSQL database of several cells, as 'postgresql://user@host/database', without a "
        'password; empty: a SQLite file in the folder.',
        read_only=True,
    )
    password_file: str = parameter(
        '',
        'File with the password of the database as its only line; empty: the file that the '
        'environment variable PGPASSFILE names, or ~/.pgpass.',
        read_only=True,
    )
    people_folder: str = parameter(
        '',
        "Folder in which the operator's page notes who changed what, as its parameter "
        "people_folder says; empty: 'people' in state_folder.",
        read_only=True,
    )
    views: tuple[str, ...] = parameter(
        (),
        'Names of the views, in a cell with several: their calibrations and challenges are '
        'recorded. Empty: the cell has one camera.',
        check=check_view_name,
        read_only=True,
    )
    queue_mb: int = parameter(
        500,
        'Most disk space for records that wait for the database; when it is used up, the oldest '
        'are lost.',
        unit='MB',
        minimum=1,
        maximum=100_000,
        read_only=True,
    )
    pictures_mb: int = parameter(
        5000,
        'Most disk space for pictures; when it is used up, the oldest go, rejects last. 0: no '
        'pictures are kept.',
        unit='MB',
        minimum=0,
        maximum=10_000_000,
        read_only=True,
    )
    least_free_mb: int = parameter(
        500,
        'Disk space that pictures must leave free.',
        unit='MB',
        minimum=0,
        maximum=1_000_000,
        read_only=True,
    )
    maps: bool = parameter(
        False,
        'Keep the anomaly maps beside the frames; the scorers then publish every map, which takes '
        'their time.',
        read_only=True,
    )
    near_limit: float = parameter(
        0.8,
        'Keep pictures of passed parts from this anomaly score on: 0 = a typical good part, 1 = '
        'exactly at a limit.',
        minimum=0.0,
        maximum=1.0,
    )
    sample_every: int = parameter(
        500,
        'Keep pictures of every so manieth passed part; 0 = of none.',
        minimum=0,
        maximum=1_000_000_000,
    )
    keep_rejects_days: float = parameter(
        365.0,
        'How long pictures of rejects are kept; 0 = until the disk space is used up.',
        unit='days',
        minimum=0.0,
        maximum=36500.0,
        read_only=True,
    )
    keep_near_days: float = parameter(
        90.0,
        'How long pictures of passed parts near a limit are kept; 0 = until the disk space is '
        'used up.',
        unit='days',
        minimum=0.0,
        maximum=36500.0,
        read_only=True,
    )
    keep_samples_days: float = parameter(
        30.0,
        'How long pictures of the sample of passed parts are kept; 0 = until the disk space is '
        'used up.',
        unit='days',
        minimum=0.0,
        maximum=36500.0,
        read_only=True,
    )
