# SPDX-License-Identifier: Apache-2.0
"""
Threads that work on frames: results in order, what hangs, what fails, and the end.

"""

from contextlib import contextmanager
import threading
import time

import pytest

pytest.importorskip('rclpy', reason='the room of the nodes needs ROS 2')

from anomaly_inspection.nodes.frame_workers import FrameWorkers

WAIT_S = 20.0


class Bench:
    """
    Workers whose frames are numbers; each is held until the test lets it go.

    """

    def __init__(self, count, most_waiting=100, held=()):
        self.gates = {frame: threading.Event() for frame in held}
        self.begun = {}
        self.delivered = []
        self.errors = []
        self.heard = threading.Condition()
        self.workers = FrameWorkers(
            count, most_waiting, work=self.work, deliver=self.deliver, fail=self.fail
        )

    def work(self, frame):
        with self.heard:
            self.begun[frame] = threading.current_thread().name
            self.heard.notify_all()
        if frame in self.gates:
            assert self.gates[frame].wait(WAIT_S)
        if frame < 0:
            raise ZeroDivisionError(f'frame {frame}')
        return 10 * frame

    def deliver(self, frame, result):
        assert result == 10 * frame
        with self.heard:
            self.delivered.append(frame)
            self.heard.notify_all()

    def fail(self, error):
        with self.heard:
            self.errors.append(str(error))
            self.heard.notify_all()

    def wait(self, condition):
        with self.heard:
            assert self.heard.wait_for(condition, WAIT_S)


@contextmanager
def bench(*given, **options):
    made = Bench(*given, **options)
    try:
        yield made
    finally:
        for gate in made.gates.values():
            gate.set()
        assert made.workers.close(WAIT_S)


def test_results_come_in_the_order_of_the_frames_whoever_is_ready_first():
    with bench(3, held=(1,)) as it:
        for frame in (1, 2, 3, 4):
            it.workers.put(frame)
        it.wait(lambda: set(it.begun) == {1, 2, 3, 4})
        assert it.delivered == []
        it.gates[1].set()
        it.wait(lambda: it.delivered == [1, 2, 3, 4])


@pytest.mark.parametrize('count', [1, 2, 4])
def test_frames_of_unequal_cost_keep_their_order(count):
    with bench(count) as it:
        work = it.work
        cost_s = {0: 0.004, 1: 0.0, 2: 0.001}

        def unequal(frame):
            time.sleep(cost_s[frame % 3])
            return work(frame)

        it.workers._work = unequal
        frames = list(range(60))
        for frame in frames:
            it.workers.put(frame)
        it.wait(lambda: len(it.delivered) == len(frames))
        assert it.delivered == frames


def test_new_frames_take_the_place_of_the_oldest_that_wait():
    with bench(1, most_waiting=2, held=(1,)) as it:
        it.workers.put(1)
        it.wait(lambda: 1 in it.begun)
        assert [it.workers.put(frame) for frame in (2, 3, 4, 5)] == [0, 0, 1, 1]
        it.gates[1].set()
        it.wait(lambda: it.delivered == [1, 4, 5])
    assert set(it.begun) == {1, 4, 5}


def test_an_error_takes_one_frame_and_no_other():
    with bench(2) as it:
        for frame in (1, -2, 3, -4, 5):
            it.workers.put(frame)
        it.wait(lambda: it.delivered == [1, 3, 5] and len(it.errors) == 2)
        assert it.errors == ['frame -2', 'frame -4']


def test_an_error_of_the_delivery_takes_one_frame_and_no_other():
    with bench(2) as it:
        deliver = it.deliver
        it.workers._deliver = lambda frame, result: deliver(frame, 0 if frame == 2 else result)
        for frame in (1, 2, 3):
            it.workers.put(frame)
        it.wait(lambda: it.delivered == [1, 3] and len(it.errors) == 1)


def test_a_frame_that_hangs_holds_the_others_up_until_it_is_overdue():
    with bench(2, held=(1,)) as it:
        it.workers.put(1)
        it.wait(lambda: 1 in it.begun)
        for frame in (2, 3):
            it.workers.put(frame)
        it.wait(lambda: 3 in it.begun)
        assert not it.workers.release(lambda frame: False)
        assert it.delivered == []
        assert it.workers.release(lambda frame: frame == 1)
        it.workers.put(4)
        it.wait(lambda: it.delivered == [2, 3, 4])
        it.gates[1].set()
        it.wait(lambda: it.delivered == [2, 3, 4, 1])
        assert not it.workers.release(lambda frame: True)


def test_nothing_is_delivered_after_the_end():
    it = Bench(2, held=(1,))
    for frame in (1, 2, 3):
        it.workers.put(frame)
    it.wait(lambda: 3 in it.begun)
    ended = []
    closing = threading.Thread(target=lambda: ended.append(it.workers.close(WAIT_S)))
    closing.start()
    # The thread that is not held ends at once.
    (free,) = (each for each in it.workers._threads if each.name != it.begun[1])
    free.join(WAIT_S)
    it.gates[1].set()
    closing.join(WAIT_S)
    assert ended == [True]
    assert it.delivered == []
    assert not any(thread.is_alive() for thread in it.workers._threads)


def test_the_end_does_not_wait_for_what_hangs():
    it = Bench(2, held=(1,))
    it.workers.put(1)
    it.wait(lambda: 1 in it.begun)
    assert it.workers.close(0.0) is False
    it.gates[1].set()
    for thread in it.workers._threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert it.delivered == []
