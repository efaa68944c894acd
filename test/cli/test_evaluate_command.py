# SPDX-License-Identifier: Apache-2.0
"""
A recipe evaluated on a labelled folder: who counts as what, verdicts as in the cell, the report.

"""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
import json
from pathlib import Path
import re
import shutil
from xml.etree import ElementTree

from click.testing import CliRunner
import cv2
import numpy as np
import pytest

from anomaly_inspection.chart_style import colour_of
from anomaly_inspection.cli import main
from anomaly_inspection.deciding.frame_judge import Combination, judge, Reason, Verdict
from anomaly_inspection.errors import SettingError, SourceError
from anomaly_inspection.evaluation.comparison import compare
from anomaly_inspection.evaluation.comparison import to_json as comparison_json
from anomaly_inspection.evaluation.comparison_report import write_comparison
from anomaly_inspection.evaluation.evaluate import evaluate_dataset, to_json
from anomaly_inspection.evaluation.report import write_report
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import write_recipe
from anomaly_inspection.recipes.limit_table import limit_table

SIZE = (96, 128)
KEYS = {
    *('recipe', 'dataset', 'n_good', 'n_defect', 'n_no_part', 'image_auroc', 'average_precision'),
    *('f1_max', 'at_limits', 'recall_by_defect', 'pixel_auroc', 'aupro', 'ms_per_image'),
    *('scorers', 'measures', 'interval', 'faults', 'notes', 'share', 'regions', 'region_counts'),
    'class_accuracy',
}
NO_RATES = {
    *('recipe', 'dataset', 'share', 'n_good', 'n_defect', 'n_no_part', 'region_counts'),
    *('ms_per_image', 'faults', 'notes'),
}


