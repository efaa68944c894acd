# SPDX-License-Identifier: Apache-2.0
"""
recipe.yaml as people read it: comments, units, one line a measure.

"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, TYPE_CHECKING

import yaml

from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.layout import FORMAT_VERSION, reference_name, REFERENCES
from anomaly_inspection.recipes.recipe import measures_of, Recipe
from anomaly_inspection.scoring.registry import scorer_class

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = """\
# A recipe of anomaly_inspection: all that the cell knows of one product.
# Limits, region settings and texts may be edited by hand; a limit must stay on the bad side of
# its typical value. Preprocessing, settings, statistics.npz and model/ belong together: teach
# again to change them. Lengths are in pixels, gray levels go from 0 to 255, times are UTC.
"""


def recipe_text(recipe: Recipe) -> str:
    """
    Give the content of recipe.yaml.

    """
    provenance = {key: _readable(value) for key, value in asdict(recipe.provenance).items()}
    lines = [
        _HEADER,
        _entry('format_version', FORMAT_VERSION),
        _entry('name', recipe.name),
        _entry('product', printable(recipe.product)),
        '# Counts up at each writing; the version before stands beside this folder.',
        _entry('version', recipe.version),
        _entry('created', recipe.created),
        '',
        '# Rates are shares of good parts rejected: false_reject_rate is what the limits aim at,',
        '# promised_rate what the number of images alone can promise with 95 % confidence.',
        _block('provenance', provenance),
        '# What every frame must be. Frames of the accepted sizes, if any, are scaled to it.',
        _block('frame', asdict(recipe.frame_format)),
        '# From a frame to what scorers see.',
        _block('preprocessing', recipe.preprocessing.to_mapping()),
        _entry('preprocessing_fingerprint', recipe.preprocessing.fingerprint()),
        '',
        *_tolerance(recipe),
        *_marks(recipe),
        '# any: one measure beyond its limit rejects the part; all: only all of them together do.',
        "# A measure with 'judged: false' is published, but plays no part in this. Where lowest",
        '# and highest are given, the limit may be moved within them alone.',
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
            for name, end in (('lowest', limit.lowest), ('highest', limit.highest)):
                if end is not None:
                    values[name] = end
            if spec.name in part.not_judged:
                values['judged'] = False
            lines += [f'      # {spec.description}', f'      {spec.name}: {_flow(values)}']
        lines.append('')
    names = [reference_name(index) for index in range(len(recipe.references))]
    lines += [
        f'# Good frames as taught, in {REFERENCES}/; the first is what parts are aligned to.',
        f'references: {_flow(names)}',
    ]
    return '\n'.join(lines) + '\n'


def _tolerance(recipe: Recipe) -> list[str]:
    if recipe.tolerance is None:
        return []
    return [
        '# How far good parts may lie, turn and be lit differently: what the limits hold for.',
        _block('tolerance', recipe.tolerance.to_mapping()),
    ]


def _marks(recipe: Recipe) -> list[str]:
    if recipe.marks is None:
        return []
    return [
        '# Marked on the part in the first reference: origin, axis (degrees, counter-clockwise),',
        '# grasps (along the closing jaws), and how high above the belt they are.',
        _entry('marks', recipe.marks.to_mapping()),
        '',
    ]


def _readable(value: Any) -> Any:
    """
    Give texts as YAML takes them back: names of files and folders may hold anything.

    """
    if isinstance(value, tuple | list):
        return [printable(text) for text in value]
    return printable(value) if isinstance(value, str) else value


def _entry(key: str, value: object) -> str:
    return f'{key}: {_flow(value)}'


def _block(key: str, mapping: Mapping[str, Any]) -> str:
    return yaml.safe_dump({key: mapping}, sort_keys=False, allow_unicode=True, width=10**6)


def _flow(value: object) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    return text.removesuffix('...\n').strip()
