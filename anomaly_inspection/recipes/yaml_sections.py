# SPDX-License-Identifier: Apache-2.0
"""
Read the sections of recipe.yaml that need no other file.

Each raises RecipeError with the key, the value and what is allowed.

"""

from __future__ import annotations

from datetime import datetime

from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.frame_check import AcceptedSizes, ENCODINGS, FrameFormat
from anomaly_inspection.imaging.part_marks import PartMarks
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
from anomaly_inspection.imaging.tolerance import Tolerance
from anomaly_inspection.recipes.layout import CREATED_FORMAT
from anomaly_inspection.recipes.mapping_reader import MappingReader
from anomaly_inspection.recipes.recipe import Provenance


def frame_format_of(reader: MappingReader) -> FrameFormat:
    """
    Give what every frame must be.

    """
    frame_format = FrameFormat(
        width=reader.integer('width', 16, 16384),
        height=reader.integer('height', 16, 16384),
        encoding=str(reader.choice('encoding', tuple(ENCODINGS))),
        saturated_share=reader.number('saturated_share', 0.5, 1.0),
        accepted_sizes=_accepted_sizes(reader),
        accepts_colour=reader.truth('accepts_colour', default=False),
    )
    reader.finish()
    return frame_format


def _accepted_sizes(reader: MappingReader) -> AcceptedSizes | None:
    sizes = reader.optional_mapping('accepted_sizes')
    if sizes is None:
        return None
    min_width = sizes.integer('min_width', 16, 16384)
    min_height = sizes.integer('min_height', 16, 16384)
    accepted = AcceptedSizes(
        min_width,
        min_height,
        max_width=sizes.integer('max_width', min_width, 16384),
        max_height=sizes.integer('max_height', min_height, 16384),
    )
    sizes.finish()
    return accepted


def preprocessing_of(reader: MappingReader) -> PreprocessingSettings:
    """
    Give what comes before the scorers; refuses one that was changed after teaching.

    """
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


def tolerance_of(reader: MappingReader) -> Tolerance | None:
    """
    Give the tolerance; None when there is none, as in recipes of older versions.

    """
    if not reader.has('tolerance'):
        return None
    mapping = reader.plain_mapping('tolerance')
    try:
        tolerance = Tolerance.from_mapping(mapping)
    except SettingError as error:
        raise reader.error('tolerance', f'is not allowed: {error}') from error
    if tolerance.shift_px is None:
        raise reader.error('tolerance.shift_px', 'is missing')
    return tolerance


def marks_of(reader: MappingReader, frame_format: FrameFormat) -> PartMarks | None:
    """
    Give what is marked on the part; None when nothing is.

    """
    if not reader.has('marks'):
        return None
    mapping = reader.plain_mapping('marks')
    try:
        marks = PartMarks.from_mapping(mapping)
        marks.check_within(frame_format.width, frame_format.height)
    except SettingError as error:
        raise reader.error('marks', f'is not allowed: {error}') from error
    return marks


def provenance_of(reader: MappingReader) -> Provenance:
    """
    Give where the recipe comes from.

    """
    provenance = Provenance(
        taught_by=reader.text('taught_by'),
        test_number=reader.text('test_number'),
        sample_phase=reader.text('sample_phase'),
        test_position=reader.text('test_position'),
        source=reader.text('source'),
        image_count=reader.integer('image_count', 1, 10**9),
        independent_count=reader.integer('independent_count', 0, 10**9, default=0),
        left_out=reader.texts('left_out'),
        images=reader.texts('images', default=()),
        choice=reader.texts('choice', default=()),
        false_reject_rate=reader.number('false_reject_rate', 0.0, 0.5),
        promised_rate=reader.number('promised_rate', 0.0, 1.0),
    )
    reader.finish()
    return provenance


def created_of(reader: MappingReader) -> str:
    """
    Give when the recipe was written, UTC.

    """
    allowed = "a UTC time such as '2031-12-24T18:00:00Z', in quotes"
    created = reader.text('created', r'[0-9TZ:-]+', allowed)
    try:
        datetime.strptime(created, CREATED_FORMAT)
    except ValueError as error:
        raise reader.error('created', f'is {created!r}; allowed: {allowed}') from error
    return created