def part(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    image = np.full(SIZE, 60.0)
    cv2.rectangle(image, (30, 20), (98, 76), 160, -1)
    cv2.circle(image, (50, 48), 9, 90, -1)
    return np.clip(image + generator.normal(0, 2, SIZE), 0, 255).astype(np.uint8)


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


@pytest.fixture(scope='module')
def recipe():
    return teach(
        [part(seed) for seed in range(24)],
        name='part',
        options=TeachOptions(scorers=('ssim', 'variation')),
    )


@pytest.fixture
def dataset(tmp_path):
    """
    Four good parts, three with a clear spot, one whose scratch nobody can see, a black frame.

    """
    root = tmp_path / 'parts'
    for index in range(4):
        write(root / 'test' / 'good' / f'{index}.png', part(100 + index))
    for index in range(3):
        image, mask = part(200 + index), np.zeros(SIZE, np.uint8)
        cv2.circle(image, (80, 40 + 5 * index), 5, 240, -1)
        cv2.circle(mask, (80, 40 + 5 * index), 5, 255, -1)
        write(root / 'test' / 'spot' / f'{index}.png', image)
        write(root / 'ground_truth' / 'spot' / f'{index}_mask.png', mask)
    write(root / 'test' / 'scratch' / '0.png', part(300))
    write(root / 'test' / 'dark' / '0.png', np.zeros(SIZE, np.uint8))
    return root


def add_labels(root: Path, *rows: str) -> None:
    (root / 'labels.csv').write_text('\n'.join(['file,defect,part_present', *rows]) + '\n')


# -------------------------------------------------------------------------------------- figures


def test_figures_of_a_known_data_set(recipe, dataset):
    figures = evaluate_dataset(recipe, dataset).figures
    assert set(figures) == KEYS
    assert (figures['n_good'], figures['n_defect'], figures['n_no_part']) == (4, 5, 0)
    assert figures['recall_by_defect'] == {'dark': 1.0, 'scratch': 0.0, 'spot': 1.0}
    assert figures['at_limits']['recall'] == pytest.approx(4 / 5)
    assert figures['at_limits']['false_reject_rate'] == 0.0
    assert figures['at_limits']['balanced_accuracy'] == pytest.approx(0.9)
    assert 0.8 <= figures['image_auroc'] < 1
    assert figures['pixel_auroc'] > 0.95
    assert figures['aupro'] > 0.9
    assert figures['ms_per_image']['p99'] >= figures['ms_per_image']['p50'] > 0
    assert len(figures['notes']) == 1
    assert figures['notes'][0].startswith('1 of 9 images could not be measured')
    assert 'dark/0.png' in figures['notes'][0]


def test_every_rate_has_its_interval_under_the_same_keys(recipe, dataset):
    def check(rates, intervals):
        assert set(rates) == set(intervals)
        for key, value in rates.items():
            if isinstance(value, dict):
                check(value, intervals[key])
            elif value is None:
                assert intervals[key] is None
            else:
                low, high = intervals[key]
                assert 0 <= low <= value <= high <= 1

    figures = evaluate_dataset(recipe, dataset).figures
    check({key: figures[key] for key in KEYS - NO_RATES - {'interval'}}, figures['interval'])


def test_two_runs_give_the_same_but_for_the_times(recipe, dataset):
    runs = [json.loads(to_json(evaluate_dataset(recipe, dataset))) for _ in range(2)]
    for run in runs:
        del run['ms_per_image']
    assert runs[0] == runs[1]
    assert len(runs[0]['images']) == 9


def test_empty_places_are_neither_good_nor_defective(recipe, dataset):
    before = evaluate_dataset(recipe, dataset).figures
    empty = np.random.default_rng(1).integers(50, 70, SIZE, np.uint8)
    write(dataset / 'test' / 'gap' / '0.png', empty)
    add_labels(dataset, 'test/gap/0.png,gap,no')
    evaluation = evaluate_dataset(recipe, dataset)
    after = evaluation.figures
    assert after['n_no_part'] == 1
    assert 'gap' not in after['recall_by_defect']
    same = KEYS - {'n_no_part', 'ms_per_image', 'share'}
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert [i.name for i in evaluation.images if i.true_class == 'no_part'] == ['gap/0.png']


def test_the_test_folder_itself_will_do(recipe, dataset):
    runs = [evaluate_dataset(recipe, folder).figures for folder in (dataset, dataset / 'test')]
    for run in runs:
        del run['ms_per_image']
    assert runs[0] == runs[1]


def test_each_scorer_alone_is_judged_by_its_limits_alone(recipe, dataset):
    figures = evaluate_dataset(recipe, dataset).figures
    assert list(figures['scorers']) == ['ssim', 'variation']
    assert list(figures['measures']) == [limit.name for limit in limit_table(recipe)]
    for scorer, alone in figures['scorers'].items():
        parts = [
            one['recall'] for name, one in figures['measures'].items() if name.startswith(scorer)
        ]
        assert alone['recall'] >= max(parts)
        assert alone['recall'] <= figures['at_limits']['recall']


def test_each_measure_alone_is_judged_by_its_limit_alone(recipe, dataset):
    # Some rejects by one measure must be passes by another.
    changed = recipe.with_limits({('ssim', 'mean_ssim'): -1.0})
    evaluation = evaluate_dataset(changed, dataset)
    defective = [image for image in evaluation.images if image.true_class != 'good']
    found = {name: one['recall'] for name, one in evaluation.figures['measures'].items()}
    assert found['ssim.mean_ssim'] == pytest.approx(1 / 5), 'the black frame'
    for limit in limit_table(changed):
        rejected = [
            not image.measures or limit.is_exceeded_by(image.measures[limit.scorer][limit.measure])
            for image in defective
        ]
        assert found[limit.name] == pytest.approx(np.mean(rejected))


# ------------------------------------------------------------------------------- regions, shares


def test_regions_are_those_over_the_recipes_region_limit(recipe, dataset):
    figures = evaluate_dataset(recipe, dataset).figures
    counts = figures['region_counts']
    # The scratch and the black frame have no mask: nothing is known of where they are.
    assert counts['true'] == 3
    assert counts['found'] >= 3
    assert counts['matched_by_box'] == round(3 * figures['regions']['box']['recall'])
    lenient = evaluate_dataset(recipe, dataset, region_iou=0.01).figures
    assert lenient['region_counts']['matched_by_mask'] == 3
    assert lenient['regions']['mask']['recall'] == 1
    far = {
        name: replace(part, region=replace(part.region, limit=1e6))
        for name, part in recipe.scorers.items()
    }
    blind = evaluate_dataset(replace(recipe, scorers=far), dataset).figures
    assert blind['region_counts']['found'] == 0
    assert blind['regions']['box']['precision'] is None
    assert blind['regions']['box']['f1'] == blind['regions']['union_mask']['mean_iou'] == 0


def test_without_masks_there_are_no_regions_to_compare_with(recipe, dataset, tmp_path):
    shutil.rmtree(dataset / 'ground_truth')
    (dataset / 'train' / 'good').mkdir(parents=True)
    evaluation = evaluate_dataset(recipe, dataset)
    assert evaluation.figures['regions'] is None
    assert evaluation.figures['region_counts'] is None
    assert any(note.startswith('no masks') for note in evaluation.figures['notes'])
    assert '<h2>Regions' not in write_report(evaluation, tmp_path / 'report').read_text()


def test_only_the_wanted_images_are_opened(recipe, dataset):
    whole = evaluate_dataset(recipe, dataset)
    wanted = {'good/1.png', 'good/3.png', 'spot/0.png', 'scratch/0.png'}
    for image in whole.images:
        if image.name not in wanted:
            # Who opens it fails, whoever reads its mask too.
            (dataset / 'test' / image.name).unlink()
            (dataset / 'test' / image.name).symlink_to('nowhere')
    (dataset / 'ground_truth' / 'spot' / '1_mask.png').write_text('no picture')
    part_of_it = evaluate_dataset(recipe, dataset, names=wanted.__contains__)
    assert part_of_it.figures['share'] == {'images': 4, 'of': 9}
    assert whole.figures['share'] == {'images': 9, 'of': 9}
    before = {image.name: image for image in whole.images}
    assert [image.name for image in part_of_it.images] == [n for n in before if n in wanted]
    for image in part_of_it.images:
        assert image.measures == before[image.name].measures
    with pytest.raises(SourceError, match=r'none of the 9 images .* is wanted'):
        evaluate_dataset(recipe, dataset, names=lambda name: False)


def test_classes_are_compared_by_name_over_good_parts(recipe, dataset):
    (dataset / 'labels.csv').write_text(
        'file,defect,face\ntest/good/0.png,good,one\ntest/good/1.png,good,two\n'
        'test/good/2.png,good,two\ntest/spot/0.png,spot,one\n'
    )
    assert evaluate_dataset(recipe, dataset).figures['class_accuracy'] is None
    evaluation = evaluate_dataset(recipe, dataset)
    truth = {image.name: image.true_part_class for image in evaluation.images}
    assert (truth['good/0.png'], truth['good/3.png'], truth['spot/0.png']) == ('one', '', 'one')
    named = teach(
        [(str(seed), part(seed)) for seed in range(16)],
        name='named',
        classes={str(seed): 'two' for seed in range(16)},
        options=TeachOptions(scorers=('template',)),
    )
    figures = evaluate_dataset(named, dataset).figures
    # Of the three good parts with a class, two are of the only one it knows.
    assert figures['class_accuracy'] == pytest.approx(2 / 3)
    rows = json.loads(to_json(evaluate_dataset(named, dataset)))['images']
    assert {row['part_class'] for row in rows} <= {'two', ''}


# ---------------------------------------------------------------------------------- side by side


@pytest.fixture(scope='module')
def other_recipe():
    return teach(
        [part(seed) for seed in range(24)],
        name='other',
        options=TeachOptions(scorers=('variation',)),
    )


def test_recipes_side_by_side_say_the_same_as_each_alone(recipe, other_recipe, dataset):
    both = [evaluate_dataset(one, dataset) for one in (recipe, other_recipe)]
    compared = compare(both)
    assert compared.labels == ('part', 'other')
    content = json.loads(comparison_json(compared))
    for label, evaluation in zip(compared.labels, both, strict=True):
        assert content['recipes'][label] == json.loads(to_json(evaluation))
    (difference,) = content['image_auroc_difference']
    assert (difference['recipe'], difference['less']) == ('other', 'part')
    assert difference['value'] == pytest.approx(
        both[1].figures['image_auroc'] - both[0].figures['image_auroc']
    )
    low, high = difference['interval']
    assert low <= difference['value'] <= high


def test_a_recipe_differs_in_nothing_from_itself_and_labels_tell_apart(recipe, dataset):
    evaluation = evaluate_dataset(recipe, dataset)
    assert compare([evaluation] * 2).differences == ((0, 0, 0),)
    assert compare([evaluation] * 2).labels == ('1: part', '2: part')
    newer = replace(evaluation, recipe=replace(recipe, version=7))
    assert compare([evaluation, newer]).labels == ('part 0', 'part 7')
    with pytest.raises(SettingError, match='2 and more'):
        compare([evaluation])


def test_other_images_cannot_be_compared(recipe, dataset):
    some = evaluate_dataset(recipe, dataset, names=lambda name: name != 'good/0.png')
    with pytest.raises(SettingError, match='the same images'):
        compare([evaluate_dataset(recipe, dataset), some])


def test_the_page_of_several_has_them_as_columns(recipe, other_recipe, dataset, tmp_path):
    blind = recipe.with_limits({('variation', 'peak_z'): 1000.0})
    (dataset / 'test' / 'spot').rename(dataset / 'test' / '<b>&spot')
    both = [evaluate_dataset(one, dataset) for one in (blind, other_recipe)]
    page = write_comparison(compare(both), tmp_path / 'report')
    text = page.read_text(encoding='utf-8')
    parsed = _Page(text)
    assert '<b>' not in text
    assert '&lt;b&gt;&amp;spot' in text
    assert not {'script', 'link', 'iframe'} & set(parsed.tags)
    assert len(parsed.sources) == 2
    for source in parsed.sources:
        assert (page.parent / source).is_file()
    charts = [
        ElementTree.fromstring('<svg' + chart[: chart.index('</svg>')] + '</svg>')
        for chart in text.split('<svg')[1:]
    ]
    roc = [one for one in charts if one.get('aria-label') == 'ROC curve']
    assert len(roc) == 1
    for place in range(2):
        assert f'stroke: {colour_of(place)}' in ElementTree.tostring(roc[0], encoding='unicode')
    assert sum(one.get('aria-label') == 'Histogram of anomaly scores' for one in charts) == 2
    with pytest.raises(SettingError, match='cannot be written'):
        write_comparison(compare(both), page)


def test_with_one_class_alone_recipes_are_still_put_side_by_side(recipe, dataset, tmp_path):
    (dataset / 'train' / 'good').mkdir(parents=True)
    only_good = evaluate_dataset(recipe, dataset, names=lambda name: name.startswith('good'))
    compared = compare([only_good, only_good])
    assert compared.differences == (None,)
    assert json.loads(comparison_json(compared))['image_auroc_difference'][0]['value'] is None
    assert 'ROC curve' not in write_comparison(compared, tmp_path / 'report').read_text()


def test_the_command_takes_one_recipe_or_several(recipe, other_recipe, dataset, tmp_path):
    folders = []
    for one in (recipe, other_recipe):
        write_recipe(one, tmp_path / one.name)
        folders.append(str(tmp_path / one.name))
    run = CliRunner()

    def evaluated(*arguments):
        result = run.invoke(main, ['evaluate', *arguments, '--json', str(tmp_path / 'out.json')])
        assert result.exit_code == 0, result.output
        return result.output, json.loads((tmp_path / 'out.json').read_text())

    output, alone = evaluated(folders[0], str(dataset))
    assert set(alone) == KEYS | {'images'}
    assert 'region box f1' in output
    output, both = evaluated(*folders, str(dataset), '--html', str(tmp_path / 'html'))
    assert list(both['recipes']) == ['part', 'other']
    assert 'image AUROC compared with part' in output
    assert (tmp_path / 'html' / 'index.html').is_file()
    refused = run.invoke(main, ['evaluate', folders[0], str(dataset), '--region-iou', '1.5'])
    assert refused.exit_code == 2
    assert '0<x<=1' in refused.output
    assert run.invoke(main, ['evaluate', str(dataset)]).exit_code == 2


# ------------------------------------------------------------------------------------- verdicts


def test_verdicts_are_those_of_the_decider(recipe, dataset):
    table = limit_table(recipe)
    for image in evaluate_dataset(recipe, dataset).images:
        if image.measures:
            assert image.judgement == judge(image.measures, table, Combination.ANY)


def test_limits_and_combination_of_the_recipe_are_in_force(recipe, dataset):
    # Only the spots' peak is over its limit then, and with 'all' that rejects nobody.
    far = {
        ('ssim', 'mean_ssim'): -1.0,
        ('ssim', 'lowest_ssim'): -1.0,
        ('ssim', 'mse'): 60000.0,
        ('ssim', 'largest_region'): 1e6,
        ('variation', 'mean_z'): 1000.0,
        ('variation', 'largest_region'): 1e6,
    }
    changed = recipe.with_limits(far)
    assert evaluate_dataset(changed, dataset).figures['recall_by_defect']['spot'] == 1.0
    together = type(changed)(**{**vars(changed), 'combination': 'all'})
    assert evaluate_dataset(together, dataset).figures['recall_by_defect']['spot'] == 0.0


def test_a_frame_that_cannot_be_judged_is_rejected_and_ranks_highest(recipe, dataset):
    (dataset / 'test' / 'dark' / '1.png').write_bytes(b'\x89PNG\r\n\x1a\nhalf a picture')
    write(dataset / 'test' / 'dark' / '2.png', part(1)[:50])
    dark = [i for i in evaluate_dataset(recipe, dataset).images if i.true_class == 'dark']
    assert len(dark) == 3
    for image in dark:
        assert image.judgement.verdict is Verdict.REJECT
        assert image.judgement.reason is Reason.FRAME_INVALID
        assert image.rank_score == np.inf
        assert not image.measures


def test_rows_of_unjudged_images_are_plain_json(recipe, dataset):
    rows = {
        row['name']: row
        for row in json.loads(to_json(evaluate_dataset(recipe, dataset)))['images']
    }
    assert rows['dark/0.png']['anomaly_score'] is None
    assert rows['dark/0.png']['reason'] == 'FRAME_INVALID'
    assert rows['spot/0.png']['anomaly_score'] > 1
    assert rows['spot/0.png']['reason'] == 'LIMIT_EXCEEDED'
    assert rows['good/0.png'] | {'verdict': 'PASS', 'defect': 'good'} == rows['good/0.png']


# ------------------------------------------------------------------------------- broken data sets


@pytest.mark.parametrize('folder', ['missing', 'empty'])
def test_a_folder_without_images_is_refused(recipe, tmp_path, folder):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SourceError, match=folder):
        evaluate_dataset(recipe, tmp_path / folder)


