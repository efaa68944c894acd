# SPDX-License-Identifier: Apache-2.0
"""
That the arrays of one frame are not given back to the kernel before the next, and that the pieces
which a viewer of the panel leaves behind are.

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


# Pieces as the elements of a page; every hundredth stays, so that no end of a heap is free.
PIECES = """
import ctypes, re, sys, threading
from anomaly_inspection.nodes.freed_memory import give_back_freed_memory

if not hasattr(ctypes.CDLL(None), 'malloc_trim'):
    sys.exit(77)

def memory_mb():
    with open('/proc/self/status') as status:
        return int(re.search(r'RssAnon:\\s+(\\d+)', status.read())[1]) / 1024

def leave_pieces():
    pieces = [bytes(1500) for _ in range(100_000)]
    stay.extend(pieces[::100])

stay = []
threads = [threading.Thread(target=leave_pieces) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
before = memory_mb()
give_back_freed_memory()
print(before, memory_mb())
"""


def test_pieces_between_what_stays_are_given_back():
    done = subprocess.run(
        [sys.executable, '-c', PIECES], capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip('this C library has no malloc_trim')
    assert done.returncode == 0, done.stderr
    before_mb, after_mb = map(float, done.stdout.split())
    # 300 MB were freed in all.
    assert before_mb - after_mb > 100


HEAPS = """
import ctypes, os, sys, threading
from anomaly_inspection.nodes.freed_memory import share_heaps

libc = ctypes.CDLL(None)
if not hasattr(libc, 'malloc_info'):
    sys.exit(77)
if sys.argv[1] == 'share' and not share_heaps():
    sys.exit(77)
everybody = threading.Barrier(12)

def take():
    bytearray(5000)
    everybody.wait()

threads = [threading.Thread(target=take) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = (ctypes.c_int, ctypes.c_void_p)
libc.fclose.argtypes = (ctypes.c_void_p,)
out = libc.fdopen(os.dup(1), b'w')
libc.malloc_info(0, out)
libc.fclose(out)
"""


def heaps(word: str) -> int:
    done = subprocess.run(
        [sys.executable, '-c', HEAPS, word], capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip('this C library has no mallopt')
    assert done.returncode == 0, done.stderr
    return done.stdout.count('<heap ')


def test_all_threads_share_two_heaps():
    assert heaps('each its own') > 2
    assert 1 <= heaps('share') <= 2
