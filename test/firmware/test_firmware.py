# SPDX-License-Identifier: Apache-2.0
"""
The firmware on the host: its own tests, its Arduino layer on a stub, and Python beside it.

"""

from __future__ import annotations

from pathlib import Path
import random
import subprocess

import pytest

from anomaly_inspection.errors import LinkError
from anomaly_inspection.link.protocol import decode, encode
from benchmarks.knob_trace import trace
from benchmarks.protocol_fuzz import compare, fuzz_stream, meaning, sent_lines
from firmware.twin.device_twin import compiled, FIRMWARE, TwinError

TEST = FIRMWARE / 'test'
VECTORS = TEST / 'protocol_vectors.tsv'
LIBRARY = list(FIRMWARE.glob('lib/*/*.cpp'))
SANITIZED = ('-fsanitize=address,undefined', '-fno-sanitize-recover=all')
OPTIONS = (f'-I{TEST}', f'-DVECTORS="{VECTORS}"')


def run(sources: list[Path], name: str, *options: str) -> str:
    done = subprocess.run(
        [compiled(sources, name, *options)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def vectors() -> list[tuple[str, str, str]]:
    rows = [line.split('\t') for line in VECTORS.read_text().splitlines() if line[0] != '#']
    return [(line, result, said) for line, result, said in rows]


def test_protocol_gate_button_and_device() -> None:
    names = ('protocol', 'gate', 'button', 'device', 'all')
    run([*(TEST / f'test_{name}.cpp' for name in names), *LIBRARY], 'units', *SANITIZED, *OPTIONS)


def test_a_still_knob_stands_still_and_a_quick_turn_arrives() -> None:
    sources = [TEST / 'test_knob.cpp', TEST / 'test_all.cpp', *LIBRARY]
    run(sources, 'knob', '-O2', *OPTIONS)


def test_every_error_of_one_to_three_bits_is_detected() -> None:
    sources = [TEST / 'protocol_errors.cpp', *LIBRARY]
    assert ' 0 undetected' in run(sources, 'protocol_errors', '-O2', *OPTIONS)


@pytest.mark.parametrize(('gate', 'display'), [('servo', 'true'), ('relay', 'false')])
def test_the_arduino_layer_runs_on_the_stub(gate: str, display: str) -> None:
    stub = TEST / 'arduino_stub'
    run(
        [FIRMWARE / 'src' / 'main.cpp', TEST / 'test_main.cpp', *stub.glob('*.cpp'), *LIBRARY],
        f'main_{gate}_{display}',
        *SANITIZED,
        *OPTIONS,
        f'-I{stub}',
        f'-I{FIRMWARE / "include"}',
        f'-DBOARD_GATE={gate}',
        f'-DBOARD_DISPLAY={display}',
    )


@pytest.mark.parametrize(('line', 'result', 'said'), vectors())
def test_python_reads_the_vectors_alike(line: str, result: str, said: str) -> None:
    if result == 'ok':
        read = decode(line.encode())
        assert meaning(read) == said
        assert encode(read.sequence, read.message) == f'{line}\n'.encode()
    else:
        with pytest.raises(LinkError):
            decode(line.encode())


def test_lines_of_every_kind_are_written_and_read_alike() -> None:
    sent = sent_lines(random.Random(3), 2000)
    outcome = compare(b''.join(sent), {line[:-1] for line in sent})
    assert outcome.accepted == outcome.lines == len(sent)
    assert outcome.disagreements == ()


def test_both_sides_read_noise_and_damaged_lines_alike() -> None:
    stream, known = fuzz_stream(random.Random(4), 200_000)
    outcome = compare(stream, known)
    assert outcome.accepted > 100
    assert outcome.disagreements == ()
    assert outcome.accepted_mutations == ()


def test_a_disagreement_is_found() -> None:
    sent = sent_lines(random.Random(5), 20)
    assert compare(b''.join(sent), set()).accepted_mutations


def test_the_trace_of_a_knob() -> None:
    before, after = trace([0.25] * 600 + [0.75] * 600, noise_counts=20.0, seed=1)
    assert len(before) == len(after) == 1200
    assert len({*after[300:600]}) == 1
    assert len({*after[900:]}) == 1
    assert after[690] == pytest.approx(750, abs=6)


def test_without_a_compiler_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(TwinError, match='apt install g'):
        compiled([], 'nothing')


def test_what_the_compiler_does_not_like_is_told(tmp_path: Path) -> None:
    source = tmp_path / 'wrong.cpp'
    source.write_text('int main() { return 1.5; }')
    with pytest.raises(TwinError, match=r'wrong\.cpp'):
        compiled([source], 'wrong', folder=tmp_path)