def test_images_without_truth_are_refused(recipe, tmp_path):
    write(tmp_path / 'photos' / '1.png', part(1))
    with pytest.raises(SourceError, match=r'nothing is known of .*1\.png.*labels\.csv'):
        evaluate_dataset(recipe, tmp_path / 'photos')


def test_a_mask_of_another_size_is_refused(recipe, dataset):
    write(dataset / 'ground_truth' / 'spot' / '1_mask.png', np.full((10, 10), 255, np.uint8))
    with pytest.raises(SourceError, match='10 x 10 px; allowed: 128 x 96'):
        evaluate_dataset(recipe, dataset)


@pytest.mark.parametrize(
    ('kept', 'word'), [('good', 'no defective images'), ('spot', 'no good images')]
)
def test_with_one_class_alone_the_report_says_what_is_undefined(
    recipe, dataset, tmp_path, kept, word
):
    (dataset / 'train' / 'good').mkdir(parents=True)
    for folder in (dataset / 'test').iterdir():
        if folder.name != kept:
            shutil.rmtree(folder)
    evaluation = evaluate_dataset(recipe, dataset)
    assert evaluation.figures['image_auroc'] is None
    assert evaluation.figures['interval']['image_auroc'] is None
    assert any(note.startswith(word) for note in evaluation.figures['notes'])
    assert word in write_report(evaluation, tmp_path / 'report').read_text(encoding='utf-8')


