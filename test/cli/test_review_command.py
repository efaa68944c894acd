# SPDX-License-Identifier: Apache-2.0
"""
The command `review`: what the verdicts say, accept, undo, and parts that must be rejected.

"""

from __future__ import annotations

from collections.abc import Callable
import hashlib
import json
from pathlib import Path

from click.testing import CliRunner, Result
import cv2
import pytest

pytest.importorskip('pydantic', reason='NiceGUI is not installed: pip install .[panel]')

from anomaly_inspection.cli import main
from anomaly_inspection.panel.review.reject import KeptAs, Reject, reject_to_json, ReviewVerdict
from anomaly_inspection.panel.review.review_set import ReviewSet
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.reviewing.looser import BAD_FOR_EACH
from support.reviewed_parts import (
    DEEP,
    judged_part,
    review_parts,
    SESSION,
    spotted,
    strict_recipe,
)

SCRIPT = '[bold]<script>window.hacked=1</script>\x1b]0;owned\x07'
N_FAINT, N_DEEP = 6, BAD_FOR_EACH


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return strict_recipe(tmp_path / 'recipes' / 'pump')


@pytest.fixture
def review_set(tmp_path: Path, recipe: Recipe) -> Path:
    """
    Six good parts with faint spots and a hundred bad ones with deep spots: rejected and reviewed.

    """
    folder = tmp_path / 'review'
    reviews = ReviewSet(folder)
    review_parts(reviews, recipe, n_faint=N_FAINT, n_deep=N_DEEP, comment=SCRIPT)
    reviews.close()
    return folder


