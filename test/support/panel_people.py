# SPDX-License-Identifier: Apache-2.0
"""
Accounts for the tests of the operator's page, and the way in.

"""

from __future__ import annotations

from typing import Any

from anomaly_inspection.panel.people.people import People
from anomaly_inspection.panel.people.roles import Role
from anomaly_inspection.state_file import default_state_folder

PASSWORD = 'correct horse battery'


def add_accounts(people: People | None = None) -> None:
    """
    Add 'viewer', 'operator' and 'engineer', each with the role of its name.

    Without `people` they are those of the nodes that the test starts.

    """
    own = people or People(default_state_folder() / 'people')
    for role in Role:
        if own.accounts.named(role.word) is None:
            own.accounts.add(role.word, PASSWORD, role)
    if people is None:
        own.close()


def log_in(page: Any, address: str, role: str = 'engineer') -> None:
    """
    Log in on the page as a person does, and go on to the Line page.

    """
    add_accounts()
    page.goto(f'{address}log-in')
    page.locator('#name').fill(role)
    page.locator('#password').fill(PASSWORD)
    page.locator('button[type=submit]').click()
    page.wait_for_url(address)