# --------------------------------------------------------------------------------------- report


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        links = [value for key, value in attributes if key in ('src', 'href')]
        # Marks of a chart stand in the chart itself.
        self.sources += [link for link in links if not link.startswith('#')]


def test_the_report_stands_alone_and_its_pictures_are_there(recipe, dataset, tmp_path):
    page = write_report(evaluate_dataset(recipe, dataset), tmp_path / 'report')
    text = page.read_text(encoding='utf-8')
    parsed = _Page(text)
    assert not {'script', 'link', 'iframe'} & set(parsed.tags)
    assert not re.findall(r'url\((?!#)', text)
    assert '@import' not in text
    # Four good parts, five defective ones.
    assert len(parsed.sources) == 9
    for source in parsed.sources:
        assert cv2.imread(str(page.parent / source)).size
    for chart in text.split('<svg')[1:]:
        ElementTree.fromstring('<svg' + chart[: chart.index('</svg>')] + '</svg>')


def test_masks_are_outlined_in_the_pictures(recipe, dataset, tmp_path):
    drawn = []
    for name in ('with', 'without'):
        page = write_report(evaluate_dataset(recipe, dataset), tmp_path / name)
        drawn.append([path.read_bytes() for path in sorted(page.parent.glob('images/*defect*'))])
        shutil.rmtree(dataset / 'ground_truth', ignore_errors=True)
    assert sum(one != other for one, other in zip(*drawn, strict=True)) == 3


def test_a_second_report_leaves_nothing_of_the_first(recipe, dataset, tmp_path):
    write_report(evaluate_dataset(recipe, dataset), tmp_path / 'report')
    shutil.rmtree(dataset / 'test' / 'dark')
    write_report(evaluate_dataset(recipe, dataset), tmp_path / 'report')
    assert len(list((tmp_path / 'report' / 'images').iterdir())) == 8


def test_names_cannot_break_the_page(recipe, dataset, tmp_path):
    (dataset / 'test' / 'spot').rename(dataset / 'test' / '<b>&spot')
    text = write_report(evaluate_dataset(recipe, dataset), tmp_path / 'report').read_text()
    assert '<b>&spot' not in text
    assert '&lt;b&gt;&amp;spot' in text


def test_a_report_that_cannot_be_written_says_so(recipe, dataset, tmp_path):
    (tmp_path / 'report').write_text('a file')
    with pytest.raises(SettingError, match='report'):
        write_report(evaluate_dataset(recipe, dataset), tmp_path / 'report')
