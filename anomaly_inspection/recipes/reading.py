# SPDX-License-Identifier: Apache-2.0
"""
Read a recipe folder and check everything in it.

"""

from __future__ import annotations

from contextlib import contextmanager
import math
import os
from pathlib import Path
import traceback
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import (
    FrameError,
    InspectionError,
    LimitError,
    RecipeError,
    SettingError,
)
from anomaly_inspection.imaging.conditions import CELLS, CONDITIONS, GRID
from anomaly_inspection.imaging.frame_check import (
    check_frame,
    FrameFormat,
)
from anomaly_inspection.imaging.image_decoding import decode_image
from anomaly_inspection.imaging.image_header import image_header
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
from anomaly_inspection.printable import printable, shown
from anomaly_inspection.recipes.budget import Budget, DEFAULT_BUDGET_BYTES
from anomaly_inspection.recipes.frame_work import frame_work_bytes
from anomaly_inspection.recipes.layout import (
    FORMAT_VERSION,
    IMAGE_LIST,
    image_name,
    IMAGES,
    MODEL,
    MOST_REFERENCES,
    REFERENCES,
    STATISTICS,
    YAML,
)
from anomaly_inspection.recipes.mapping_reader import MappingReader
from anomaly_inspection.recipes.plain_yaml import plain_yaml
from anomaly_inspection.recipes.recipe import (
    checked_limit,
    COMBINATIONS,
    MeasureLimit,
    measures_of,
    NAME_ALLOWED,
    NAME_PATTERN,
    Recipe,
    ScorerRecipe,
)
from anomaly_inspection.recipes.recipe_files import hash_of, read_files
from anomaly_inspection.recipes.statistics_file import read_statistics
from anomaly_inspection.recipes.teaching_images import TeachingImages
from anomaly_inspection.recipes.yaml_sections import (
    created_of,
    frame_format_of,
    marks_of,
    preprocessing_of,
    provenance_of,
    tolerance_of,
)
from anomaly_inspection.scoring.frame_scorer import (
    LARGEST_REGION_LIMIT,
    RegionSettings,
    ScoreStatus,
)
from anomaly_inspection.scoring.registry import scorer_class, SCORERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

_LONGEST_CAUSE = 300


def read_recipe(
    path: str | os.PathLike[str],
    *,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    budget_name: str = '',
) -> Recipe:
    """
    Read a recipe folder and check everything in it.

    The folder may be hostile: sizes are checked before anything is read, unpacked or decoded.

    All files are read from the folder as it was when it was opened: a new version that is put in
    its place meanwhile does not mix in. At the end the alignment reference is scored, so a recipe
    that reads can judge.

    Parameters
    ----------
    path : path
        The folder, or a link to it; in it there may be no links.
    budget_bytes : int
        What the recipe may take of memory: its files, what is unpacked from them, and what judging
        a frame of its size takes.
    budget_name : str
        What a person raises to allow more, e.g. a parameter; the refusal names it.

    Raises
    ------
    RecipeError
        When anything is missing, broken, too large, or does not fit; names the file, the key, the
        value and what is allowed, in one sentence. All memory is given back.

    """
    try:
        # Launch arguments and parameter files come without a shell that would expand ~.
        folder = Path(os.path.realpath(os.path.expanduser(path)))
        return _read(folder, Budget(budget_bytes, budget_name))
    except RecipeError as error:
        _forget(error)
        raise
    # Whatever else a hostile folder may set off must not end the process that reads it.
    except Exception as error:
        _forget(error)
        raise RecipeError(f'{printable(path)}: {_said(error)}') from error


def _read(path: Path, budget: Budget) -> Recipe:
    files = read_files(path, budget)
    # For messages; its name may be no text.
    folder = Path(printable(path))
    if YAML not in files:
        raise RecipeError(
            f'{folder / YAML} is missing; the folder holds: {", ".join(files)[:200] or "nothing"}'
        )
    with _named(str(folder / YAML)):
        values = plain_yaml(files[YAML])
    reader = MappingReader(str(folder / YAML), values)
    try:
        recipe = _recipe(reader, folder, files, budget)
    except RecipeError:
        raise
    except Exception as error:
        raise RecipeError(f'{folder / YAML}: {_said(error)}') from error
    _check_that_it_judges(recipe, folder)
    return recipe.at(path)


