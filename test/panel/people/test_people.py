# SPDX-License-Identifier: Apache-2.0
"""
Log-in, waits, sessions, tokens: who may do what, and what is recorded of it.

"""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path

import pytest

pytest.importorskip('argon2', reason='argon2-cffi is not installed: pip install .[panel]')

from anomaly_inspection.errors import AccessError, SettingError, WaitError
from anomaly_inspection.panel.people import attempts as attempts_module
from anomaly_inspection.panel.people import sessions as sessions_module
from anomaly_inspection.panel.people.attempts import Attempts
from anomaly_inspection.panel.people.people import People
from anomaly_inspection.panel.people.roles import Role, Visitor
from anomaly_inspection.panel.people.sessions import Sessions, SessionTimes
from anomaly_inspection.panel.people.shared_file import SharedFile
from anomaly_inspection.panel.people.tokens import ApiTokens

PASSWORD = 'correct horse battery'
HERE, ELSEWHERE = '127.0.0.1', '192.0.2.7'


class Clock:
    """
    A clock that the test sets.

    """

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    people = People(tmp_path)
    people.accounts.add('anna', PASSWORD, Role.ENGINEER)
    people.accounts.add('ben', PASSWORD, Role.OPERATOR)
    yield people
    people.close()


def logged_in(people: People, name: str) -> Visitor:
    visitor = people.sessions.visitor(people.log_in(name, PASSWORD, HERE), HERE)
    assert visitor is not None
    return visitor


def recorded(people: People, tmp_path: Path) -> list[dict[str, object]]:
    people.close()
    return [json.loads(line) for line in (tmp_path / 'audit.jsonl').read_text().splitlines()]


# Log-in


def test_who_logs_in_has_the_role_of_the_account(people: People) -> None:
    visitor = logged_in(people, 'Ben')
    assert (visitor.name, visitor.role, visitor.address) == ('ben', Role.OPERATOR, HERE)


@pytest.mark.parametrize('name', ['ben', 'nobody', '', '<script>', PASSWORD])
def test_a_wrong_log_in_does_not_say_what_was_wrong(people: People, name: str) -> None:
    with pytest.raises(AccessError, match=r'^the name or the password is wrong$'):
        people.log_in(name, 'a wrong password', HERE)


def test_a_disabled_account_cannot_log_in(people: People) -> None:
    people.accounts.set_enabled('ben', False)
    with pytest.raises(AccessError, match=r'^the name or the password is wrong$'):
        people.log_in('ben', PASSWORD, HERE)


def test_after_ten_wrong_passwords_the_right_one_has_to_wait_too(people: People) -> None:
    outcomes = []
    for _ in range(10):
        with pytest.raises(AccessError) as refused:
            people.log_in('ben', 'a wrong password', HERE)
        outcomes.append(type(refused.value))
    assert outcomes == [AccessError] * 5 + [WaitError] * 5
    with pytest.raises(WaitError, match='wait 5 s'):
        people.log_in('ben', PASSWORD, ELSEWHERE)
    # The others, and who is logged in, are not concerned.
    logged_in(people, 'anna')


def test_nothing_secret_is_recorded_or_kept(people: People, tmp_path: Path) -> None:
    secret = people.log_in('ben', PASSWORD, HERE)
    anna = logged_in(people, 'anna')
    token, _ = people.create_token(anna, 'plc', Role.VIEWER, 30)
    first = people.add(anna, 'carl', Role.VIEWER)
    # The password in the field of the name.
    with pytest.raises(AccessError):
        people.log_in('my secret phrase', 'my secret phrase', HERE)
    people.close()
    kept = ''.join(path.read_text() for path in tmp_path.iterdir() if path.is_file())
    # The secret of a token may hold underscores; it has 43 characters.
    for text in (secret, token, token[-43:], first, PASSWORD, 'my secret phrase'):
        assert text not in kept


# Waits


def attempts_on(path: Path, clock: Clock, boot_id: str = 'boot') -> Attempts:
    file = SharedFile(path, attempts_module.EMPTY, is_disposable=True)
    return Attempts(file, clock, boot_id)


def test_the_wait_grows_to_five_minutes_for_an_account(tmp_path: Path) -> None:
    clock = Clock()
    attempts = attempts_on(tmp_path / 'attempts.json', clock)
    waits = []
    for number in range(14):
        # From another address each time.
        attempts.failed('ben', f'192.0.2.{number}')
        waits.append(attempts.wait_s('ben', HERE))
    assert waits == [0, 0, 0, 0, 5, 10, 20, 40, 80, 160, 300, 300, 300, 300]
    clock.now_s += 299
    assert attempts.wait_s('BEN ', HERE) == 1
    clock.now_s += 1
    assert attempts.wait_s('ben', HERE) == 0


