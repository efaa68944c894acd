# SPDX-License-Identifier: Apache-2.0
"""
The recorder: what it has told is on the disk, and nobody waits for it.

"""

from datetime import datetime, UTC
import threading

import numpy as np
import pytest

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.teaching.recorder import ImageRecorder, WAITING_PARTS
from anomaly_inspection.teaching.session import TeachingFolder

WAIT_S = 20.0


@pytest.fixture
def session(tmp_path):
    return TeachingFolder(tmp_path).begin('pump', datetime(2026, 1, 31, tzinfo=UTC))


class Told:
    """
    Collects what a recorder says.

    """

    def __init__(self, session, wanted=0):
        self.images, self.errors = [], []
        self.changed = threading.Condition()
        self.is_finished = threading.Event()
        self.recorder = ImageRecorder(
            session,
            wanted,
            told=lambda image: self._take(self.images, image),
            failed=lambda error: self._take(self.errors, error),
            finished=self.is_finished.set,
        )

    def _take(self, store, value):
        with self.changed:
            store.append(value)
            self.changed.notify_all()

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_S)


def picture(number):
    return np.random.default_rng(number).integers(40, 200, (48, 64), np.uint8)


def test_each_part_is_on_the_disk_when_it_is_told(session):
    on_disk = []
    told = Told(session)
    told.recorder._told = lambda image: on_disk.append(image.name in session.image_names())
    for number in range(5):
        told.recorder.put(lambda number=number: picture(number))
    told.recorder.close()
    assert on_disk == [True] * 5


def test_the_wanted_number_is_recorded_and_no_more(session):
    told = Told(session, wanted=3)
    for number in range(6):
        told.recorder.put(lambda number=number: picture(number))
    assert told.is_finished.wait(WAIT_S)
    assert len(session.image_names()) == 3
    assert told.recorder.dropped == 0


def test_an_unreadable_part_is_told_and_another_one_takes_its_place(session):
    def broken():
        raise FrameError('it has 3 bytes')

    told = Told(session, wanted=2)
    told.recorder.put(broken)
    told.wait(lambda: len(told.images) == 1)
    assert told.images[0].hint.code == 'unreadable'
    assert '3 bytes' in told.images[0].hint.sentence
    for number in range(2):
        told.recorder.put(lambda number=number: picture(number))
    assert told.is_finished.wait(WAIT_S)
    assert len(session.image_names()) == 2


def test_a_slow_disk_drops_parts_and_counts_them_while_nobody_waits(session):
    disk = threading.Event()
    begun = threading.Event()

    def slow():
        begun.set()
        assert disk.wait(WAIT_S)
        return picture(1)

    told = Told(session)
    told.recorder.put(slow)
    assert begun.wait(WAIT_S)
    for number in range(WAITING_PARTS + 4):
        told.recorder.put(lambda number=number: picture(number))
    assert told.recorder.dropped == 4
    disk.set()
    told.recorder.close()
    assert len(session.image_names()) == 1 + WAITING_PARTS


def test_a_stop_writes_what_has_come(session):
    told = Told(session)
    for number in range(4):
        told.recorder.put(lambda number=number: picture(number))
    told.recorder.close()
    assert len(session.image_names()) == 4
    told.recorder.put(lambda: picture(9))
    assert len(session.image_names()) == 4


def test_a_disk_that_fails_ends_the_recording_with_its_reason(session, monkeypatch):
    told = Told(session)

    def refuse(image):
        raise SettingError('cannot write images: No space left on device')

    monkeypatch.setattr(session, 'add', refuse)
    told.recorder.put(lambda: picture(1))
    told.wait(lambda: told.errors)
    assert 'No space left' in str(told.errors[0])


def test_a_session_that_goes_on_knows_its_earlier_images(session):
    image = picture(7)
    session.add(image)
    told = Told(session)
    told.recorder.put(lambda: image)
    told.recorder.close()
    assert [one.hint.code for one in told.images] == ['copy']
