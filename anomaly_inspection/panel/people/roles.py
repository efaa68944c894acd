# SPDX-License-Identifier: Apache-2.0
"""
Who somebody is on the operator's page: the three roles, and the visitor behind a request.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import shown


class Role(IntEnum):
    """
    What somebody may do; each role may do all that the ones before it may.

    """

    #: Looks on.
    VIEWER = 1
    #: Runs the line: resets a stop, reviews parts, takes over the potentiometers' values.
    OPERATOR = 2
    #: Sets up the line: limits, teaching, recipes, people.
    ENGINEER = 3

    @property
    def word(self) -> str:
        """
        The role as files, commands and the JSON interface write it.

        """
        return self.name.lower()


def role_of(word: object) -> Role:
    """
    Give the role of a word such as 'operator'.

    Raises
    ------
    SettingError
        When there is no such role.

    """
    for role in Role:
        if role.word == word:
            return role
    allowed = ', '.join(role.word for role in Role)
    raise SettingError(f'role is {shown(word)}; allowed: {allowed}')


@dataclass(frozen=True)
class Visitor:
    """
    Who makes a request.

    Parameters
    ----------
    name : str
        Name of the account; '' for nobody, as a screen on the wall.
    role : Role
        What the visitor may do now.
    address : str
        Where the request comes from: an IP address, or 'terminal'.
    account_id : str
        The account, which may be renamed; '' for nobody.
    session : str
        Key of the log-in, a hash; '' where there is none.
    token_id : str
        The API token that was shown; '' where it was none.
    must_change_password : bool
        Whether somebody else chose the password. The visitor has the role of a viewer until the
        password is changed.

    """

    name: str
    role: Role
    address: str = ''
    account_id: str = ''
    session: str = ''
    token_id: str = ''
    must_change_password: bool = False

    @property
    def may_act(self) -> bool:
        """
        Whether the visitor has a name, and may therefore change anything.

        """
        return self.account_id != ''
