# SPDX-License-Identifier: Apache-2.0
"""
`bin/anomaly-inspection`: the command from a checkout, in a shell where nothing is sourced.

"""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess

import pytest

from anomaly_inspection import __version__
from support.drawn_plate import write_plates
from support.paths import ROOT

COMMAND = ROOT / 'bin' / 'anomaly-inspection'


def run_bare(command: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """
    Run a command with hardly any environment.

    """
    kept = {key: os.environ[key] for key in ('HOME', 'ROS_DISTRO') if key in os.environ}
    return subprocess.run(
        [str(command), *arguments],
        cwd=folder,
        env={**kept, 'PATH': '/usr/local/bin:/usr/bin:/bin'},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(
    not (ROOT / 'install' / 'setup.bash').is_file(), reason='the workspace is not built'
)
def test_the_command_works_in_a_bare_shell_and_takes_paths_from_there(tmp_path: Path) -> None:
    write_plates(tmp_path / 'good parts', 12)
    (tmp_path / 'link').symlink_to(COMMAND)
    version = run_bare(tmp_path / 'link', '--version', folder=tmp_path)
    assert __version__ in version.stdout, version.stderr
    taught = run_bare(COMMAND, 'teach', 'good parts', '--recipe', 'recipes/plate', folder=tmp_path)
    assert taught.returncode == 0, taught.stderr
    assert (tmp_path / 'recipes' / 'plate' / 'recipe.yaml').is_file()
    assert run_bare(COMMAND, 'teach', 'missing', '--recipe', 'x', folder=tmp_path).returncode == 2


def test_a_checkout_without_a_build_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / 'bin').mkdir()
    shutil.copy(COMMAND, tmp_path / 'bin')
    done = run_bare(tmp_path / 'bin' / COMMAND.name, '--help', folder=tmp_path)
    assert done.returncode == 2
    assert f'make -C {tmp_path} build' in done.stderr
