# SPDX-License-Identifier: Apache-2.0
"""
A recipe keeps the images that it was taught on; nothing wrong with them goes unnoticed.

"""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path

import numpy as np
import pytest

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.recipes.teaching_images import encoded
from support.handmade_recipe import made_recipe

FRAMES = [
    (f'tray/good {seed}.bmp', np.random.default_rng(seed).integers(0, 255, (40, 60), np.uint8))
    for seed in range(3)
]


@pytest.fixture
def keeping(tmp_path: Path) -> Recipe:
    return write_recipe(made_recipe(), tmp_path / 'part', images=encoded(FRAMES))


def test_kept_images_come_back_as_they_were(keeping: Recipe) -> None:
    assert keeping.teaching_images is not None
    for (name, frame), (wanted, image) in zip(keeping.teaching_images.read(), FRAMES, strict=True):
        assert name == wanted
        assert (frame == image).all()


def test_a_recipe_with_new_limits_keeps_them_without_a_second_copy(keeping: Recipe) -> None:
    folder = keeping.path
    assert folder is not None
    scorer = next(iter(keeping.scorers))
    measure, limit = next(iter(keeping.scorers[scorer].limits.items()))
    changed = keeping.with_limits({(scorer, measure): limit.limit})
    assert changed.teaching_images is not None
    written = write_recipe(changed, folder)
    assert written.version == 2
    assert written.teaching_images is not None
    assert len(list(written.teaching_images.read())) == 3
    old = folder.with_name('part.v1') / 'images' / '000000.png'
    assert os.path.samefile(old, folder / 'images' / '000000.png')


def test_a_version_taught_without_keeping_images_drops_them(keeping: Recipe) -> None:
    assert keeping.path is not None
    assert write_recipe(keeping, keeping.path, images=[]).teaching_images is None


def test_images_of_another_version_are_not_taken(keeping: Recipe) -> None:
    """
    The decider may write limits of a version that another one has replaced since.

    """
    assert keeping.path is not None
    write_recipe(keeping, keeping.path, images=encoded(FRAMES[:1]))
    assert write_recipe(keeping, keeping.path).teaching_images is None


def test_judging_opens_no_image(keeping: Recipe) -> None:
    assert keeping.path is not None
    before = keeping.hash
    file = keeping.path / 'images' / '000001.png'
    file.write_bytes(b'damaged')
    again = read_recipe(keeping.path)
    assert again.hash == before
    assert again.teaching_images is not None
    with pytest.raises(RecipeError, match=r'000001\.png is not the image that images\.txt names'):
        list(again.teaching_images.read())


def link(folder: Path) -> None:
    (folder / 'images' / '000000.png').unlink()
    (folder / 'images' / '000000.png').symlink_to('/etc/passwd')


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (lambda folder: (folder / 'images' / '000002.png').unlink(), '000002.png is missing'),
        (
            lambda folder: (folder / 'images' / '000003.png').write_bytes(b''),
            r'000003.png is no part of the recipe; images.txt does not name it',
        ),
        (
            lambda folder: (folder / 'images' / 'x.png').write_bytes(b''),
            'allowed: images/000000.png and on',
        ),
        (lambda folder: (folder / 'images.txt').unlink(), 'images.txt is missing'),
        (lambda folder: (folder / 'images.txt').write_text('abc\n'), 'line 1 is .abc.; allowed'),
        (lambda folder: (folder / 'images.txt').write_text(''), 'names 0 images; allowed: 1 to'),
        (lambda folder: (folder / 'images.txt').write_bytes(b'\xff'), 'images.txt: '),
        (link, 'is a link; allowed: a regular file'),
        (lambda folder: os.mkfifo(folder / 'images' / '000009.png'), 'is a pipe'),
    ],
)
def test_a_tampered_folder_is_refused(
    keeping: Recipe, change: Callable[[Path], object], says: str
) -> None:
    assert keeping.path is not None
    change(keeping.path)
    with pytest.raises(RecipeError, match=says):
        read_recipe(keeping.path)


def test_too_much_is_not_encoded() -> None:
    assert encoded(FRAMES, 5_000) is None
    files = encoded(FRAMES, 20_000)
    assert files is not None
    assert [name for name, _ in files] == [name for name, _ in FRAMES]