@contextmanager
def _named(file: str) -> Iterator[None]:
    """
    Turn whatever goes wrong with a file into a RecipeError that begins with its name.

    """
    try:
        yield
    except Exception as error:
        raise RecipeError(f'{file}: {_said(error)}') from error


def _said(error: Exception) -> str:
    """
    Give what an exception says, in one line that is not too long.

    """
    text = ' '.join(str(error).split())
    if isinstance(error, MemoryError):
        text = f'there is not enough memory; {text}'
    elif not isinstance(error, InspectionError):
        # Their traceback will be gone, and they may be a fault of ours.
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f'{type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})'
    return text if len(text) <= _LONGEST_CAUSE else f'{text[:_LONGEST_CAUSE]}...'


def _forget(error: BaseException) -> None:
    """
    Let go of what the functions held in which an exception was raised: it may live on for long.

    Clearing their frames would not do, as the functions made for comprehensions hold on to what
    they use.

    """
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__


def _recipe(
    reader: MappingReader, folder: Path, files: dict[str, bytes], budget: Budget
) -> Recipe:
    reader.choice('format_version', (FORMAT_VERSION,))
    files_hash = hash_of(files)
    frame_format = frame_format_of(reader.mapping('frame'))
    preprocessing = preprocessing_of(reader)
    _take_work(frame_format, preprocessing, folder, budget)
    parts = reader.mapping('scorers')
    names = parts.keys(allowed=SCORERS)
    models = _models(folder, files)
    if strangers := sorted(models.keys() - set(names)):
        raise RecipeError(
            f'{folder / MODEL / strangers[0]} belongs to no scorer of the recipe; it has: '
            f'{", ".join(names)}'
        )
    statistics = _statistics(folder, files, names, budget)
    scorers = {
        name: _scorer(name, parts.mapping(name), folder, statistics, models.get(name, {}))
        for name in names
    }
    if all(part.limits.keys() <= part.not_judged for part in scorers.values()):
        raise RecipeError(f'{folder / YAML}: no measure is judged; allowed: one at least')
    recipe = Recipe(
        name=reader.text('name', NAME_PATTERN, NAME_ALLOWED),
        product=reader.text('product'),
        provenance=provenance_of(reader.mapping('provenance')),
        frame_format=frame_format,
        preprocessing=preprocessing,
        scorers=scorers,
        references=_references(reader, frame_format, folder, files, budget),
        tolerance=tolerance_of(reader),
        marks=marks_of(reader, frame_format),
        combination=str(reader.choice('combination', COMBINATIONS)),
        version=reader.integer('version', 1, 2**32 - 1),
        created=created_of(reader),
        hash=files_hash,
        teaching_images=_teaching_images(folder, files),
        conditions=_conditions(folder / STATISTICS, statistics),
    )
    reader.finish()
    return recipe


def _take_work(
    frame_format: FrameFormat,
    preprocessing: PreprocessingSettings,
    folder: Path,
    budget: Budget,
) -> None:
    """
    Count what judging a frame takes, which a few lines of YAML and a small image can make huge.

    """
    budget.take(
        f'{folder / YAML}: judging frames of {frame_format.width} x {frame_format.height} px',
        frame_work_bytes(frame_format, preprocessing.colour, preprocessing.region_of_interest),
    )


