# SPDX-License-Identifier: Apache-2.0
"""
The command `anomaly-inspection recipe`: out of one library and into another.

"""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
import pytest

from anomaly_inspection.cli import main
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from support.handmade_recipe import made_recipe


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ['recipe', *map(str, arguments)])


@pytest.fixture
def pump(tmp_path: Path) -> Path:
    write_recipe(made_recipe(), tmp_path / 'one' / 'pump_body-2')
    (tmp_path / 'two').mkdir()
    return tmp_path / 'one' / 'pump_body-2'


def test_out_of_one_library_and_into_another(pump: Path, tmp_path: Path) -> None:
    archive = tmp_path / 'pump.zip'
    result = run('export', pump, archive)
    assert (result.exit_code, result.output) == (0, f'{archive} holds the recipe\n')
    result = run('import', archive, tmp_path / 'two')
    assert result.output == 'pump_body-2 version 1 is in the library now\n'
    assert read_recipe(tmp_path / 'two' / 'pump_body-2').hash == read_recipe(pump).hash


def test_what_cannot_be_done_is_said_and_leaves_nothing(pump: Path, tmp_path: Path) -> None:
    archive = tmp_path / 'pump.zip'
    archive.write_bytes(b'not ours')
    assert run('export', pump, archive).exit_code == 2
    assert archive.read_bytes() == b'not ours'
    assert run('import', archive, tmp_path / 'two').exit_code == 2
    assert list((tmp_path / 'two').iterdir()) == []
    (pump / 'notes.txt').touch()
    assert run('export', pump, tmp_path / 'other.zip').exit_code == 2
    assert not (tmp_path / 'other.zip').exists()
