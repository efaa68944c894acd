# SPDX-License-Identifier: Apache-2.0
"""
Add a user of the OPC UA server to its file.

"""

from __future__ import annotations

import os
from pathlib import Path
import sys

import click

from anomaly_inspection.cli.output import console, escaped
from anomaly_inspection.errors import SettingError

# A pipe that never ends must not fill the memory.
_MOST_LETTERS = 4096


@click.command('opcua-user', short_help='Add a user of the OPC UA server.')
@click.argument('name')
@click.option(
    '--role',
    type=click.Choice(['observer', 'operator']),
    required=True,
    help='observer: read. operator: load recipes and reset the line as well.',
)
@click.option(
    '--file',
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help='File of the users, the parameter users_file of the opcua_server; made when it is '
    'missing.',
)
@click.option(
    '--password-stdin', is_flag=True, help='Read the password from the first line of the input.'
)
def opcua_user(name: str, role: str, file: Path, password_stdin: bool) -> None:
    """
    Add a user of the OPC UA server to its file, or give one another password or role.

    The password has 10 to 200 characters. The file holds no passwords, only salted hashes. The
    server reads it when it starts.
    """
    from anomaly_inspection.plant.opcua_users import OpcuaRole, user_line

    if password_stdin:
        password = sys.stdin.readline(_MOST_LETTERS).rstrip('\r\n')
    else:
        password = click.prompt('Password', hide_input=True, confirmation_prompt=True)
    line = user_line(name, OpcuaRole(role), password)
    path = file.expanduser()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, 'w') as users:
            users.write(f'{line}\n')
    except OSError as error:
        raise SettingError(f'cannot write {path}: {error.strerror}') from error
    console.print(f'{escaped(name)} may log in as {role}: {escaped(path)}', soft_wrap=True)