def _scorer(
    name: str,
    reader: MappingReader,
    folder: Path,
    statistics: Mapping[str, NDArray[Any]],
    model: Mapping[str, NDArray[np.uint8]],
) -> ScorerRecipe:
    statistics_path = folder / STATISTICS
    settings = reader.plain_mapping('settings')
    region_reader = reader.mapping('region')
    region = RegionSettings(
        limit=region_reader.number('limit', -LARGEST_REGION_LIMIT, LARGEST_REGION_LIMIT),
        min_area_px=region_reader.integer('min_area_px', 1, 10**9),
    )
    region_reader.finish()
    measures = reader.mapping('measures')
    specs = {spec.name: spec for spec in measures_of(name)}
    measures.keys(allowed=specs)
    limits, good, not_judged = {}, {}, set()
    for spec in specs.values():
        measure = measures.mapping(spec.name)
        measure.choice('unit', (spec.unit,))
        measure.choice('bad_side', (spec.bad_side.name.lower(),))
        limits[spec.name] = MeasureLimit(
            measure.number('limit'),
            measure.number('typical'),
            lowest=measure.number('lowest') if measure.has('lowest') else None,
            highest=measure.number('highest') if measure.has('highest') else None,
        )
        if not measure.truth('judged', default=True):
            not_judged.add(spec.name)
        measure.finish()
        try:
            checked_limit(name, spec, limits[spec.name])
        except LimitError as error:
            raise measures.error(spec.name, f'is not allowed: {error}') from error
        good[spec.name] = _good(f'good/{name}.{spec.name}', statistics_path, statistics)
    measures.finish()
    reader.finish()
    kind = scorer_class(name)
    arrays = {
        key: statistics[f'{name}/{key}']
        for key in kind.array_names
        if f'{name}/{key}' in statistics
    }
    arrays |= model
    files_named = f'{statistics_path}: {name}/' + (f', {folder / MODEL / name}' if model else '')
    try:
        known = kind.from_arrays(arrays, settings).to_arrays()
    except SettingError as error:
        raise reader.error('settings', f'is {shown(settings)}: {error}') from error
    except Exception as error:
        raise RecipeError(f'{files_named}: {_said(error)}') from error
    if strangers := sorted(model.keys() - known.keys()):
        raise RecipeError(f'{folder / MODEL / name / strangers[0]} is no file that {name} knows')
    # A default may change with the package; a recipe must not change with it.
    for key in kind.default_settings:
        if key not in settings:
            raise reader.error(f'settings.{key}', 'is missing')
    return ScorerRecipe(settings, region, limits, arrays, good, frozenset(not_judged))


def _good(key: str, path: Path, statistics: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    if key not in statistics:
        raise RecipeError(f'{path}: array {key!r} is missing')
    values = statistics[key]
    if values.dtype != np.float64 or values.ndim != 1 or values.size == 0:
        raise RecipeError(
            f'{path}: array {key!r} is {values.dtype} of shape {values.shape}; '
            f'allowed: float64 in one dimension, not empty'
        )
    return values


def _conditions(
    path: Path, statistics: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float64]]:
    """
    Give the conditions at teaching; none in recipes of older versions.

    """
    conditions = {}
    for name in (*CONDITIONS, *CELLS):
        key = f'conditions/{name}'
        if key not in statistics:
            continue
        values = statistics[key]
        is_grid = name in CELLS
        is_shaped = values.shape == (2, *GRID) if is_grid else values.ndim == 1 and values.size > 0
        if values.dtype != np.float64 or not is_shaped:
            allowed = f'of shape {(2, *GRID)}' if is_grid else 'in one dimension, not empty'
            raise RecipeError(
                f'{path}: array {key!r} is {values.dtype} of shape {values.shape}; allowed: '
                f'float64 {allowed}'
            )
        conditions[name] = values
    return conditions


def _statistics(
    folder: Path, files: dict[str, bytes], scorers: Sequence[str], budget: Budget
) -> dict[str, NDArray[Any]]:
    """
    Unpack all arrays; takes their file out of the files.

    """
    if STATISTICS not in files:
        raise RecipeError(f'{folder / STATISTICS} is missing')
    content = files.pop(STATISTICS)
    known = {f'{name}/{key}' for name in scorers for key in scorer_class(name).array_names}
    known |= {f'good/{name}.{spec.name}' for name in scorers for spec in measures_of(name)}
    known |= {f'conditions/{name}' for name in (*CONDITIONS, *CELLS)}
    with _named(str(folder / STATISTICS)):
        arrays = read_statistics(content, known, budget)
    budget.give_back(len(content))
    return arrays


