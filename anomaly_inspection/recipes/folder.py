# SPDX-License-Identifier: Apache-2.0
"""
Recipes on disk: read and check a recipe folder, write one so that nobody ever sees half of it.

::

    <name>/
      recipe.yaml          what people read and may edit
      references/000.png   good frames as taught; the first is the alignment reference
      statistics.npz       '<scorer>/<array>' fitted data,
                           'good/<scorer>.<measure>' held-out good parts
      model/<scorer>/*.*   fitted data whose name holds a dot: files of their own, as a network is

"""

from __future__ import annotations

import ctypes
from dataclasses import asdict, replace
from datetime import datetime, UTC
import errno
import hashlib
import io
import math
import os
from pathlib import Path
import re
import secrets
import shutil
from typing import Any, TYPE_CHECKING
import zipfile
import zlib

import cv2
import numpy as np
import yaml

from anomaly_inspection.errors import (
    FrameError,
    InspectionError,
    LimitError,
    RecipeError,
    SettingError,
)
from anomaly_inspection.imaging.frame_check import check_frame, ENCODINGS, FrameFormat
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
from anomaly_inspection.recipes.mapping_reader import MappingReader
from anomaly_inspection.recipes.recipe import (
    check_limit,
    COMBINATIONS,
    MeasureLimit,
    measures_of,
    NAME_ALLOWED,
    NAME_PATTERN,
    Provenance,
    Recipe,
    ScorerRecipe,
)
from anomaly_inspection.scoring.frame_scorer import RegionSettings, ScoreStatus
from anomaly_inspection.scoring.registry import scorer_class, SCORERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FORMAT_VERSION = 1
MOST_REFERENCES = 20

_YAML = 'recipe.yaml'
_STATISTICS = 'statistics.npz'
_REFERENCES = 'references'
_MODEL = 'model'
_FILE_NAME = r'[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+'
_CREATED_FORMAT = '%Y-%m-%dT%H:%M:%SZ'
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

_HEADER = """\
# A recipe of anomaly_inspection: all that the cell knows of one product.
# Limits, region settings and texts may be edited by hand; a limit must stay on the bad side of
# its typical value. Preprocessing, settings, statistics.npz and model/ belong together: teach
# again to change them. Lengths are in pixels, gray levels go from 0 to 255, times are UTC.
"""


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """
    Read a recipe folder and check everything in it.

    All files are read from the folder as it was when it was opened: a new version that is put in
    its place meanwhile does not mix in. At the end the alignment reference is scored, so a recipe
    that reads can judge.

    Raises
    ------
    RecipeError
        When anything is missing, broken or does not fit; names the file, the key, the value and
        what is allowed.

    """
    folder = Path(path).resolve()
    files = _files(folder)
    reader = MappingReader(f'{folder / _YAML}', _parsed(folder / _YAML, files))
    try:
        recipe = _recipe(reader, folder, files)
    except (SettingError, LimitError, FrameError) as error:
        raise RecipeError(f'{folder / _YAML}: {error}') from error
    _check_that_it_judges(recipe, folder)
    return recipe


def write_recipe(
    recipe: Recipe, path: str | os.PathLike[str], created: datetime | None = None
) -> Recipe:
    """
    Write a recipe; over an existing one as its next version.

    The folder is written beside its place, synced, read back and checked, and only then renamed
    into place. Over an existing recipe the two are exchanged in one step where the kernel can; the
    old one stays as '<folder>.v<version>'. Where the kernel cannot, there is an instant with no
    recipe at `path`, never half of one.

    Parameters
    ----------
    recipe : Recipe
        Its version and time are set anew.
    path : path
        The folder; its parent is made when missing.
    created : datetime, optional
        Time of writing, with a time zone; now by default.

    Returns
    -------
    Recipe
        As read back, with version, time, path and hash.

    Raises
    ------
    RecipeError
        When it cannot be written, would not read back, or the folder in place is not a good
        recipe. What was in place then still is.

    """
    folder = Path(path).resolve()
    old = read_recipe(folder) if folder.exists() else None
    kept = None
    if old is not None:
        kept = folder.with_name(f'{folder.name}.v{old.version}')
        if kept.exists():
            raise RecipeError(
                f'{kept} already exists; move it away so that {folder} can be kept there'
            )
    created = datetime.now(UTC) if created is None else created.astimezone(UTC)
    recipe = replace(
        recipe,
        version=1 if old is None else old.version + 1,
        created=created.strftime(_CREATED_FORMAT),
    )
    draft = folder.with_name(f'.{folder.name}.{secrets.token_hex(4)}')
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write_files(recipe, draft)
        written = read_recipe(draft)
        if kept is None:
            os.rename(draft, folder)
        else:
            _put_in_place(draft, folder, kept)
        _sync(folder.parent)
    except OSError as error:
        raise RecipeError(f'cannot write the recipe {folder}: {error}') from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return replace(written, path=folder)