@pytest.fixture
def run(tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv('ROS_HOME', str(tmp_path / 'ros'))

    def run(*arguments: object) -> Result:
        options = ['review', *map(str, arguments), '--recipe', str(recipe.path)]
        return CliRunner().invoke(main, options)

    return run


def limits_of(recipe: Recipe) -> dict[str, float]:
    assert recipe.path is not None
    return {limit.name: limit.value for limit in limit_table(read_recipe(recipe.path))}


def audit(tmp_path: Path) -> list[dict[str, object]]:
    (path,) = tmp_path.rglob('audit.jsonl')
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_tables_say_what_the_verdicts_say_and_change_nothing(
    run: Callable[..., Result], recipe: Recipe, review_set: Path
) -> None:
    before = limits_of(recipe)
    answer = run(review_set)
    assert answer.exit_code == 0, answer.output
    for words in (
        f'Of {N_FAINT + N_DEEP} reviewed rejects {N_FAINT} were good: 5.66 %',
        'Rejects say nothing of escapes',
        f'{N_FAINT} of {N_FAINT}',
        'REJECT -> PASS  confirmed good',
        '--add',
    ):
        assert words in answer.output, answer.output
    assert limits_of(recipe) == before
    assert '\x1b]' not in answer.output


def test_it_says_what_a_looser_limit_still_needs(
    run: Callable[..., Result], tmp_path: Path, recipe: Recipe
) -> None:
    reviews = ReviewSet(tmp_path / 'few')
    review_parts(reviews, recipe, n_faint=N_FAINT, n_deep=N_DEEP - 1, comment='')
    reviews.close()
    answer = run(tmp_path / 'few')
    assert answer.exit_code == 0, answer.output
    wanted = f'{N_DEEP - 1} rejected parts are confirmed as bad; at least {N_DEEP} are needed.'
    assert f'variation.largest_region is not loosened: {wanted}' in answer.output
    assert 'No other limit is proposed' in answer.output
    content = json.loads(run(tmp_path / 'few', '--json').stdout)
    assert content['limits']['variation.largest_region']['held'] == wanted[:-1]
    assert content['tried'] == {}


def test_json_counts_what_would_turn_round(run: Callable[..., Result], review_set: Path) -> None:
    content = json.loads(run(review_set, '--json').stdout)
    assert content['false_rejects']['count'] == N_FAINT
    assert content['now'] == {
        'good_rejected': N_FAINT,
        'good': N_FAINT,
        'bad_passed': 0,
        'bad': N_DEEP,
    }
    assert content['then']['bad_passed'] == 0
    assert content['then']['good_rejected'] < N_FAINT
    freed = N_FAINT - content['then']['good_rejected']
    assert content['flips']['good_to_pass'] == freed
    assert content['tried']


def test_limits_can_be_tried_before_they_are_proposed(
    run: Callable[..., Result], recipe: Recipe, review_set: Path
) -> None:
    name, value = next(iter(limits_of(recipe).items()))
    content = json.loads(run(review_set, '--json', '--limit', f'{name}={value}').stdout)
    assert content['tried'] == {name: value}
    assert content['flips'] == dict.fromkeys(content['flips'], 0)
    for wrong in ('nonsense', f'{name}=nan', f'{name}=', 'a.b=1', f'{name}=1e9'):
        answer = run(review_set, '--limit', wrong)
        assert answer.exit_code == 2, wrong
        assert 'allowed' in answer.stderr or 'known are' in answer.stderr


def test_accept_and_undo_need_a_reason_and_are_recorded(
    run: Callable[..., Result], tmp_path: Path, recipe: Recipe, review_set: Path
) -> None:
    before = limits_of(recipe)
    answer = run(review_set, '--accept')
    assert answer.exit_code == 2
    assert 'the reason has 0 characters' in answer.stderr
    assert limits_of(recipe) == before

    answer = run(review_set, '--accept', '--why', SCRIPT)
    assert answer.exit_code == 0, answer.output
    accepted = limits_of(recipe)
    assert accepted != before
    entry = audit(tmp_path)[-1]
    assert entry['what'] == 'accept limits'
    changed = {name for name in before if before[name] != accepted[name]}
    assert set(entry['new']) == set(entry['old']) == changed
    assert entry['old'] == {name: before[name] for name in changed}
    assert entry['who']
    # The version that was written is measured as before: the parts count for it as well.
    content = json.loads(run(review_set, '--json').stdout)
    assert content['measured_anew'] == 0
    assert content['now']['good_rejected'] < N_FAINT
    assert content['now']['bad_passed'] == 0

    answer = run('--undo', '--why', 'scratches came through')
    assert answer.exit_code == 0, answer.output
    assert limits_of(recipe) == before
    assert audit(tmp_path)[-1]['what'] == 'undo accepted limits'
    answer = run('--undo', '--why', 'again')
    assert answer.exit_code == 2
    assert 'no acceptance to take back' in answer.stderr


def test_confirmed_bad_parts_are_kept_and_forgotten(
    run: Callable[..., Result], tmp_path: Path, recipe: Recipe, review_set: Path
) -> None:
    answer = run(review_set, '--keep-bad', '--why', 'customer complaint')
    assert answer.exit_code == 0, answer.output
    assert f'{N_DEEP} new parts' in answer.output
    kept = sorted(path.stem for path in tmp_path.rglob('must_reject/*.png'))
    assert len(kept) == N_DEEP
    loose = [
        f'--limit={limit.name}={limit.maximum if limit.value > limit.typical else limit.minimum}'
        for limit in limit_table(recipe)
    ]
    answer = run(review_set, *loose, '--accept', '--why', 'all shall pass')
    assert answer.exit_code == 2
    assert f'it would pass {N_DEEP} of {N_DEEP} parts' in answer.stderr
    answer = run('--forget-bad', kept[0][:8], '--why', 'it was good after all')
    assert answer.exit_code == 0, answer.output
    assert len([*tmp_path.rglob('must_reject/*.png')]) == N_DEEP - 1
    assert run('--forget-bad', '../..', '--why', 'x').exit_code == 2


def test_a_part_whose_picture_is_gone_still_counts(
    run: Callable[..., Result], review_set: Path
) -> None:
    for picture in review_set.rglob('*.png'):
        picture.unlink()
    content = json.loads(run(review_set, '--json').stdout)
    assert content['reviewed_parts'] == N_FAINT + N_DEEP
    answer = run(review_set, '--keep-bad', '--why', 'x')
    assert answer.exit_code == 2
    assert f'none of the {N_DEEP} confirmed bad parts has a picture' in answer.stderr


def test_empty_and_strange_folders(
    run: Callable[..., Result], tmp_path: Path, recipe: Recipe, review_set: Path
) -> None:
    empty = tmp_path / 'empty'
    (empty / 'parts').mkdir(parents=True)
    answer = run(empty)
    assert answer.exit_code == 0
    assert 'No reject was reviewed' in answer.output
    assert run(empty, '--accept', '--why', 'x').exit_code == 2
    answer = run(tmp_path / 'recipes')
    assert answer.exit_code == 2
    assert 'neither records' in answer.stderr
    assert run().exit_code == 2
    assert run(empty, '--accept', '--undo', '--why', 'x').exit_code == 2

    part = judged_part(recipe, 77, spotted(1, DEEP), session='../../etc/' + SCRIPT)
    digest = hashlib.sha256(part.key[0].encode()).hexdigest()[:16]
    (review_set / 'parts' / f'session_{digest}_77.json').write_bytes(
        reject_to_json(Reject(part, 1.7e9, 'no picture', ReviewVerdict.DEFECT, SCRIPT, SCRIPT))
    )
    (review_set / 'parts' / f'{SESSION}_1.json').write_text('{"part": [')
    answer = run(review_set)
    assert answer.exit_code == 0, answer.output
    assert f'Of {N_FAINT + N_DEEP} reviewed rejects {N_FAINT - 1} were good' in answer.output
    assert 'cannot be read and are left out' in answer.output


def test_records_give_rates_of_all_parts(
    run: Callable[..., Result], tmp_path: Path, recipe: Recipe, review_set: Path
) -> None:
    pytest.importorskip('sqlalchemy', reason='SQLAlchemy is not installed')
    pytest.importorskip('alembic', reason='Alembic is not installed')
    from anomaly_inspection.records.database import migrate, open_database
    from anomaly_inspection.records.record import event, record
    from anomaly_inspection.records.store import RecordStore
    from support.record_examples import MORNING_US, part

    def recorded(number: int, depth: int, **changes: object) -> dict[str, object]:
        view = judged_part(recipe, number, spotted(100 + number, depth), session='recorded')
        decision = view.decision
        assert decision is not None
        return part(
            number,
            session='recorded',
            verdict='PASS' if decision.has_passed else 'REJECT',
            reason=decision.reason,
            measures={one.name: one.value for score in view.scores for one in score.measures},
            limits={limit.name: limit.value for limit in view.limits},
            recipe=recipe.name,
            recipe_version=1,
            **changes,
        )

    folder = tmp_path / 'records'
    engine = open_database(folder)
    migrate(engine)
    good = recorded(1, 0)
    assert good['verdict'] == 'PASS'
    picture = 'reject/2026-11-29/0123456789abcdef_201_frame.png'
    (folder / 'pictures' / picture).parent.mkdir(parents=True)
    cv2.imwrite(str(folder / 'pictures' / picture), spotted(301, DEEP))
    RecordStore(engine).write(
        [
            *(
                {**good, 'sequence': number, 'time_us': MORNING_US + number}
                for number in range(1, 91)
            ),
            *(recorded(number, DEEP) for number in range(201, 211)),
            recorded(300, DEEP, known_as='bad'),
            *(
                event(
                    *('review', 'review a reject'),
                    who='anna',
                    data={
                        'subject': f'part {number} of session recorded',
                        'new': 'good' if number == 201 else 'defect',
                    },
                    cell='cell',
                    source='page',
                    sequence=number,
                    time_us=MORNING_US + 400_000_000 + number,
                )
                for number in range(201, 206)
            ),
            record(
                'pictures',
                cell='cell',
                source='pictures',
                sequence=1,
                time_us=MORNING_US + 300_000_000,
                session='recorded',
                part=201,
                kind='reject',
                shows='frame',
                path=picture,
                sha256='0' * 64,
                n_bytes=1,
            ),
        ]
    )
    engine.dispose()
    content = json.loads(run(folder, '--json').stdout)
    assert content['false_rejects'] == {**content['false_rejects'], 'count': 1, 'total': 5}
    assert content['false_reject_rate']['value'] == pytest.approx(0.1 * 1 / 5)
    assert content['known_bad_passed']['total'] == 1
    assert content['escape_rate'] is None
    # The review set beside it adds its own parts.
    both = json.loads(run(folder, review_set, '--json').stdout)
    assert both['stored_parts'] == content['stored_parts'] + N_FAINT + N_DEEP
    # Passed parts that were reviewed on the page give the rate of escapes.
    reviews = ReviewSet(tmp_path / 'passed')
    image = spotted(101, 0)
    for number in (88, 89, 90):
        passed = judged_part(recipe, number, image, session='recorded')
        reviews.put(passed, lambda: image, image.nbytes, 1.7e9, KeptAs.SAMPLE)
        assert reviews.settle()
        verdict = ReviewVerdict.DEFECT if number == 90 else ReviewVerdict.GOOD
        reviews.judge(passed.key, verdict, '', 'anna', 1.8e9)
    reviews.close()
    with_passed = json.loads(run(folder, tmp_path / 'passed', '--json').stdout)
    assert with_passed['escapes']['sample'] == {
        **with_passed['escapes']['sample'],
        'count': 1,
        'total': 3,
    }
    # 90 of 100 production parts passed.
    assert with_passed['escape_rate']['value'] == pytest.approx(0.9 * 1 / 3)
