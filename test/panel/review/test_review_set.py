# SPDX-License-Identifier: Apache-2.0
"""
The review set: rejects outlive the panel, are bounded, and nobody waits for the disk.

"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace
import json
import math
from pathlib import Path
import stat
import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip('pydantic', reason='NiceGUI is not installed: pip install .[panel]')

from anomaly_inspection.capture.image_file import read_image
from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.errors import FrameError, SettingError, StateError
from anomaly_inspection.panel.cell.part_views import (
    DecisionView,
    LimitView,
    MeasureView,
    PartView,
    RegionView,
    ScoreView,
    SortView,
)
from anomaly_inspection.panel.review import folder as review_folder_module
from anomaly_inspection.panel.review.reject import (
    file_stem,
    KeptAs,
    LONGEST_COMMENT,
    ReviewVerdict,
)
from anomaly_inspection.panel.review.review_set import (
    MOST_ARRIVAL_BYTES,
    MOST_ARRIVALS,
    ReviewBounds,
    ReviewSet,
)
from anomaly_inspection.panel.review.stored_rejects import read_review_set
from anomaly_inspection.reviewing.stored_part import Kind, Truth

SESSION = '20261129T104011Z-ab12cd34'
SCRIPT = '<script>window.hacked=1</script>'
GOOD, DEFECT, UNSURE = ReviewVerdict


def rejected(number: int, session: str = SESSION, recipe: str = 'pump') -> PartView:
    """
    Give a part with something in every field.

    """
    return PartView(
        (session, number),
        1.7e9 + number,
        SCRIPT,
        '',
        DecisionView(False, 'LIMIT_EXCEEDED', SCRIPT, math.inf, 'ssim.peak', recipe, 3, 0.02),
        SortView(False, True),
        (
            ScoreView(
                *('ssim', True, SCRIPT, (MeasureView('ssim.peak', math.nan, 'px'),)),
                (RegionView(1, 2, 3, 4, 5, 6.5),),
            ),
        ),
        (LimitView('ssim.peak', 0.5, 0.1),),
    )


def picture(number: int) -> np.ndarray[Any, Any]:
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, :, 0] = number
    image[5, 6] = (1, 2, 3)
    return image


def put(reviews: ReviewSet, number: int, kept_as: KeptAs = KeptAs.REJECT, **more: Any) -> None:
    part = rejected(number, **more)
    reviews.put(part, lambda: picture(number), 3600, 1.7e9 + number, kept_as)
    assert reviews.settle()


def put_slowly(reviews: ReviewSet, may_go_on: threading.Event) -> None:
    """
    Put part 0, whose picture takes its time; returns when the set waits for it.

    """
    has_begun = threading.Event()

    def slow() -> np.ndarray[Any, Any]:
        has_begun.set()
        may_go_on.wait(30)
        return picture(0)

    reviews.put(rejected(0), slow, 100, 1.7e9)
    assert has_begun.wait(30)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, told: list[str]) -> Any:
    """
    `make()` opens the set of this test again, as a restarted panel does.

    """
    made: list[ReviewSet] = []

    def make(folder: Path = tmp_path / 'review', **options: Any) -> ReviewSet:
        reviews = ReviewSet(folder, told.append, told.append, **options)
        assert reviews.settle()
        made.append(reviews)
        return reviews

    yield make
    for reviews in made:
        reviews.close()


def numbers(reviews: ReviewSet) -> list[int]:
    return [reject.part.number for reject in reviews.kept()]


def test_rejects_and_verdicts_outlive_the_panel(make: Any) -> None:
    before = make()
    for number in (1, 2, 3):
        put(before, number)
    judged = before.judge((SESSION, 2), GOOD, 'a drop of oil', 'anna', 1.8e9)
    before.close()
    after = make()
    assert numbers(after) == [3, 2, 1]
    # All of it, also what JSON has no number for.
    kept = after.reject((SESSION, 3)).part
    assert repr(kept) == repr(rejected(3))
    assert repr(after.reject((SESSION, 2))) == repr(judged)
    assert (judged.verdict, judged.who, judged.comment) == (GOOD, 'anna', 'a drop of oil')
    assert after.new_count == 2


def test_passed_parts_are_kept_apart_and_outlive_the_panel(make: Any, tmp_path: Path) -> None:
    bounds = ReviewBounds(most_passed=2)
    reviews = make(bounds=bounds)
    put(reviews, 1)
    for number, kept_as in enumerate((KeptAs.NEAR, KeptAs.SAMPLE, KeptAs.NEAR, KeptAs.SAMPLE), 2):
        put(reviews, number, kept_as)
    # However many pass, no reject is pushed out, and none counts as a reject to be reviewed.
    assert numbers(reviews) == [5, 4, 1]
    assert reviews.new_count == 1
    reviews.judge((SESSION, 4), DEFECT, '', 'anna', 1.8e9)
    reviews.close()
    after = make(bounds=bounds)
    assert [reject.kept_as for reject in after.kept()] == [
        *(KeptAs.SAMPLE, KeptAs.NEAR, KeptAs.REJECT)
    ]
    assert after.new_count == 1
    parts, _ = read_review_set(tmp_path / 'review')
    assert {part.key[1]: (part.kind, part.is_rejected, part.truth) for part in parts} == {
        1: (Kind.REJECT, True, None),
        4: (Kind.NEAR, False, Truth.BAD),
        5: (Kind.SAMPLE, False, None),
    }


def test_a_file_of_an_older_version_is_a_reject(make: Any, tmp_path: Path) -> None:
    before = make()
    put(before, 1)
    put(before, 2, KeptAs.SAMPLE)
    before.close()
    for path in (tmp_path / 'review' / 'parts').glob('*.json'):
        content = json.loads(path.read_text())
        if content['part']['key'][1] == 1:
            del content['kept_as']
        else:
            content['kept_as'] = 'known'
        path.write_text(json.dumps(content))
    # One that names a reason that there is not is left out, and said.
    assert [(one.key[1], one.kept_as) for one in make().kept()] == [(1, KeptAs.REJECT)]


def test_passed_parts_wait_behind_rejects(make: Any) -> None:
    reviews, may_go_on = make(), threading.Event()
    put_slowly(reviews, may_go_on)
    for number in range(1, MOST_ARRIVALS // 4 + 1):
        reviews.put(rejected(number), lambda: picture(1), 100, 1.7e9)
    reviews.put(rejected(50), lambda: picture(1), 100, 1.7e9, KeptAs.SAMPLE)
    may_go_on.set()
    assert reviews.settle()
    assert 50 not in numbers(reviews)
    # A part of the sample that is not kept is no loss to tell of.
    assert reviews.lost_count == 0
    assert len(numbers(reviews)) == MOST_ARRIVALS // 4 + 1


def test_the_picture_is_that_of_the_part_to_the_last_bit(make: Any, tmp_path: Path) -> None:
    reviews = make()
    for number in (1, 2):
        put(reviews, number)
    for number in (1, 2):
        (tmp_path / 'read.png').write_bytes(reviews.png_of((SESSION, number)))
        assert np.array_equal(read_image(tmp_path / 'read.png'), picture(number))


def test_verdicts_make_a_data_set(make: Any, tmp_path: Path) -> None:
    reviews = make()
    for number in (1, 2, 3):
        put(reviews, number)
    reviews.judge((SESSION, 1), GOOD, '', 'anna', 1.8e9)
    # The first verdict already: `evaluate` knows the layout by the folder of good parts.
    test = tmp_path / 'review' / 'judged' / 'pump' / 'test'
    assert {path.name for path in test.iterdir()} == {'good', 'defect'}
    reviews.judge((SESSION, 2), DEFECT, '', 'anna', 1.8e9)
    reviews.judge((SESSION, 3), UNSURE, '', 'anna', 1.8e9)

    def places() -> set[str]:
        root = tmp_path / 'review'
        return {str(path.relative_to(root).parent) for path in root.rglob('*.png')}

    assert places() == {'judged/pump/test/good', 'judged/pump/test/defect', 'images'}
    # Somebody thinks better of it, and the picture moves along.
    reviews.judge((SESSION, 1), DEFECT, '', 'bert', 1.9e9)
    reviews.judge((SESSION, 2), UNSURE, '', 'bert', 1.9e9)
    assert places() == {'judged/pump/test/defect', 'images'}
    assert reviews.png_of((SESSION, 1)) != reviews.png_of((SESSION, 2))


def test_evaluate_and_teach_find_what_was_judged(make: Any, tmp_path: Path) -> None:
    reviews = make()
    for number, verdict in ((1, DEFECT), (2, UNSURE), (3, GOOD)):
        put(reviews, number)
        reviews.judge((SESSION, number), verdict, '', 'anna', 1.8e9)
    folder = ImageFolder(tmp_path / 'review' / 'judged' / 'pump')
    folder.open()
    assert {Path(name).name: folder.truth(name).defect for name in folder.names} == {
        f'{SESSION}_1.png': 'defect',
        f'{SESSION}_3.png': 'good',
    }


def test_a_picture_that_a_crash_has_left_behind_is_moved(make: Any, tmp_path: Path) -> None:
    reviews = make()
    put(reviews, 1)
    reviews.judge((SESSION, 1), GOOD, '', 'anna', 1.8e9)
    reviews.close()
    name = f'{SESSION}_1.png'
    right = tmp_path / 'review' / 'judged' / 'pump' / 'test' / 'good' / name
    right.rename(tmp_path / 'review' / 'images' / name)
    assert make().png_of((SESSION, 1)) is not None
    assert right.exists()


def test_the_oldest_go_and_no_flood_pushes_judged_ones_out(make: Any, tmp_path: Path) -> None:
    reviews = make(bounds=ReviewBounds(most_new=3, most_judged=2))
    for number in range(1, 5):
        put(reviews, number)
        reviews.judge((SESSION, number), UNSURE, '', 'anna', 1.8e9 + number)
    assert numbers(reviews) == [4, 3]
    for number in range(10, 20):
        put(reviews, number)
    assert numbers(reviews) == [19, 18, 17, 4, 3]
    assert reviews.png_of((SESSION, 16)) is None
    assert len([*(tmp_path / 'review').rglob('*.png')]) == 5
    assert len([*(tmp_path / 'review').rglob('*.json')]) == 5
    # Fewer are wanted after a restart.
    reviews.close()
    assert numbers(make(bounds=ReviewBounds(most_new=1, most_judged=1))) == [19, 4]
    assert len([*(tmp_path / 'review').rglob('*.png')]) == 2


def test_the_pictures_have_a_bound_in_bytes(make: Any, tmp_path: Path) -> None:
    reviews = make()
    put(reviews, 1)
    reviews.close()
    (path,) = (tmp_path / 'review').rglob('*.png')
    size = path.stat().st_size
    reviews = make(bounds=ReviewBounds(most_bytes=5 * (3 * size + 100) // 2))
    for number in range(2, 9):
        put(reviews, number)
    assert numbers(reviews) == [8, 7, 6]


@pytest.mark.parametrize(
    'content',
    [
        *('', '{', '[' * 100_000, 'null', '{"part": 5}', '\x00', '{"format": 1}'),
        '{"part": {"key": ["../../etc", 1]}, "kept_s": 0}',
        '{"part": {"key": ["s", 1]}, "kept_s": 0, "verdict": "../good"}',
        '{"part": {"key": ["s", 1]}, "kept_s": 0, "format": 2}',
        'x' * 2_000_000,
    ],
)
def test_a_torn_or_strange_file_is_named_and_left_alone(
    make: Any, told: list[str], tmp_path: Path, content: str
) -> None:
    reviews = make()
    put(reviews, 1)
    reviews.close()
    strange = tmp_path / 'review' / 'parts' / 'strange.json'
    strange.write_text(content)
    assert numbers(make()) == [1]
    (sentence,) = told
    assert 'strange.json' in sentence
    assert len(sentence) < 1000
    assert strange.exists()


def test_a_torn_file_costs_its_part_alone(make: Any, told: list[str], tmp_path: Path) -> None:
    reviews = make()
    for number in range(1, 7):
        put(reviews, number)
    reviews.close()
    for number in range(2, 7):
        path = tmp_path / 'review' / 'parts' / f'{SESSION}_{number}.json'
        path.write_text(path.read_text()[:100])
    assert numbers(make()) == [1]
    assert told[0].count('.json') == 3
    assert 'and 2 more' in told[0]


def test_links_and_pipes_are_no_parts(make: Any, told: list[str], tmp_path: Path) -> None:
    import os

    parts = tmp_path / 'review' / 'parts'
    parts.mkdir(parents=True)
    os.mkfifo(parts / 'pipe.json')
    (parts / 'folder.json').mkdir()
    assert numbers(make()) == []
    assert 'pipe.json' in told[0]
    assert 'folder.json' in told[0]


def test_what_a_crash_has_left_half_written_goes(make: Any, tmp_path: Path) -> None:
    import os

    reviews = make()
    put(reviews, 1)
    reviews.close()
    root = tmp_path / 'review'
    old = [root / 'images' / 'forgotten_7.png', root / 'images' / '.a.png-x1']
    old.append(root / 'parts' / '.a.json-x1')
    new = root / 'images' / 'just_now_8.png'
    for path in (*old, new):
        path.touch()
    for path in (*old, root / 'images' / f'{SESSION}_1.png'):
        os.utime(path, (0, 0))
    assert make().png_of((SESSION, 1)) is not None
    assert not any(path.exists() for path in old)
    assert new.exists()


@pytest.mark.parametrize(
    'session', ['../../etc', '/etc', '', '..', 'a/b', 'x' * 300, '\ud800', SCRIPT, 'a\0b', '.a']
)
def test_no_session_is_a_path(make: Any, tmp_path: Path, session: str) -> None:
    reviews = make()
    put(reviews, 1, session=session)
    paths = [path for path in tmp_path.rglob('*') if path.is_file()]
    if session == '\ud800':
        # What is no text cannot be written, and is not half there.
        assert paths == []
        return
    assert {path.parent.name for path in paths} == {'parts', 'images'}
    reviews.judge((session, 1), GOOD, '', 'anna', 1.8e9)
    reviews.close()
    assert make().png_of((session, 1)) is not None
    assert len(file_stem((session, 1))) < 100


@pytest.mark.parametrize('recipe', ['../..', '/etc', '', 'A b', SCRIPT, 'x/../../y'])
def test_no_recipe_is_a_path(make: Any, tmp_path: Path, recipe: str) -> None:
    reviews = make()
    put(reviews, 1, recipe=recipe)
    reviews.judge((SESSION, 1), DEFECT, '', 'anna', 1.8e9)
    (path,) = tmp_path.rglob('*.png')
    root = tmp_path / 'review'
    assert str(path.relative_to(root).parent) == 'judged/no_recipe/test/defect'


def test_scripts_are_kept_as_text(make: Any) -> None:
    reviews = make()
    put(reviews, 1)
    reviews.judge((SESSION, 1), GOOD, f'{SCRIPT}\n\ud800\x1b[31m', SCRIPT, 1.8e9)
    reviews.close()
    reject = make().reject((SESSION, 1))
    assert reject.comment == SCRIPT + '\\n\N{REPLACEMENT CHARACTER}\\x1b[31m'
    assert reject.who == SCRIPT


def test_a_verdict_on_what_is_not_there_or_with_a_book_is_refused(make: Any) -> None:
    reviews = make()
    put(reviews, 1)
    with pytest.raises(SettingError, match='not in the review set'):
        reviews.judge((SESSION, 2), GOOD, '', 'anna', 1.8e9)
    with pytest.raises(SettingError, match=f'501 characters; allowed: up to {LONGEST_COMMENT}'):
        reviews.judge((SESSION, 1), GOOD, 'x' * 501, 'anna', 1.8e9)
    assert reviews.reject((SESSION, 1)).verdict is None


def test_a_part_without_a_picture_is_kept_and_says_why(make: Any) -> None:
    reviews = make()

    def none() -> np.ndarray[Any, Any]:
        raise FrameError('no picture has come')

    def strange() -> np.ndarray[Any, Any]:
        return np.zeros((0, 0), np.uint8)

    for number, image in ((1, none), (2, strange)):
        reviews.put(rejected(number), image, 0, 1.7e9)
        assert reviews.settle()
        assert reviews.png_of((SESSION, number)) is None
    assert reviews.reject((SESSION, 1)).image_problem == 'no picture has come'
    assert reviews.reject((SESSION, 2)).image_problem
    reviews.judge((SESSION, 1), DEFECT, '', 'anna', 1.8e9)
    reviews.close()
    assert make().reject((SESSION, 1)).verdict is DEFECT


def test_a_part_is_kept_once(make: Any) -> None:
    reviews = make()
    put(reviews, 1)
    reviews.judge((SESSION, 1), GOOD, '', 'anna', 1.8e9)
    put(reviews, 1)
    assert reviews.reject((SESSION, 1)).verdict is GOOD
    assert numbers(reviews) == [1]


def test_nobody_waits_for_a_slow_disk(make: Any, told: list[str]) -> None:
    reviews, may_go_on = make(), threading.Event()
    put_slowly(reviews, may_go_on)
    for number in range(1, MOST_ARRIVALS + 4):
        reviews.put(rejected(number), lambda: picture(1), 100, 1.7e9)
    assert reviews.lost_count == 3
    may_go_on.set()
    assert reviews.settle()
    assert len(numbers(reviews)) == MOST_ARRIVALS + 1
    assert '3 rejects came faster than the disk' in told[0]
    put(reviews, 100)
    assert told[-1] == ''


def test_large_pictures_do_not_fill_the_memory(make: Any) -> None:
    reviews, may_go_on = make(), threading.Event()
    put_slowly(reviews, may_go_on)
    for number in (1, 2, 3):
        reviews.put(rejected(number), lambda: picture(1), MOST_ARRIVAL_BYTES // 2, 1.7e9)
    assert reviews.lost_count == 1
    may_go_on.set()


def test_a_full_disk_is_told_and_costs_nothing_else(
    make: Any, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reviews = make()
    put(reviews, 1)
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(
        review_folder_module.shutil, 'disk_usage', lambda folder: usage(1, 1, 150 * 10**6)
    )
    put(reviews, 2)
    assert '150 MB left, 200 MB must stay free' in told[-1]
    monkeypatch.undo()
    put(reviews, 3)
    assert told[-1] == ''
    assert numbers(reviews) == [3, 1]


def test_a_folder_that_cannot_be_written_is_told(
    make: Any, told: list[str], tmp_path: Path
) -> None:
    (tmp_path / 'file').touch()
    reviews = make(tmp_path / 'file' / 'review')
    put(reviews, 1)
    assert 'rejects cannot be reviewed: cannot write' in told[-1]
    assert numbers(reviews) == []
    (tmp_path / 'file').unlink()
    put(reviews, 2)
    assert told[-1] == ''
    assert numbers(reviews) == [2]


def test_a_verdict_that_the_disk_refuses_changes_nothing(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviews = make()
    put(reviews, 1)
    parts = tmp_path / 'review' / 'parts'
    before = (parts / f'{SESSION}_1.json').read_bytes()

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(review_folder_module, 'replace_file', full)
    with pytest.raises(StateError, match='No space left on device'):
        reviews.judge((SESSION, 1), GOOD, '', 'anna', 1.8e9)
    assert reviews.reject((SESSION, 1)).verdict is None
    assert (parts / f'{SESSION}_1.json').read_bytes() == before
    assert reviews.png_of((SESSION, 1)) is not None


def test_nobody_else_may_read_it_and_the_file_is_json(make: Any, tmp_path: Path) -> None:
    put(make(), 1)
    for path in (tmp_path / 'review').rglob('*'):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def refuse(name: str) -> None:
        raise ValueError(name)

    (part,) = (tmp_path / 'review' / 'parts').iterdir()
    content = json.loads(part.read_text(), parse_constant=refuse)
    assert content['part']['key'] == [SESSION, 1]


def test_without_a_folder_nothing_is_kept() -> None:
    reviews = ReviewSet(None)
    reviews.put(rejected(1), lambda: picture(1), 100, 1.7e9)
    assert reviews.kept() == []
    assert reviews.png_of((SESSION, 1)) is None
    with pytest.raises(SettingError):
        reviews.judge((SESSION, 1), GOOD, '', 'anna', 1.8e9)
    reviews.close()


def test_two_people_judge_at_once(make: Any) -> None:
    reviews = make()
    for number in range(20):
        put(reviews, number)

    def judge(who: str, verdict: ReviewVerdict) -> None:
        for number in range(20):
            reviews.judge((SESSION, number), verdict, '', who, 1.8e9)

    threads = [
        threading.Thread(target=judge, args=arguments)
        for arguments in (('anna', GOOD), ('bert', DEFECT))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    now = [replace(reject) for reject in reviews.kept()]
    assert len(now) == 20
    assert all(reviews.png_of(reject.key) for reject in now)
    reviews.close()
    assert repr(make().kept()) == repr(now)