def _models(folder: Path, files: Mapping[str, bytes]) -> dict[str, dict[str, NDArray[np.uint8]]]:
    """
    Give the files in model/ by scorer and name.

    """
    models: dict[str, dict[str, NDArray[np.uint8]]] = {}
    for path, content in files.items():
        top, *names = path.split('/')
        if top == MODEL:
            models.setdefault(names[0], {})[names[1]] = np.frombuffer(content, np.uint8)
    return models


def _references(
    reader: MappingReader,
    frame_format: FrameFormat,
    folder: Path,
    files: dict[str, bytes],
    budget: Budget,
) -> tuple[NDArray[np.uint8], ...]:
    """
    Decode the references; takes their files out of the files.

    """
    names = reader.texts('references')
    if not 1 <= len(names) <= MOST_REFERENCES:
        raise reader.error(
            'references', f'names {len(names)} files; allowed: 1 to {MOST_REFERENCES}'
        )
    if len(set(names)) < len(names):
        raise reader.error('references', 'names a file twice; allowed: once')
    frames = []
    for name in names:
        path = f'{REFERENCES}/{name}'
        if path not in files:
            raise RecipeError(
                f'{folder / REFERENCES / printable(name)[:100]} is missing; {YAML} names it in '
                'references'
            )
        content = files.pop(path)
        with _named(str(folder / path)):
            header = image_header(content)
            if (header.width, header.height) != (frame_format.width, frame_format.height):
                raise FrameError(
                    f'frame is {header.width} x {header.height} px; allowed: '
                    f'{frame_format.width} x {frame_format.height} px, as {YAML} says'
                )
            budget.take('the frame', math.prod(frame_format.shape))
            frame = decode_image(content)
            check_frame(frame, frame_format)
        budget.give_back(len(content))
        frames.append(frame)
    if strangers := [path for path in files if path.startswith(f'{REFERENCES}/')]:
        raise RecipeError(
            f'{folder / strangers[0]} is no part of the recipe; {YAML} does not name it in '
            'references'
        )
    return tuple(frames)


def _teaching_images(folder: Path, files: Mapping[str, bytes]) -> TeachingImages | None:
    """
    Give the list of the kept images; they must be in the folder, and no others.

    """
    there = {path for path in files if path.startswith(f'{IMAGES}/')}
    if IMAGE_LIST not in files:
        if there:
            raise RecipeError(
                f'{folder / min(there)} is no part of the recipe; {IMAGE_LIST} is missing, which '
                'names the images'
            )
        return None
    shown_name = str(folder / IMAGE_LIST)
    with _named(shown_name):
        text = files[IMAGE_LIST].decode()
    images = TeachingImages.from_text(folder, text, shown_name)
    wanted = {f'{IMAGES}/{image_name(index)}' for index in range(len(images.entries))}
    if missing := sorted(wanted - there):
        raise RecipeError(f'{folder / missing[0]} is missing; {IMAGE_LIST} names it')
    if strangers := sorted(there - wanted):
        raise RecipeError(
            f'{folder / strangers[0]} is no part of the recipe; {IMAGE_LIST} does not name it'
        )
    return images


def _check_that_it_judges(recipe: Recipe, folder: Path) -> None:
    """
    Score the alignment reference, which must be found and measured by every scorer.

    """
    try:
        scores = recipe.frame_scorer().score(recipe.references[0])
    except InspectionError as error:
        raise RecipeError(f'{folder}: {error}') from error
    for score in scores:
        if score.status != ScoreStatus.OK:
            raise RecipeError(
                f"{folder}: {score.scorer} cannot judge the recipe's own first reference: "
                f'{score.detail}'
            )
        for measure, value in score.measures.items():
            if not math.isfinite(value):
                raise RecipeError(
                    f'{folder}: {score.scorer}.{measure} of the first reference is {value}'
                )
