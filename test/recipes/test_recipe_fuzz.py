# SPDX-License-Identifier: Apache-2.0
"""
A good recipe with bytes flipped, cut out, repeated and swapped: it reads or is refused, and no
other way out.

"""

from __future__ import annotations

import os
from pathlib import Path
import random

import pytest

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.recipes.folder import read_recipe

# More on request: ROUNDS=100000 python -m pytest test/recipes/test_recipe_fuzz.py
ROUNDS = int(os.environ.get('ROUNDS', '150'))
PIECES = (
    *(b'\x00', b'\xff', b'\xff\xff\xff\xff', b'\x7f\xff\xff\xff', b'\n', b'[', b'{', b': ', b'- '),
    *(
        b'&a ',
        b'*a',
        b'!!',
        b'9' * 400,
        b'.nan',
        b'-1',
        b'null',
        b'"',
        b'PK\x05\x06',
        b'\x93NUMPY',
    ),
    *(b"'shape': (99999999999,)", b'<U9999', b'|O', b'IDAT', b'true', b'1e308', b'~', b'\xed\xa0'),
)
# Small changes in statistics.npz mostly hit pixels and checksums; these are its headers.
MARKS = (b'PK\x03\x04', b'PK\x01\x02', b'PK\x05\x06', b'\x93NUMPY', b'IHDR', b'measures', b'frame')


def mutated(content: bytes, chance: random.Random) -> bytes:
    """
    Change a file in one to three places.

    """
    data = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(data) + 1)
        mark = data.find(chance.choice(MARKS), place)
        if mark >= 0 and chance.random() < 0.7:
            place = min(mark + chance.randrange(60), len(data))
        piece = chance.choice(PIECES)
        end = place + chance.choice((1, 2, 4, 30, 1000))
        match chance.randrange(6):
            case 0 if place < len(data):
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                del data[place:end]
            case 2:
                data[place:place] = piece
            case 3:
                data[place : place + len(piece)] = piece
            case 4:
                data[place:place] = data[place:end] * chance.randint(1, 20)
            case _:
                del data[place:]
    return bytes(data)


@pytest.mark.parametrize(
    'file', ['recipe.yaml', 'statistics.npz', 'references/001.png', 'any', 'swapped']
)
def test_a_mutated_recipe_is_read_or_refused(copy: Path, file: str) -> None:
    chance = random.Random(f'{os.environ.get("SEED", "")}{file}')
    names = sorted(str(path.relative_to(copy)) for path in copy.rglob('*') if path.is_file())
    whole = {name: (copy / name).read_bytes() for name in names}
    refusals = 0
    for _ in range(ROUNDS // 5):
        name = file if file in names else chance.choice(names)
        other = chance.choice(names) if file == 'swapped' else name
        (copy / name).write_bytes(mutated(whole[other], chance))
        try:
            read_recipe(copy, budget_bytes=200_000_000)
        except RecipeError as error:
            refusals += 1
            message = str(error)
            assert str(copy.resolve()) in message
            assert '\n' not in message
            assert len(message) < 1000
            message.encode()
        (copy / name).write_bytes(whole[name])
    assert refusals > ROUNDS // 20
    assert read_recipe(copy).name == 'pump_body-2'
