# SPDX-License-Identifier: Apache-2.0
"""
That the arrays of one frame are not given back to the kernel before the next.

"""

import subprocess
import sys

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

# In a thread, as nodes run, and in a process of its own: the setting lasts as long as that.
PROGRAM = """
import resource, sys, threading
import numpy as np
from anomaly_inspection.nodes.freed_memory import keep_freed_memory

def frames(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        arrays = [np.ones((480, 640), np.float32) for _ in range(8)]
        del arrays
    faults.append((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / count)

def run():
    frames(5)
    frames(50)

faults = []
if sys.argv[1] == 'keep' and not keep_freed_memory():
    sys.exit(77)
thread = threading.Thread(target=run)
thread.start()
thread.join()
print(faults[1])
"""


def faults_per_frame(word: str) -> float:
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, word], capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip('this C library has no mallopt')
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_a_thread_gets_its_memory_back_without_page_faults():
    assert faults_per_frame('keep') < 20
