# SPDX-License-Identifier: Apache-2.0
"""
Shared memory that dead programs have left is given back; that of the living stays.

"""

from contextlib import suppress
import fcntl
import os
import time

import pytest

from anomaly_inspection.nodes.left_segments import _SHARED_MEMORY, remove_left_segments

DEAD, ALIVE, YOUNG = ('fastdds_' + f'{number:016x}' for number in (10, 11, 12))
OLD = 'fastrtps_' + f'{13:016x}'
PORT = 'fastdds_port7400'


def segment(folder, name, *, age_s=60.0):
    (folder / name).write_bytes(b'messages')
    lock = folder / f'{name}_el'
    lock.touch()
    then = time.time() - age_s
    os.utime(lock, (then, then))
    return lock


def test_segments_that_no_living_program_holds_are_removed(tmp_path):
    for name in (DEAD, ALIVE, OLD, PORT):
        segment(tmp_path, name)
    segment(tmp_path, YOUNG, age_s=1.0)
    (tmp_path / 'of_another_program').touch()
    with open(tmp_path / f'{ALIVE}_el') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert remove_left_segments(tmp_path) == 2
    left = {path.name.removesuffix('_el') for path in tmp_path.iterdir()}
    assert left == {ALIVE, YOUNG, PORT, 'of_another_program'}
    assert len(list(tmp_path.iterdir())) == 7


def test_a_lock_without_its_segment_is_removed_too(tmp_path):
    segment(tmp_path, DEAD)
    (tmp_path / DEAD).unlink()
    assert remove_left_segments(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_such_a_folder_is_left_alone(tmp_path):
    assert remove_left_segments(tmp_path / 'absent') == 0


@pytest.mark.ros
def test_a_node_that_starts_gives_back_what_a_killed_one_left(processes, watcher):
    processes.start('sorter')
    watcher.wait(lambda: watcher.line_stops)
    segments = segments_of(processes.running['sorter'].pid)
    assert segments
    living = segments_of(os.getpid())
    assert living
    processes.kill()
    for name in segments + living:
        os.utime(_SHARED_MEMORY / f'{name}_el', (0, 0))
    heard = len(watcher.line_stops)
    processes.start('sorter')
    watcher.wait(lambda: len(watcher.line_stops) > heard)
    present = set(os.listdir(_SHARED_MEMORY))
    assert present.isdisjoint(segments)
    assert present >= set(living)


def segments_of(pid):
    """
    Name the segments that a process has locked.

    """
    names = []
    for number in os.listdir(f'/proc/{pid}/fd'):
        name = ''
        # The one that lists the folder is gone by now.
        with suppress(FileNotFoundError):
            name = os.path.basename(os.readlink(f'/proc/{pid}/fd/{number}'))
        if name.endswith('_el') and 'port' not in name:
            names.append(name.removesuffix('_el'))
    return names