def _files(folder: Path) -> dict[str, bytes]:
    """
    Read all files of a folder, by path relative to it, sorted.

    """
    contents = {}
    try:
        # By descriptor, because another folder may be renamed to this path at any time.
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for root, _, names, descriptor in os.fwalk('.', dir_fd=opened):
                for name in names:
                    with open(os.open(name, os.O_RDONLY, dir_fd=descriptor), 'rb') as file:
                        contents[os.path.normpath(os.path.join(root, name))] = file.read()
        finally:
            os.close(opened)
    except OSError as error:
        raise RecipeError(f'cannot read the recipe folder {folder}: {error}') from error
    return dict(sorted(contents.items()))


def _hash(files: Mapping[str, bytes]) -> str:
    """
    Give the SHA-256 over names and contents, in the order of the names.

    """
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        # Lengths keep 'ab' + 'c' apart from 'a' + 'bc'.
        digest.update(f'{len(name.encode())} {len(content)} {name}'.encode())
        digest.update(content)
    return digest.hexdigest()


def _parsed(path: Path, files: Mapping[str, bytes]) -> object:
    if _YAML not in files:
        raise RecipeError(f'{path} is missing; the folder holds: {", ".join(files) or "nothing"}')
    try:
        text = files[_YAML].decode()
        # Aliases can make a small file grow without end.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise RecipeError(f'{path} holds an alias (*name); allowed: plain values')
        _check_no_key_twice(path, yaml.compose(text, yaml.SafeLoader))
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f'{path} is not readable YAML: {error}') from error


