# SPDX-License-Identifier: Apache-2.0
"""
Measure how well synthetic defects predict which method finds the real ones.

For each set, every candidate of `teach --scorer auto` is fitted to some good training images. It
then judges other good training images, as they are and with synthetic defects of each kind, and
the dev third of the test images. A kind of defect is good when it puts the methods in the order in
which the real defects put them.

The kinds for a set are chosen by the other sets. Test images outside the dev third are not opened.

"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from hashlib import sha256
import itertools
import math
from pathlib import Path
import sys
from typing import Any, TYPE_CHECKING

import click
import cv2
import numpy as np

from anomaly_inspection.errors import AlignmentError, FrameError, SettingError
from anomaly_inspection.imaging.preprocessing import Preprocessor
from anomaly_inspection.learning.defect_kinds import KINDS
from anomaly_inspection.learning.good_images import GoodImages
from anomaly_inspection.learning.part_mask import part_in_region
from anomaly_inspection.learning.part_preparation import prepare_parts
from anomaly_inspection.learning.preprocessing_choice import choose_preprocessing
from anomaly_inspection.learning.reference_choice import best_reference, choose_references
from anomaly_inspection.learning.scorer_choice import CANDIDATES
from anomaly_inspection.learning.scorer_trial import Measured
from anomaly_inspection.learning.setting_choice import choose_settings
from anomaly_inspection.learning.synthetic_defects import random_defect
from anomaly_inspection.progress import no_progress
from anomaly_inspection.scoring.registry import scorer_class
from benchmarks.charts import intervals
from benchmarks.defect_agreement_result import (
    Agreement,
    agreement,
    chosen_by_others,
    DefectScores,
    order_by,
)
from benchmarks.real_sets import DATASETS, DEV, REGIONS, share_of
from benchmarks.report import machine, publish, RESULTS, ROOT, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.learning.part_preparation import GoodPart

    Image = NDArray[np.uint8]

NAME = 'defect_agreement'
TAUGHT, HELD_OUT, TESTED = 40, 20, 40
DEFECTS_EACH = 16
LONGEST_SIDE_PX = 384
FALSE_REJECT_RATE = 0.03
# Contrast times diameter, levels times pixels.
STRENGTHS = (0.0, 200.0, 600.0, 2000.0, math.inf)
_OTHERS = 8
_SEED = 1
# What decides the scores; when a file of these changes, they are computed anew.
_SOURCES = ('learning', 'scoring', 'imaging', 'defect_fit.py')


def scores_of(
    name: str, dataset: Path, *, defects_each: int = DEFECTS_EACH, cache: Path | None = None
) -> DefectScores:
    """
    Score good images, synthetic defects and real ones of a set by every candidate.

    Parameters
    ----------
    name : str
        Of the set.
    dataset : Path
        Its folder, with labels.csv.
    defects_each : int
        Synthetic defects of each kind.
    cache : Path, optional
        Folder in which scores are kept from run to run.

    Raises
    ------
    SettingError
        When no candidate can be fitted.

    """
    kept = cache / f'{name}_{_key(defects_each)}.npz' if cache else None
    if kept is not None and kept.exists():
        return DefectScores.read(kept)
    scores = _Set.read(name, dataset).scores(defects_each)
    if kept is not None:
        scores.write(kept)
    return scores


def _key(defects_each: int) -> str:
    digest = sha256(repr((CANDIDATES, TAUGHT, HELD_OUT, TESTED, defects_each)).encode())
    for source in (*_SOURCES, Path(__file__)):
        path = ROOT / 'anomaly_inspection' / source
        for file in sorted(path.rglob('*.py')) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class _Set:
    """
    Images of a set, all of one size.

    """

    name: str
    taught: list[tuple[str, Image]]
    held_out: list[Image]
    test_good: list[Image]
    test_defects: list[Image]

    @classmethod
    def read(cls, name: str, dataset: Path) -> _Set:
        """
        Read a sample of the good training images and of the dev third of the test images.

        """
        with (dataset / 'labels.csv').open(newline='') as lines:
            rows = [row for row in csv.DictReader(lines) if row.get('part_present') != 'no']
        train = [row['file'] for row in rows if row['file'].startswith('train/good/')]
        test = [
            row for row in rows if row['file'].startswith('test/') and share_of(row['file']) == DEV
        ]
        good = [row['file'] for row in test if row['label'] == 'good']
        defects = [row['file'] for row in test if row['label'] != 'good']
        train = _evenly(train, TAUGHT + HELD_OUT)
        held_out = train[1::3]
        taught = [one for one in train if one not in held_out]
        region = REGIONS.get(name)
        images: dict[str, Image] = {}
        for file in (*train, *_evenly(good, TESTED // 2), *_evenly(defects, TESTED // 2)):
            read = cv2.imread(str(dataset / file))
            if read is None:
                raise SettingError(f'{dataset / file} cannot be read as an image')
            image = np.asarray(read, np.uint8)
            if region is not None:
                rows_px = slice(region.y, region.y + region.height)
                image = image[rows_px, region.x : region.x + region.width]
            images[file] = image
        images = _alike(images)
        return cls(
            name,
            [(file, images[file]) for file in taught],
            [images[file] for file in held_out],
            [images[file] for file in _evenly(good, TESTED // 2)],
            [images[file] for file in _evenly(defects, TESTED // 2)],
        )

    def scores(self, defects_each: int) -> DefectScores:
        """
        Fit every candidate and let it judge all images.

        """
        good_images = GoodImages.checked(self.taught)
        preprocessing = choose_preprocessing(
            self.taught, good_images.frame_format, None, no_progress
        )
        references = choose_references(
            self.taught, best_reference(self.taught, good_images.frame_format, preprocessing)
        )
        preprocessor = Preprocessor(
            preprocessing, good_images.frame_format, references[0], references[1:]
        )
        parts, outlying = prepare_parts(self.taught, preprocessor, None, no_progress)
        parts = [part for part in parts if part.name not in outlying]
        damaged, kinds, strengths = self._damaged(preprocessor, defects_each)
        prepared = [
            [_prepared(preprocessor, image) for image in images]
            for images in (self.held_out, damaged, self.test_good, self.test_defects)
        ]
        scores: dict[str, list[NDArray[np.float64]]] = {}
        for scorer, settings in CANDIDATES:
            try:
                scores[_method(scorer, settings)] = _judged(parts, scorer, settings, prepared)
            except (SettingError, FrameError) as error:
                print(f'{self.name}: {scorer} cannot be taught: {error}', file=sys.stderr)
        if not scores:
            raise SettingError(f'{self.name}: no candidate can be fitted')
        return DefectScores(
            self.name,
            tuple(scores),
            *(np.array(rows) for rows in zip(*scores.values(), strict=True)),
            kinds=np.array(kinds),
            strengths=np.array(strengths),
        )

    def _damaged(
        self, preprocessor: Preprocessor, defects_each: int
    ) -> tuple[list[Image], list[str], list[float]]:
        """
        Put defects on the held-out parts; give the images, the kinds and how strong they are.

        """
        rng = np.random.default_rng(_SEED)
        others = [image for _, image in self.taught[:: math.ceil(len(self.taught) / _OTHERS)]]
        places = []
        for image in self.held_out:
            prepared = _prepared(preprocessor, image)
            if prepared is not None:
                part = part_in_region(image, prepared.to_frame, prepared.image.shape[:2])
                places.append((image, part))
        damaged, kinds, strengths = [], [], []
        for kind in KINDS:
            for number in range(defects_each):
                image, part = places[number % len(places)]
                try:
                    found, mask = random_defect(image, others, rng, part, kinds=[kind])
                except SettingError:
                    continue
                damaged.append(found)
                kinds.append(kind)
                contrast = float(cv2.absdiff(found, image)[mask].mean())
                strengths.append(contrast * math.sqrt(4.0 / math.pi * float(mask.sum())))
        return damaged, kinds, strengths


def _evenly(files: Sequence[str], count: int) -> list[str]:
    places = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    return [files[place] for place in places]


def _alike(images: Mapping[str, Image]) -> dict[str, Image]:
    """
    Give the images in their median size, reduced to the longest side; gray where all are gray.

    """
    height, width = (
        float(np.median([image.shape[axis] for image in images.values()])) for axis in (0, 1)
    )
    scale = min(1.0, LONGEST_SIDE_PX / max(height, width))
    size = round(scale * width), round(scale * height)
    is_gray = all(not np.ptp(image.astype(np.int16), axis=2).any() for image in images.values())
    return {
        name: np.ascontiguousarray(
            cv2.resize(
                image[..., 0] if is_gray else image, size, interpolation=cv2.INTER_AREA
            ).astype(np.uint8)
        )
        for name, image in images.items()
    }


def _method(scorer: str, settings: Mapping[str, Any]) -> str:
    return ' '.join([scorer, *(str(value) for value in settings.values())])


def _prepared(preprocessor: Preprocessor, image: Image) -> Prepared | None:
    """
    Prepare an image; None when it would be rejected before any scorer sees it.

    """
    try:
        return preprocessor.prepare(image)
    except (AlignmentError, FrameError):
        return None


def _judged(
    parts: Sequence[GoodPart],
    name: str,
    given: Mapping[str, Any],
    images: Sequence[Sequence[Prepared | None]],
) -> list[NDArray[np.float64]]:
    """
    Fit a scorer and give the anomaly scores of lists of images; the first are held-out good ones.

    An image that cannot be aligned has an infinite score. The limits come from the good ones.

    """
    scorer = scorer_class(name).fit(
        [part.prepared for part in parts], choose_settings(name, parts) | dict(given)
    )
    measures = []
    for column in images:
        found = [scorer.score(image).measures if image is not None else {} for image in column]
        measures.append(
            {
                (name, spec.name): np.array([one.get(spec.name, math.nan) for one in found])
                for spec in scorer.measures
            }
        )
    good, *others = measures
    trials = [
        Measured({name: given}, good, other, 0.0).judged(FALSE_REJECT_RATE) for other in others
    ]
    return [trials[0].good, *(trial.damaged for trial in trials)]


def measure(
    names: Sequence[str] = (),
    *,
    datasets: Path = DATASETS,
    folder: Path | None = None,
    defects_each: int = DEFECTS_EACH,
    keep: bool = True,
) -> Path:
    """
    Run the benchmark.

    Parameters
    ----------
    names : sequence of str
        The sets; none = all with a labels.csv.
    datasets : Path
        Where they are.
    folder : Path, optional
        Where the report and the kept scores go.
    defects_each : int
        Synthetic defects of each kind.
    keep : bool
        Whether to use scores that an earlier run kept, and to keep those of this one.

    Returns
    -------
    Path
        The folder of the report.

    Raises
    ------
    SettingError
        When there is no set.

    """
    before = machine()
    cv2.setNumThreads(1)
    folder = folder or RESULTS / NAME
    cache = folder / 'scores' if keep else None
    found = names or sorted(path.parent.name for path in datasets.glob('*/labels.csv'))
    if not found:
        raise SettingError(f'there is no set with a labels.csv in {datasets}')
    sets = []
    for name in found:
        sets.append(scores_of(name, datasets / name, defects_each=defects_each, cache=cache))
        print(f'{name}: scored', file=sys.stderr)
    return _published(sets, before, folder)


def _published(sets: Sequence[DefectScores], before: Mapping[str, Any], folder: Path) -> Path:
    kinds = tuple(KINDS)
    choices = {
        one.name: chosen_by_others([other for other in sets if other is not one], kinds)
        for one in sets
    }
    ways = {
        'all kinds': {one.name: agreement(one, kinds) for one in sets},
        'kinds chosen by the other sets': {
            one.name: agreement(one, choices[one.name]) for one in sets
        },
    }
    by_kind = {kind: {one.name: agreement(one, (kind,)) for one in sets} for kind in kinds}
    by_strength = {
        f'{low:g} to {high:g}': {
            one.name: agreement(one.of_strength(low, high), kinds) for one in sets
        }
        for low, high in itertools.pairwise(STRENGTHS)
    }
    final = chosen_by_others(sets, kinds)
    return publish(
        NAME,
        f'Each candidate of --scorer auto, fitted to at most {TAUGHT} good images of at most '
        f'{LONGEST_SIDE_PX} px. Its AUROC on synthetic defects on other good images, and on at '
        f'most {TESTED} images of the dev third of the test images. No other test image was '
        'opened.',
        [
            _table_of_sets(sets, ways),
            _table_of_means('kind', by_kind),
            _table_of_means('levels times px', by_strength),
            _table_of_methods(sets, kinds),
        ],
        plot=intervals(
            'Real AUROC that is lost by choosing the method by synthetic defects',
            {
                one.name: {way: _point(found[one.name]) for way, found in ways.items()}
                for one in sets
            },
            goals={},
            axis_title='AUROC lost',
            low=0.0,
            high=0.3,
        ),
        figures={
            'kinds_chosen': {**choices, 'by all sets': final},
            'sets': {
                one.name: {
                    'methods': one.methods,
                    'real_auroc': one.real_aurocs,
                    'synthetic_auroc': one.aurocs(kinds),
                    **{way: vars(found[one.name]) for way, found in ways.items()},
                    'by_kind': {kind: vars(found[one.name]) for kind, found in by_kind.items()},
                    'by_strength': {
                        band: vars(found[one.name]) for band, found in by_strength.items()
                    },
                }
                for one in sets
            },
        },
        before=before,
        folder=folder,
    )


def _point(found: Agreement) -> tuple[float, float, float]:
    return found.regret, found.regret, found.regret


def _table_of_sets(
    sets: Sequence[DefectScores], ways: Mapping[str, Mapping[str, Agreement]]
) -> Table:
    rows: list[tuple[Any, ...]] = []
    for one in sets:
        real = one.real_aurocs
        rows.append(
            (
                one.name,
                one.methods[int(np.argmax(real))],
                float(real.max()),
                *(value for found in ways.values() for value in order_by(found[one.name])),
            )
        )
    means = [
        float(np.mean([order_by(found[one.name])[place] for one in sets]))
        for found in ways.values()
        for place in range(3)
    ]
    rows.append(('mean', '', float(np.mean([one.real_aurocs.max() for one in sets])), *means))
    headings = [f'{what}, {way}' for way in ways for what in ('agreement', 'Spearman', 'regret')]
    return Table(
        'How synthetic defects order the methods',
        ('set', 'best method', 'its AUROC', *headings),
        rows,
        'agreement: of all pairs of methods, the share that is in the right order, each pair '
        'counted by its difference in real AUROC. regret: real AUROC of the best method minus '
        'that of the method chosen.',
    )


def _table_of_means(what: str, groups: Mapping[str, Mapping[str, Agreement]]) -> Table:
    return Table(
        f'The same by {what} alone, mean over the sets',
        (what, 'agreement', 'Spearman', 'regret', 'best synthetic AUROC'),
        [
            (
                group,
                *(
                    float(np.mean([order_by(one)[place] for one in found.values()]))
                    for place in range(3)
                ),
                float(np.mean([one.best_synthetic for one in found.values()])),
            )
            for group, found in groups.items()
        ],
    )


def _table_of_methods(sets: Sequence[DefectScores], kinds: Sequence[str]) -> Table:
    methods = list(dict.fromkeys(method for one in sets for method in one.methods))
    rows = []
    for one in sets:
        real = dict(zip(one.methods, one.real_aurocs, strict=True))
        synthetic = dict(zip(one.methods, one.aurocs(kinds), strict=True))
        rows.append(
            (
                one.name,
                *(
                    f'{real[method]:.3f} / {synthetic[method]:.3f}' if method in real else '-'
                    for method in methods
                ),
            )
        )
    return Table('AUROC on real / on synthetic defects of all kinds', ('set', *methods), rows)


@click.command()
@click.argument('sets', nargs=-1)
@click.option('--fresh', is_flag=True, help='Compute all scores anew, and keep none.')
def main(sets: tuple[str, ...], fresh: bool) -> None:
    """
    Measure how well synthetic defects predict the order of methods; all of SETS by default.
    """
    measure(sets, keep=not fresh)


if __name__ == '__main__':
    main()
