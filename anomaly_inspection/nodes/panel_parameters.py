# SPDX-License-Identifier: Apache-2.0
"""
What can be set of the panel node.

"""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_inspection.nodes.inspection_node import NodeParameters
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.recipes.view_set import check_view_name


@dataclass(frozen=True)
class PanelParameters(NodeParameters):
    """
    Parameters of the panel node.

    """

    host: str = parameter(
        '127.0.0.1',
        'Address to listen on: 127.0.0.1 for this machine alone, 0.0.0.0 for whoever reaches this '
        'machine.',
        read_only=True,
    )
    port: int = parameter(
        8080, 'TCP port; 0 = any that is free.', minimum=0, maximum=65535, read_only=True
    )
    views: tuple[str, ...] = parameter(
        (),
        'Names of the views, in a cell with several; the page then shows a picture of each. '
        'Empty: the cell has one camera.',
        check=check_view_name,
        read_only=True,
    )
    certificate: str = parameter(
        '', 'File with the TLS certificate (PEM); with key: HTTPS.', read_only=True
    )
    key: str = parameter(
        '', 'File with the private key of the certificate (PEM, no password).', read_only=True
    )
    people_folder: str = parameter(
        '',
        "Folder of the accounts and of the record of changes; empty: 'people' in state_folder.",
        read_only=True,
    )
    review_folder: str = parameter(
        '',
        "Folder of the parts that people review; empty: 'review' beside the state of this node; "
        "'none': rejects are not kept.",
        read_only=True,
    )
    review_mb: int = parameter(
        2000,
        'Most disk space for pictures of parts to review; when it is used up, the oldest go. 0: '
        'none are kept.',
        unit='MB',
        minimum=0,
        maximum=1_000_000,
        read_only=True,
    )
    near_limit: float = parameter(
        0.8,
        'Passed parts from this anomaly score on can be reviewed: 0 = a typical good part, 1 = '
        'exactly at a limit. The recorder has a parameter of the same name.',
        minimum=0.0,
        maximum=1.0,
        read_only=True,
    )
    sample_every: int = parameter(
        500,
        'Every so manieth passed part can be reviewed; 0 = no passed part, near a limit or not. '
        'The recorder has a parameter of the same name.',
        minimum=0,
        maximum=1_000_000_000,
        read_only=True,
    )
    records_folder: str = parameter(
        '',
        'Folder in which the recorder keeps its records, for the shift report; empty: the page '
        'has none, unless records_database is given.',
        read_only=True,
    )
    records_database: str = parameter(
        '',
        "PostgreSQL database of the recorder, as 'postgresql://user@host/database'; empty: a "
        'SQLite file in records_folder.',
        read_only=True,
    )
    records_password_file: str = parameter(
        '', 'File with the password of records_database as its only line.', read_only=True
    )
    wall_display: bool = parameter(
        False,
        'Let everybody who reaches the page look at the line without log-in, as a screen on the '
        'wall does.',
        read_only=True,
    )
    allowed_hosts: str = parameter(
        '',
        'Names under which browsers may call this machine, with commas between, besides its '
        'addresses, localhost and its own name.',
        read_only=True,
    )
    session_idle_min: float = parameter(
        60.0,
        'A log-in ends after this time without a click.',
        unit='min',
        minimum=1.0,
        maximum=43200.0,
        read_only=True,
    )
    session_hours: float = parameter(
        12.0,
        'A log-in ends after this time in any case.',
        unit='h',
        minimum=0.1,
        maximum=720.0,
        read_only=True,
    )
    shifts: tuple[str, ...] = parameter(
        (),
        "Shifts for the counters, each 'HH:MM NAME' in local time, as '06:00 Early'; none: a day.",
        read_only=True,
    )
    time_zone: str = parameter(
        '',
        "Time zone of the shifts and of all times on the page, as 'Europe/Berlin'; empty: that of "
        'this computer.',
        read_only=True,
    )
