# SPDX-License-Identifier: Apache-2.0
"""
State that outlives a process: who finds it, and what a broken file does.

"""

from __future__ import annotations

import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import threading

import pytest

from anomaly_inspection.errors import StateError
from anomaly_inspection.state_file import default_state_folder, FoundState, StateFile, StateKeeper
from support.paths import ROOT

# Writes its argument to the file, after it has said what it found.
PROCESS = """
import json, sys
from pathlib import Path
from anomaly_inspection.state_file import StateFile
file = StateFile(Path(sys.argv[1]))
print(json.dumps([file.found.content, file.found.is_respawn, file.found.problem]))
file.write({'word': sys.argv[2]})
"""


def run_process(path: Path, word: str, *, from_a_shell: bool = False) -> tuple[object, bool]:
    command = [sys.executable, '-c', PROCESS, str(path), word]
    if from_a_shell:
        # With a second command the shell stays, and is the parent.
        command = ['sh', '-c', '"$@"; true', 'sh', *command]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    content, is_respawn, problem = json.loads(answer.stdout)
    assert not problem
    return content, is_respawn


def test_a_process_of_the_same_parent_is_a_respawn_and_one_of_another_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'inspection' / 'sorter.json'
    assert run_process(path, 'first') == (None, False)
    assert run_process(path, 'second') == ({'word': 'first'}, True)
    assert run_process(path, 'third', from_a_shell=True) == ({'word': 'second'}, False)
    assert run_process(path, 'fourth', from_a_shell=True) == ({'word': 'third'}, False)


def test_after_a_restart_of_the_machine_every_start_is_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'sorter.json'
    StateFile(path).write({'a': 1})
    monkeypatch.setattr('anomaly_inspection.state_file.steady_clock_id', lambda: 'another boot')
    assert StateFile(path).found == FoundState({'a': 1}, is_respawn=False)


def test_what_was_found_stays_as_it_was(tmp_path: Path) -> None:
    file = StateFile(tmp_path / 'sorter.json')
    file.write({'a': 1})
    assert file.found == FoundState()
    assert StateFile(tmp_path / 'sorter.json').found == FoundState({'a': 1}, is_respawn=True)


WHOLE = {'format': 1, 'version': 1, 'writer': {}, 'content': {}}


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('', 'Expecting value'),
        ('{"format": 1', 'delimiter'),
        ('[' * 100_000, 'recursion'),
        ('[1]', 'indices'),
        ('{}', 'format'),
        (json.dumps({**WHOLE, 'version': 2}), 'it is of version 1.2, wanted is 1.1'),
        (json.dumps({**WHOLE, 'content': 3}), 'its content is 3'),
        (b'\xff\xfe', 'utf-8'),
        (b' ' * 2_000_000, 'at most 1,000,000 bytes'),
    ],
)
def test_a_broken_file_is_a_problem_in_one_sentence(
    tmp_path: Path, text: str | bytes, words: str
) -> None:
    path = tmp_path / 'sorter.json'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = StateFile(path).found
    assert (found.content, found.is_respawn) == (None, False)
    assert found.problem.startswith(f'cannot read the state in {path}: ')
    assert words in found.problem
    assert '\n' not in found.problem


def test_what_is_no_regular_file_is_a_problem_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'fifo.json')
    (tmp_path / 'folder.json').mkdir()
    for name in ('fifo.json', 'folder.json'):
        assert 'cannot read the state' in StateFile(tmp_path / name).found.problem
    with pytest.raises(StateError, match='cannot write the state to'):
        StateFile(tmp_path / 'folder.json').write({})
    assert sorted(os.listdir(tmp_path)) == ['fifo.json', 'folder.json']


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(StateError, match=r'cannot write the state to .*file/sorter.json: '):
        StateFile(tmp_path / 'file' / 'sorter.json').write({})


def test_without_a_place_nothing_is_kept() -> None:
    file = StateFile(None)
    file.write({'a': 1})
    assert file.found == FoundState()


def test_a_writer_that_is_killed_leaves_a_whole_state(tmp_path: Path) -> None:
    path = tmp_path / 'sorter.json'
    script = (
        'import sys\nfrom pathlib import Path\n'
        'from anomaly_inspection.state_file import StateFile\n'
        'file = StateFile(Path(sys.argv[1]))\n'
        'count = 0\n'
        'while True:\n'
        "    file.write({'count': count, 'ballast': 'x' * 100_000})\n"
        '    if not count:\n'
        "        print('written', flush=True)\n"
        '    count += 1\n'
    )
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, '-c', script, str(path)], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b'written\n'
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        content = StateFile(path).found.content
        assert content is not None
        assert len(content['ballast']) == 100_000


def test_what_a_slow_disk_has_not_yet_is_found_after_a_kill(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / 'state.json'
    is_waiting, goes_on = threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        is_waiting.set()
        assert goes_on.wait(20)

    monkeypatch.setattr(os, 'fsync', slow)
    keeper = StateKeeper(StateFile(path), lambda problem: None)
    keeper.keep({'line': 'stopped'})
    assert is_waiting.wait(20)
    assert json.loads(path.read_text())['content'] == {'line': 'stopped'}
    goes_on.set()
    keeper.close()


def test_the_folder_lies_in_ros_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    assert default_state_folder() == tmp_path / 'anomaly_inspection' / 'state'
    monkeypatch.delenv('ROS_HOME')
    monkeypatch.setenv('HOME', '/home/someone')
    assert default_state_folder() == Path('/home/someone/.ros/anomaly_inspection/state')


def test_a_keeper_writes_the_newest_and_says_what_went_wrong(tmp_path: Path) -> None:
    told: list[str] = []
    goes_on, is_writing = threading.Event(), threading.Event()

    class SlowDisk(StateFile):
        def write(self, content: dict[str, object]) -> None:
            is_writing.set()
            assert goes_on.wait(20)
            super().write(content)

    path = tmp_path / 'a' / 'sorter.json'
    keeper = StateKeeper(SlowDisk(path), told.append)
    keeper.keep({'count': 0})
    assert is_writing.wait(20)
    for count in range(1, 10):
        keeper.keep({'count': count})
    goes_on.set()
    keeper.close()
    assert told == ['', ''], 'what was overtaken is not written'
    assert StateFile(path).found.content == {'count': 9}

    (tmp_path / 'file').write_text('')
    keeper = StateKeeper(StateFile(tmp_path / 'file' / 'sorter.json'), told.append)
    keeper.keep({})
    keeper.close()
    assert 'cannot write the state' in told[-1]
