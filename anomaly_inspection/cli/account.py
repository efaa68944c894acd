# SPDX-License-Identifier: Apache-2.0
"""
Add and change the accounts of the operator's page.

"""

from __future__ import annotations

import getpass
from pathlib import Path
import sys
from typing import TYPE_CHECKING

import click
from rich.table import Table

from anomaly_inspection.cli.output import console, escaped
from anomaly_inspection.errors import SettingError
from anomaly_inspection.state_file import default_state_folder

if TYPE_CHECKING:
    from anomaly_inspection.panel.people.people import People
    from anomaly_inspection.panel.people.roles import Visitor

_ROLES = ('viewer', 'operator', 'engineer')
# A pipe that never ends must not fill the memory.
_MOST_BYTES = 4096


@click.group(short_help="Add and change accounts of the operator's page.")
@click.option(
    '--state-folder',
    type=click.Path(path_type=Path, file_okay=False),
    help='Folder of the accounts, as the parameter state_folder of the panel says. Default: '
    '$ROS_HOME/anomaly_inspection/state, else the same in ~/.ros.',
)
@click.pass_context
def account(context: click.Context, state_folder: Path | None) -> None:
    """
    Add and change accounts of the operator's page.

    \b
    The first engineer of a machine:
      anomaly-inspection account add anna --role engineer

    Every change counts at once, also for a panel that runs. All cells of this machine share the
    accounts unless their state folders differ.
    """
    context.obj = (state_folder or default_state_folder()) / 'people'


@account.command(short_help='Add an account.')
@click.argument('name')
@click.option('--role', type=click.Choice(_ROLES), required=True, help='What the person may do.')
@click.option(
    '--password-stdin', is_flag=True, help='Read the password from the first line of the input.'
)
@click.pass_obj
def add(folder: Path, name: str, role: str, password_stdin: bool) -> None:
    """
    Add an account. The password has 10 to 200 characters.
    """
    from anomaly_inspection.panel.people.accounts import checked_name
    from anomaly_inspection.panel.people.roles import role_of

    people = _people(folder)
    name = checked_name(name)
    if people.accounts.named(name):
        raise SettingError(f'there is an account {name!r} already; choose another name')
    added = people.accounts.add(name, _password(password_stdin), role_of(role))
    people.audit.record(_terminal(), 'add account', subject=added.name, new=role)
    people.close()
    console.print(f'{escaped(added.name)} can log in as {role}', soft_wrap=True)


@account.command('list', short_help='Show all accounts.')
@click.pass_obj
def list_accounts(folder: Path) -> None:
    """
    Show all accounts.
    """
    people = _people(folder)
    table = Table('name', 'role', 'may log in', 'tokens')
    for known in people.accounts.all():
        may_log_in = 'yes' if known.is_enabled else 'no'
        n_tokens = len(people.tokens.all(known.name))
        table.add_row(escaped(known.name), known.role.word, may_log_in, str(n_tokens))
    people.close()
    console.print(table if table.row_count else 'There are no accounts yet.')


@account.command(short_help='Give an account another password.')
@click.argument('name')
@click.option(
    '--password-stdin', is_flag=True, help='Read the password from the first line of the input.'
)
@click.pass_obj
def password(folder: Path, name: str, password_stdin: bool) -> None:
    """
    Give an account another password. All its log-ins end.
    """
    people = _people(folder)
    known = people.accounts.existing(name)
    people.accounts.set_password(name, _password(password_stdin))
    people.attempts.succeeded(known.name)
    people.audit.record(_terminal(), 'reset password', subject=known.name)
    people.close()
    console.print(f'{escaped(known.name)} has a new password', soft_wrap=True)


@account.command(short_help='Give an account another role.')
@click.argument('name')
@click.argument('role', type=click.Choice(_ROLES))
@click.pass_obj
def role(folder: Path, name: str, role: str) -> None:
    """
    Give an account another role.
    """
    from anomaly_inspection.panel.people.roles import role_of

    people = _people(folder)
    known = people.accounts.existing(name)
    people.accounts.set_role(name, role_of(role))
    people.audit.record(_terminal(), 'set role', subject=known.name, old=known.role.word, new=role)
    people.close()
    console.print(f'{escaped(known.name)} is now {role}', soft_wrap=True)


@account.command(short_help='Keep somebody from logging in.')
@click.argument('name')
@click.pass_obj
def disable(folder: Path, name: str) -> None:
    """
    Keep somebody from logging in. Log-ins and tokens end at once.
    """
    _set_enabled(folder, name, False)


@account.command(short_help='Let somebody log in again.')
@click.argument('name')
@click.pass_obj
def enable(folder: Path, name: str) -> None:
    """
    Let somebody log in again.
    """
    _set_enabled(folder, name, True)


@account.command(short_help='Delete an account with its tokens.')
@click.argument('name')
@click.pass_obj
def delete(folder: Path, name: str) -> None:
    """
    Delete an account with its tokens. What it has done stays on record.
    """
    people = _people(folder)
    known = people.accounts.existing(name)
    people.accounts.delete(name)
    people.audit.record(_terminal(), 'delete account', subject=known.name, old=known.role.word)
    people.close()
    console.print(f'{escaped(known.name)} is deleted', soft_wrap=True)


def _set_enabled(folder: Path, name: str, is_enabled: bool) -> None:
    people = _people(folder)
    known = people.accounts.existing(name)
    people.accounts.set_enabled(name, is_enabled)
    what = 'enable account' if is_enabled else 'disable account'
    people.audit.record(_terminal(), what, subject=known.name)
    people.close()
    may = 'can log in' if is_enabled else 'can no longer log in'
    console.print(f'{escaped(known.name)} {may}', soft_wrap=True)


def _people(folder: Path) -> People:
    try:
        from anomaly_inspection.panel.people.people import People
    except ModuleNotFoundError as error:
        if error.name != 'argon2':
            raise
        raise SettingError(
            "argon2-cffi is missing, which keeps the passwords: pip install 'argon2-cffi>=21.3'"
        ) from error
    return People(folder)


def _terminal() -> Visitor:
    from anomaly_inspection.panel.people.roles import Role, Visitor

    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = 'unknown user'
    return Visitor(user, Role.ENGINEER, 'terminal')


def _password(from_input: bool) -> str:
    if not from_input:
        entered: str = click.prompt('Password', hide_input=True, confirmation_prompt=True)
        return entered
    line = sys.stdin.buffer.readline(_MOST_BYTES)
    try:
        return line.decode().rstrip('\r\n')
    except UnicodeDecodeError:
        raise SettingError('the password on the input is not UTF-8') from None