def test_an_address_that_tries_many_names_waits(tmp_path: Path) -> None:
    attempts = attempts_on(tmp_path / 'attempts.json', Clock())
    for number in range(12):
        attempts.failed(f'name {number}', ELSEWHERE)
    assert attempts.wait_s('ben', ELSEWHERE) == 20
    assert attempts.wait_s('ben', HERE) == 0


@pytest.mark.parametrize(
    ('one', 'other', 'is_same'),
    [
        ('2001:db8::1', '2001:db8::ffff:2', True),
        ('2001:db8::1', '2001:db8:0:1::1', False),
        ('::ffff:192.0.2.7', '192.0.2.7', True),
        ('192.0.2.7', '192.0.2.8', False),
        ('fe80::1%eth0', 'fe80::1', True),
        ('', 'unix', True),
    ],
)
def test_a_network_of_one_customer_is_one_address(
    tmp_path: Path, one: str, other: str, is_same: bool
) -> None:
    attempts = attempts_on(tmp_path / 'attempts.json', Clock())
    for number in range(12):
        attempts.failed(f'name {number}', one)
    assert (attempts.wait_s('ben', other) > 0) == is_same


def test_a_wait_outlives_the_panel_and_the_machine(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / 'attempts.json'
    for _ in range(8):
        attempts_on(path, clock).failed('ben', HERE)
    clock.now_s += 10
    assert attempts_on(path, clock).wait_s('ben', ELSEWHERE) == 30
    clock.now_s = 3.0
    assert attempts_on(path, clock, 'next boot').wait_s('ben', ELSEWHERE) == 40


def test_a_success_forgets_the_account_and_an_hour_forgets_all(tmp_path: Path) -> None:
    clock = Clock()
    attempts = attempts_on(tmp_path / 'attempts.json', clock)
    for _ in range(12):
        attempts.failed('ben', ELSEWHERE)
    attempts.succeeded('ben')
    assert attempts.wait_s('ben', HERE) == 0
    assert attempts.wait_s('ben', ELSEWHERE) > 0
    clock.now_s += 3600
    assert attempts.wait_s('ben', ELSEWHERE) == 0


def test_waits_hold_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = attempts_on(tmp_path / 'attempts.json', Clock())
    fill_the_disk(monkeypatch)
    for _ in range(6):
        attempts.failed('ben', HERE)
    assert attempts.wait_s('ben', HERE) == 10


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('anomaly_inspection.panel.people.shared_file.replace_file', full)


# Sessions


def sessions_on(people: People, path: Path, clock: Clock, boot_id: str = 'boot') -> Sessions:
    file = SharedFile(path, sessions_module.EMPTY, is_disposable=True)
    return Sessions(file, people.accounts, SessionTimes(600, 3600), clock, boot_id)


def test_a_session_ends_after_idle_and_absolute_time(people: People, tmp_path: Path) -> None:
    clock = Clock()
    sessions = sessions_on(people, tmp_path / 's.json', clock)
    secret = sessions.begin(people.accounts.existing('ben'), HERE)
    for _ in range(6):
        clock.now_s += 599
        assert sessions.visitor(secret, HERE) is not None
    clock.now_s += 6
    assert sessions.visitor(secret, HERE) is None
    secret = sessions.begin(people.accounts.existing('ben'), HERE)
    clock.now_s += 300
    # A page that refreshes itself keeps nobody logged in.
    assert sessions.visitor(secret, HERE, is_active=False) is not None
    clock.now_s += 300
    assert sessions.visitor(secret, HERE) is None


def test_a_session_outlives_the_panel_and_not_the_machine(people: People, tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / 's.json'
    secret = sessions_on(people, path, clock).begin(people.accounts.existing('ben'), HERE)
    assert sessions_on(people, path, clock).visitor(secret, HERE) is not None
    assert sessions_on(people, path, clock, 'next boot').visitor(secret, HERE) is None


def test_a_session_cannot_be_guessed_or_made_from_the_file(people: People, tmp_path: Path) -> None:
    clock = Clock()
    sessions = sessions_on(people, tmp_path / 's.json', clock)
    secret = sessions.begin(people.accounts.existing('ben'), HERE)
    (key,) = json.loads((tmp_path / 's.json').read_text())['sessions']
    assert len(secret) >= 43
    for guess in ('', key, secret[:-1], secret + 'x', '\ud800'):
        assert sessions.visitor(guess, HERE) is None


def test_people_log_in_on_a_full_disk(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_the_disk(monkeypatch)
    assert logged_in(people, 'ben').role is Role.OPERATOR


def test_the_oldest_log_in_ends_when_there_are_too_many(people: People, tmp_path: Path) -> None:
    sessions = sessions_on(people, tmp_path / 's.json', Clock())
    ben = people.accounts.existing('ben')
    secrets = [sessions.begin(ben, HERE) for _ in range(21)]
    alive = [sessions.visitor(secret, HERE) is not None for secret in secrets]
    assert alive == [False] + [True] * 20


def test_a_change_of_the_account_counts_at_once(people: People) -> None:
    anna, ben = logged_in(people, 'anna'), logged_in(people, 'ben')
    people.set_role(anna, 'ben', Role.VIEWER)
    assert people.now(ben).role is Role.VIEWER
    people.rename(anna, 'ben', 'Benjamin')
    assert people.now(ben).name == 'Benjamin'
    people.log_out_everywhere(anna, 'Benjamin')
    assert people.now(ben) is None
    assert people.now(anna) is not None
    for end in (people.reset_password, people.delete):
        other = logged_in(people, 'Benjamin')
        end(anna, 'Benjamin')
        assert people.now(other) is None
        if end == people.reset_password:
            people.accounts.set_password('Benjamin', PASSWORD)


def test_logging_out_ends_one_log_in(people: People) -> None:
    one, other = logged_in(people, 'ben'), logged_in(people, 'ben')
    people.log_out(one)
    assert people.now(one) is None
    assert people.now(other) is not None


# The first engineer


def test_the_code_makes_the_first_engineer_once(tmp_path: Path) -> None:
    people = People(tmp_path)
    code = people.new_code()
    assert code is not None
    with pytest.raises(SettingError, match='9 characters'):
        people.add_first_engineer(code, 'anna', 'too short', HERE)
    secret = people.add_first_engineer(code.lower().replace('-', ' '), 'anna', PASSWORD, HERE)
    assert people.sessions.visitor(secret, HERE).role is Role.ENGINEER
    with pytest.raises(AccessError):
        people.add_first_engineer(code, 'eve', PASSWORD, HERE)
    assert people.new_code() is None
    people.close()


def test_a_code_is_worth_nothing_once_a_command_has_made_an_engineer(tmp_path: Path) -> None:
    people = People(tmp_path)
    code = people.new_code()
    assert people.takes_code()
    People(tmp_path).accounts.add('anna', PASSWORD, Role.ENGINEER)
    assert not people.takes_code()
    with pytest.raises(SettingError, match='already'):
        people.add_first_engineer(code, 'eve', PASSWORD, HERE)


def test_guessing_the_code_has_to_wait(tmp_path: Path) -> None:
    people = People(tmp_path)
    code = people.new_code()
    for _ in range(5):
        with pytest.raises(AccessError, match='the code is wrong'):
            people.add_first_engineer('AAAA-BBBB-CCCC', 'eve', PASSWORD, HERE)
    with pytest.raises(WaitError):
        people.add_first_engineer(code, 'eve', PASSWORD, HERE)


# Who may do what


CHANGES = {
    'add': lambda people, visitor: people.add(visitor, 'carl', Role.VIEWER),
    'reset_password': lambda people, visitor: people.reset_password(visitor, 'anna'),
    'set_role': lambda people, visitor: people.set_role(visitor, 'ben', Role.ENGINEER),
    'set_enabled': lambda people, visitor: people.set_enabled(visitor, 'ben', True),
    'rename': lambda people, visitor: people.rename(visitor, 'ben', 'benny'),
    'delete': lambda people, visitor: people.delete(visitor, 'ben'),
    'log_out_everywhere': lambda people, visitor: people.log_out_everywhere(visitor, 'anna'),
    'create_token': lambda people, visitor: people.create_token(visitor, 'x', Role.ENGINEER, 1),
    'change_own_password': lambda people, visitor: people.change_own_password(
        visitor, 'wrong password', PASSWORD + 'x'
    ),
}


@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('who', ['nobody', 'wall', 'operator', 'token', 'logged out'])
def test_only_engineers_change_accounts(
    people: People, tmp_path: Path, change: str, who: str
) -> None:
    anna = logged_in(people, 'anna')
    secret, _ = people.create_token(anna, 'plc', Role.ENGINEER, 1)
    gone = logged_in(people, 'anna')
    people.log_out(gone)
    visitors = {
        'nobody': Visitor('', Role.VIEWER, HERE),
        # Even if somebody made such a visitor by mistake.
        'wall': Visitor('', Role.ENGINEER, HERE),
        'operator': logged_in(people, 'ben'),
        'token': people.tokens.visitor(secret, HERE),
        'logged out': gone,
    }
    before = (tmp_path / 'accounts.json').read_text()
    with pytest.raises((AccessError, SettingError)):
        CHANGES[change](people, visitors[who])
    assert (tmp_path / 'accounts.json').read_text() == before


def test_a_password_that_somebody_else_chose_only_lets_look(people: People) -> None:
    anna = logged_in(people, 'anna')
    password = people.add(anna, 'carl', Role.ENGINEER)
    carl = people.sessions.visitor(people.log_in('carl', password, HERE), HERE)
    assert carl.role is Role.VIEWER
    with pytest.raises(AccessError, match='password of your own'):
        people.delete(carl, 'ben')
    with pytest.raises(SettingError, match='choose another'):
        people.change_own_password(carl, password, password)
    secret = people.change_own_password(carl, password, PASSWORD)
    assert people.now(carl) is None
    assert people.sessions.visitor(secret, HERE).role is Role.ENGINEER


def test_changes_say_who_what_old_and_new(people: People, tmp_path: Path) -> None:
    anna, ben = logged_in(people, 'anna'), logged_in(people, 'ben')
    people.set_role(anna, 'ben', Role.VIEWER)
    with pytest.raises(AccessError):
        people.set_role(ben, 'ben', Role.ENGINEER)
    change, refused = recorded(people, tmp_path)[-2:]
    assert change.pop('when')
    assert change == {
        'who': 'anna',
        'from': HERE,
        'what': 'set role',
        'subject': 'ben',
        'old': 'operator',
        'new': 'viewer',
    }
    assert (refused['who'], refused['refused']) == ('ben', True)
    assert refused['why'] == 'needs the role engineer'


# Tokens


def test_a_token_may_do_what_it_says_and_no_more_than_its_owner(people: People) -> None:
    anna, ben = logged_in(people, 'anna'), logged_in(people, 'ben')
    with pytest.raises(SettingError, match='may not do more than its owner'):
        people.create_token(ben, 'plc', Role.ENGINEER, 1)
    secret, _ = people.create_token(ben, 'plc', Role.OPERATOR, 1)
    assert people.tokens.visitor(secret, HERE).role is Role.OPERATOR
    people.set_role(anna, 'ben', Role.VIEWER)
    assert people.tokens.visitor(secret, HERE).role is Role.VIEWER
    assert [known.role for known in people.tokens.all('ben')] == [Role.VIEWER]
    people.set_enabled(anna, 'ben', False)
    assert people.tokens.visitor(secret, HERE) is None
    people.delete(anna, 'ben')
    assert people.tokens.all() == []


def test_tokens_expire_and_are_revoked(people: People) -> None:
    clock = Clock()
    tokens = ApiTokens(people.tokens._file, people.accounts, clock)
    secret, token = tokens.create('ben', 'plc', Role.VIEWER, 2)
    clock.now_s += 2 * 86400 - 1
    assert tokens.visitor(secret, HERE) is not None
    clock.now_s += 1
    assert tokens.visitor(secret, HERE) is None
    anna, ben = logged_in(people, 'anna'), logged_in(people, 'ben')
    of_anna, hers = people.create_token(anna, 'hers', Role.VIEWER, 1)
    with pytest.raises(AccessError):
        people.revoke_token(ben, hers.id)
    people.revoke_token(ben, token.id)
    people.revoke_token(anna, hers.id)
    assert people.tokens.visitor(of_anna, HERE) is None
    with pytest.raises(SettingError, match='no token'):
        people.revoke_token(anna, hers.id)


@pytest.mark.parametrize(('days', 'label'), [(0, 'x'), (3651, 'x'), (1, ''), (1, 'x' * 61)])
def test_tokens_with_wrong_settings_are_refused(people: People, days: int, label: str) -> None:
    with pytest.raises(SettingError, match='allowed: '):
        people.create_token(logged_in(people, 'anna'), label, Role.VIEWER, days)


def test_a_changed_token_is_worth_nothing(people: People) -> None:
    secret, token = people.create_token(logged_in(people, 'ben'), 'plc', Role.VIEWER, 1)
    for guess in ('', token.id, secret[:-1], secret + '\n', secret.replace(token.id, '0' * 12)):
        assert people.tokens.visitor(guess, HERE) is None