def _check_no_key_twice(path: Path, node: yaml.Node | None) -> None:
    """
    Refuse what YAML takes silently: of two lines with the same key the last would count.

    """
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        for (key, value), name in zip(node.value, keys, strict=True):
            if keys.count(name) > 1:
                line = key.start_mark.line + 1
                raise RecipeError(f'{path}: line {line}: key {name!r} stands there twice')
            _check_no_key_twice(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_no_key_twice(path, value)


def _recipe(reader: MappingReader, folder: Path, files: Mapping[str, bytes]) -> Recipe:
    reader.choice('format_version', (FORMAT_VERSION,))
    frame_format = _frame_format(reader.mapping('frame'))
    preprocessing = _preprocessing(reader)
    statistics = _statistics(folder / _STATISTICS, files)
    models = _models(folder, files)
    parts = reader.mapping('scorers')
    scorers = {
        name: _scorer(name, parts.mapping(name), folder, statistics, models.pop(name, {}))
        for name in parts.keys(allowed=SCORERS)
    }
    if all(part.limits.keys() <= part.not_judged for part in scorers.values()):
        raise RecipeError(f'{folder / _YAML}: no measure is judged; allowed: one at least')
    if models:
        raise RecipeError(
            f'{folder / _MODEL / min(models)} belongs to no scorer of the recipe; it has: '
            f'{", ".join(scorers)}'
        )
    if statistics:
        raise RecipeError(
            f'{folder / _STATISTICS}: array {min(statistics)!r} belongs to no scorer and no '
            f'measure of the recipe'
        )
    recipe = Recipe(
        name=reader.text('name', NAME_PATTERN, NAME_ALLOWED),
        product=reader.text('product'),
        provenance=_provenance(reader.mapping('provenance')),
        frame_format=frame_format,
        preprocessing=preprocessing,
        scorers=scorers,
        references=_references(reader, frame_format, folder, files),
        combination=str(reader.choice('combination', COMBINATIONS)),
        version=reader.integer('version', 1, 2**32 - 1),
        created=_created(reader),
        path=folder,
        hash=_hash(files),
    )
    reader.finish()
    return recipe


def _frame_format(reader: MappingReader) -> FrameFormat:
    frame_format = FrameFormat(
        width=reader.integer('width', 16, 16384),
        height=reader.integer('height', 16, 16384),
        encoding=str(reader.choice('encoding', tuple(ENCODINGS))),
        saturated_share=reader.number('saturated_share', 0.5, 1.0),
    )
    reader.finish()
    return frame_format


def _preprocessing(reader: MappingReader) -> PreprocessingSettings:
    mapping = reader.plain_mapping('preprocessing')
    try:
        settings = PreprocessingSettings.from_mapping(mapping)
    except SettingError as error:
        raise reader.error('preprocessing', f'is not allowed: {error}') from error
    missing = sorted(settings.to_mapping().keys() - mapping.keys())
    if missing:
        raise reader.error(f'preprocessing.{missing[0]}', 'is missing')
    fingerprint = reader.text('preprocessing_fingerprint', r'[0-9a-f]{64}', '64 hex digits')
    if fingerprint != settings.fingerprint():
        raise reader.error(
            'preprocessing_fingerprint',
            f'is {fingerprint}; the preprocessing here gives {settings.fingerprint()}: it was '
            f'changed after teaching. Change it back or teach again',
        )
    return settings


def _provenance(reader: MappingReader) -> Provenance:
    provenance = Provenance(
        taught_by=reader.text('taught_by'),
        test_number=reader.text('test_number'),
        sample_phase=reader.text('sample_phase'),
        test_position=reader.text('test_position'),
        source=reader.text('source'),
        image_count=reader.integer('image_count', 1, 10**9),
        left_out=reader.texts('left_out'),
        choice=reader.texts('choice', default=()),
        false_reject_rate=reader.number('false_reject_rate', 0.0, 0.5),
        promised_rate=reader.number('promised_rate', 0.0, 1.0),
    )
    reader.finish()
    return provenance


def _created(reader: MappingReader) -> str:
    allowed = "a UTC time such as '2031-12-24T18:00:00Z', in quotes"
    created = reader.text('created', r'[0-9TZ:-]+', allowed)
    try:
        datetime.strptime(created, _CREATED_FORMAT)
    except ValueError as error:
        raise reader.error('created', f'is {created!r}; allowed: {allowed}') from error
    return created


def _scorer(
    name: str,
    reader: MappingReader,
    folder: Path,
    statistics: dict[str, NDArray[Any]],
    model: dict[str, NDArray[np.uint8]],
) -> ScorerRecipe:
    """
    Read one scorer; takes its arrays out of the statistics.

    """
    statistics_path = folder / _STATISTICS
    settings = reader.plain_mapping('settings')
    region_reader = reader.mapping('region')
    region = RegionSettings(
        limit=region_reader.number('limit'),
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
        limits[spec.name] = MeasureLimit(measure.number('limit'), measure.number('typical'))
        if not measure.truth('judged', default=True):
            not_judged.add(spec.name)
        measure.finish()
        check_limit(f'scorers.{name}.measures.{spec.name}', spec, limits[spec.name])
        good[spec.name] = _good(f'good/{name}.{spec.name}', statistics_path, statistics)
    measures.finish()
    reader.finish()
    prefix = f'{name}/'
    arrays = {
        key.removeprefix(prefix): statistics.pop(key)
        for key in list(statistics)
        if key.startswith(prefix) and '.' not in key
    }
    arrays |= model
    kind = scorer_class(name)
    try:
        known = kind.from_arrays(arrays, settings).to_arrays()
    except SettingError as error:
        raise reader.error('settings', f'is {settings}: {error}') from error
    except RecipeError as error:
        files = f', {folder / _MODEL / name}' if model else ''
        raise RecipeError(f'{statistics_path}: {prefix}{files}: {error}') from error
    if strangers := sorted(model.keys() - known.keys()):
        raise RecipeError(f'{folder / _MODEL / name / strangers[0]} is no file that {name} knows')
    # A default may change with the package; a recipe must not change with it.
    for key in kind.default_settings:
        if key not in settings:
            raise reader.error(f'settings.{key}', 'is missing')
    return ScorerRecipe(settings, region, limits, arrays, good, frozenset(not_judged))


def _good(key: str, path: Path, statistics: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    if key not in statistics:
        raise RecipeError(f'{path}: array {key!r} is missing')
    values = statistics.pop(key)
    if values.dtype != np.float64 or values.ndim != 1 or values.size == 0:
        raise RecipeError(
            f'{path}: array {key!r} is {values.dtype} of shape {values.shape}; '
            f'allowed: float64 in one dimension, not empty'
        )
    return values


def _statistics(path: Path, files: Mapping[str, bytes]) -> dict[str, NDArray[Any]]:
    if _STATISTICS not in files:
        raise RecipeError(f'{path} is missing')
    try:
        with np.load(io.BytesIO(files[_STATISTICS]), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (
        OSError,
        EOFError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
        AttributeError,
    ) as error:
        raise RecipeError(f'{path} is truncated or not an array file: {error}') from error
    for key, array in arrays.items():
        if array.dtype.kind == 'f' and not np.isfinite(array).all():
            raise RecipeError(f'{path}: array {key!r} holds values that are not finite')
    return arrays


def _models(folder: Path, files: Mapping[str, bytes]) -> dict[str, dict[str, NDArray[np.uint8]]]:
    """
    Give the files in model/ by scorer and name.

    """
    models: dict[str, dict[str, NDArray[np.uint8]]] = {}
    for path, content in files.items():
        top, *names = Path(path).parts
        if top != _MODEL:
            continue
        if len(names) != 2 or not re.fullmatch(_FILE_NAME, names[1]):
            raise RecipeError(
                f'{folder / path} does not belong there; allowed: {_MODEL}/<scorer>/<file>, the '
                'name of letters, digits, "_" and "-" with one or more dots inside'
            )
        models.setdefault(names[0], {})[names[1]] = np.frombuffer(content, np.uint8)
    return models


def _references(
    reader: MappingReader, frame_format: FrameFormat, folder: Path, files: Mapping[str, bytes]
) -> tuple[NDArray[np.uint8], ...]:
    names = reader.texts('references')
    if not 1 <= len(names) <= MOST_REFERENCES:
        raise reader.error(
            'references', f'names {len(names)} files; allowed: 1 to {MOST_REFERENCES}'
        )
    frames = []
    for name in names:
        path = folder / _REFERENCES / name
        content = files.get(f'{_REFERENCES}/{name}')
        if content is None:
            raise RecipeError(f'{path} is missing; {_YAML} names it in references')
        frame = _decoded(content)
        if frame is None:
            raise RecipeError(f'{path} is not a readable image ({len(content)} bytes)')
        try:
            check_frame(frame, frame_format)
        except FrameError as error:
            raise RecipeError(f'{path}: {error}') from error
        frames.append(frame)
    return tuple(frames)


def _decoded(content: bytes) -> NDArray[Any] | None:
    """
    Decode an image as it is, 16-bit and alpha included; None when it cannot be.

    """
    if not content:
        return None
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    return None if image is None else np.asarray(image)


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


def _write_files(recipe: Recipe, folder: Path) -> None:
    """
    Write all files of a recipe and wait until they are on the disk.

    """
    arrays: dict[str, Any] = {}
    models: dict[Path, bytes] = {}
    for name, part in recipe.scorers.items():
        for key, array in part.arrays.items():
            if '.' in key:
                models[folder / _MODEL / name / key] = _file_content(f'{name}/{key}', array)
            else:
                arrays[f'{name}/{key}'] = array
        arrays |= {f'good/{name}.{key}': values for key, values in part.good.items()}
    statistics = io.BytesIO()
    np.savez(statistics, **arrays)
    (folder / _REFERENCES).mkdir(parents=True)
    _write(folder / _STATISTICS, statistics.getvalue())
    for index, frame in enumerate(recipe.references):
        _write(
            folder / _REFERENCES / _reference_name(index), cv2.imencode('.png', frame)[1].tobytes()
        )
    _write(folder / _YAML, _yaml_text(recipe).encode())
    for path, content in models.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)
    for kept in {folder, folder / _REFERENCES, *(one for path in models for one in path.parents)}:
        if kept.is_relative_to(folder):
            _sync(kept)


def _file_content(key: str, array: NDArray[Any]) -> bytes:
    if not re.fullmatch(_FILE_NAME, key.partition('/')[2]):
        raise RecipeError(
            f'array {key!r} cannot be a file; allowed: letters, digits, "_" and "-" with one or '
            'more dots inside'
        )
    if array.dtype != np.uint8 or array.ndim != 1:
        raise RecipeError(
            f'array {key!r} is {array.dtype} of shape {array.shape}; allowed, because its name '
            'holds a dot: the bytes of a file, uint8 in one dimension'
        )
    return array.tobytes()


def _write(path: Path, content: bytes) -> None:
    with path.open('xb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(draft: Path, folder: Path, kept: Path) -> None:
    """
    Put the draft in the place of the folder and keep that as `kept`; on failure all is as before.

    """
    if _exchange(draft, folder):
        try:
            os.rename(draft, kept)
        except OSError:
            _exchange(draft, folder)
            raise
        return
    os.rename(folder, kept)
    try:
        os.rename(draft, folder)
    except OSError:
        os.rename(kept, folder)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """
    Exchange two folders in one step; False when the kernel or the file system cannot.

    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if (
        renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
        == 0
    ):
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _reference_name(index: int) -> str:
    return f'{index:03d}.png'


def _yaml_text(recipe: Recipe) -> str:
    """
    Write recipe.yaml for people: comments, units, one line a measure.

    """
    provenance = {**asdict(recipe.provenance)}
    provenance |= {key: list(provenance[key]) for key in ('left_out', 'choice')}
    lines = [
        _HEADER,
        _entry('format_version', FORMAT_VERSION),
        _entry('name', recipe.name),
        _entry('product', recipe.product),
        '# Counts up at each writing; the version before stands beside this folder.',
        _entry('version', recipe.version),
        _entry('created', recipe.created),
        '',
        '# Rates are shares of good parts rejected: false_reject_rate is what the limits aim at,',
        '# promised_rate what the number of images alone can promise with 95 % confidence.',
        _block('provenance', provenance),
        '# What every frame must be.',
        _block('frame', asdict(recipe.frame_format)),
        '# From a frame to what scorers see.',
        _block('preprocessing', recipe.preprocessing.to_mapping()),
        _entry('preprocessing_fingerprint', recipe.preprocessing.fingerprint()),
        '',
        '# any: one measure beyond its limit rejects the part; all: only all of them together do.',
        "# A measure with 'judged: false' is published, but plays no part in this.",
        _entry('combination', recipe.combination),
        '',
        'scorers:',
    ]
    for name, part in recipe.scorers.items():
        lines += [
            f'  {name}:',
            f'    settings: {_flow(part.settings)}',
            f'    # Where the anomaly map (unit {scorer_class(name).map_unit}) is over limit.',
            f'    region: {_flow(asdict(part.region))}',
            '    measures:',
        ]
        for spec in measures_of(name):
            limit = part.limits[spec.name]
            values = {
                'limit': limit.limit,
                'typical': limit.typical,
                'unit': spec.unit,
                'bad_side': spec.bad_side.name.lower(),
            }
            if spec.name in part.not_judged:
                values['judged'] = False
            lines += [f'      # {spec.description}', f'      {spec.name}: {_flow(values)}']
        lines.append('')
    names = [_reference_name(index) for index in range(len(recipe.references))]
    lines += [
        f'# Good frames as taught, in {_REFERENCES}/; the first is what parts are aligned to.',
        f'references: {_flow(names)}',
    ]
    return '\n'.join(lines) + '\n'


def _entry(key: str, value: object) -> str:
    return f'{key}: {_flow(value)}'


def _block(key: str, mapping: Mapping[str, Any]) -> str:
    return yaml.safe_dump({key: mapping}, sort_keys=False, allow_unicode=True, width=10**6)


def _flow(value: object) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    return text.removesuffix('...\n').strip()
