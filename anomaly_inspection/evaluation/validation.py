# SPDX-License-Identifier: Apache-2.0
"""
What a validation of a recipe says: known parts, self-test, time, gate, and what it was done with.

The content is ready for JSON. `differences` compares two of them.

"""

from __future__ import annotations

from collections import Counter
import hashlib
from importlib import metadata
import json
import math
import os
import platform
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection import __version__
from anomaly_inspection.evaluation.self_test_result import to_json as self_test_json
from anomaly_inspection.learning.binomial import upper_bound
from anomaly_inspection.recipes.recipe_files import open_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from anomaly_inspection.evaluation.known_parts import KnownPart
    from anomaly_inspection.evaluation.self_test_result import SelfTest
    from anomaly_inspection.recipes.recipe import Recipe

#: One-sided confidence of the upper bounds.
CONFIDENCE = 0.95
_PACKAGES = (
    *('numpy', 'scipy', 'opencv-python-headless', 'opencv-python', 'scikit-image'),
    *('scikit-learn', 'openvino', 'tensorflow', 'rclpy', 'ros-rclpy'),
)
# Scores of one machine agree to the last digit; another one may round differently.
_SAME_SCORE = 1e-6


def rate_of(count: int, total: int) -> dict[str, Any]:
    """
    Give a share with its upper bound (Clopper-Pearson, one-sided); None without any part.

    """
    return {
        'count': count,
        'of': total,
        'share': count / total if total else None,
        'upper_bound': upper_bound(count, total, CONFIDENCE) if total else None,
        'confidence': CONFIDENCE,
    }


def known_parts_content(parts: Sequence[KnownPart]) -> dict[str, Any]:
    """
    Give the figures over known parts, and one row for each.

    """
    good = [part for part in parts if part.kind == 'good']
    bad = [part for part in parts if part.kind != 'good']
    kinds = Counter(part.kind for part in bad)
    escaped = Counter(part.kind for part in bad if part.is_escape)
    return {
        'false_rejects': rate_of(sum(part.is_false_reject for part in good), len(good)),
        'escapes': rate_of(sum(part.is_escape for part in bad), len(bad)),
        'escapes_by_kind': {
            kind: rate_of(escaped[kind], count) for kind, count in sorted(kinds.items())
        },
        'parts': [
            {
                'name': part.name,
                'sha256': part.sha256,
                'kind': part.kind,
                'verdict': part.verdict,
                'reason': part.reason,
                'anomaly_score': _number(part.anomaly_score),
                'comparison': part.comparison,
            }
            for part in parts
        ],
    }


def time_content(times_s: Iterable[float]) -> dict[str, Any]:
    """
    Give median and 99th percentile of what a frame takes, milliseconds.

    """
    times_ms = 1e3 * np.array([time_s for time_s in times_s if math.isfinite(time_s)])
    if not len(times_ms):
        return {'frames': 0, 'p50_ms': None, 'p99_ms': None, 'longest_ms': None}
    return {
        'frames': len(times_ms),
        'p50_ms': float(np.percentile(times_ms, 50)),
        'p99_ms': float(np.percentile(times_ms, 99)),
        'longest_ms': float(times_ms.max()),
    }


def self_test_content(result: SelfTest) -> dict[str, Any]:
    """
    Give the figures of a self-test.

    """
    content: dict[str, Any] = json.loads(self_test_json(result))
    seen = sum(one.is_seen for one in result.defects)
    content['defects'] = rate_of(len(result.defects) - seen, len(result.defects))
    return content


def recipe_content(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """
    Name a recipe, with the SHA-256 of each of its files: references, statistics, network, images.

    """
    files = {}
    for name, descriptor in open_files(folder):
        # The descriptor is closed by whoever gave it.
        with os.fdopen(os.dup(descriptor), 'rb') as file:
            files[name] = hashlib.file_digest(file, 'sha256').hexdigest()
    provenance = recipe.provenance
    return {
        'name': recipe.name,
        'product': recipe.product,
        'version': recipe.version,
        'created': recipe.created,
        'hash': recipe.hash,
        'taught_by': provenance.taught_by,
        'image_count': provenance.image_count,
        'promised_false_reject_rate': provenance.promised_rate,
        'scorers': list(recipe.scorers),
        'combination': recipe.combination,
        'limits': {
            f'{scorer}.{measure}': limit.limit
            for scorer, part in recipe.scorers.items()
            for measure, limit in part.limits.items()
            if measure not in part.not_judged
        },
        'files': dict(sorted(files.items())),
    }


def installation_content() -> dict[str, Any]:
    """
    Say which programs ran on what machine.

    """
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        'packages': {'anomaly_inspection': __version__, **packages},
        'python': platform.python_version(),
        'system': platform.platform(),
        'processor': _processor(),
        'cores': len(os.sched_getaffinity(0)),
        'ros_distro': os.environ.get('ROS_DISTRO', ''),
    }


def gate_content(summary: dict[str, Any], line_stops: Sequence[str]) -> dict[str, Any]:
    """
    Give what came of a run on the belt.

    Parameters
    ----------
    summary : dict
        As `RunFigures.summary` gives it.
    line_stops : sequence of str
        Why the line was stopped.

    """
    names = ('parts', 'lost', 'gate_not_followed', 'gate_not_confirmed', 'gate_causes')
    causes = ', '.join(sorted(cause.replace('_', ' ') for cause in summary['gate_causes']))
    return {
        **{name: summary[name] for name in names},
        'line_stops': list(line_stops),
        'exposure_to_decision_ms': _times(summary['latency_ms']),
        'firing_error_ms': _times(summary['firing_error_ms']),
        'faults': [
            f'{summary[name]} of {summary["parts"]} parts: {words}'
            for name, words in (
                ('lost', 'lost'),
                ('gate_not_followed', f'the gate did not do as decided ({causes})'),
                ('gate_not_confirmed', 'the gate did not confirm'),
            )
            if summary[name]
        ]
        + [f'the line was stopped: {reason}' for reason in line_stops],
    }


def faults_of(content: dict[str, Any]) -> list[str]:
    """
    Say what speaks against the use of a recipe, the worst first; empty when nothing does.

    """
    known, gate = content['known_parts'], content['gate']
    faults = []
    for key, words in (('escapes', 'bad parts passed'), ('false_rejects', 'good parts rejected')):
        rate = known[key]
        if rate['count']:
            faults.append(f'{rate["count"]} of {rate["of"]} known {words}')
        elif not rate['of']:
            faults.append(f'there are no known {words.split()[0]} parts: nothing is shown of them')
    faults += (content['self_test'] or {}).get('faults', [])
    return faults + (gate['faults'] if gate else [])


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """
    Say what is not the same in two validations, one sentence each; empty when they agree.

    Times vary from run to run and are left out.

    """
    found = []
    for name in ('name', 'version', 'hash'):
        before, now = old['recipe'].get(name), new['recipe'].get(name)
        if before != now:
            found.append(f'recipe: {name} was {before!r} and is {now!r}')
    found += _changed('file of the recipe', old['recipe']['files'], new['recipe']['files'])
    found += _changed('limit', old['recipe']['limits'], new['recipe']['limits'])
    packages = ('installation', 'packages')
    found += _changed('package', *(one[packages[0]][packages[1]] for one in (old, new)))
    for name in ('python', 'system', 'processor'):
        before, now = old['installation'].get(name), new['installation'].get(name)
        if before != now:
            found.append(f'{name} was {before!r} and is {now!r}')
    found += _changed_parts(old['known_parts']['parts'], new['known_parts']['parts'])
    found += _changed_self_test(old['self_test'], new['self_test'])
    before, now = (one['gate'] and one['gate']['faults'] for one in (old, new))
    if before != now:
        found.append(f'gate: {_gate_words(before)} before, {_gate_words(now)} now')
    return found


def _changed(what: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    found = [f'{what} {name} is gone' for name in sorted(old.keys() - new.keys())]
    found += [f'{what} {name} is new' for name in sorted(new.keys() - old.keys())]
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name]:
            before, now = (str(one[name])[:16] for one in (old, new))
            found.append(f'{what} {name} was {before} and is {now}')
    return found


def _changed_parts(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[str]:
    before, now = ({part['name']: part for part in parts} for parts in (old, new))
    found = [f'known part {name} is gone' for name in before if name not in now]
    found += [f'known part {name} is new' for name in now if name not in before]
    n_scores = 0
    for name in before.keys() & now.keys():
        first, second = before[name], now[name]
        for key, words in (('sha256', 'image'), ('kind', 'kind')):
            if first[key] != second[key]:
                found.append(f'known part {name}: another {words}')
        if first['verdict'] != second['verdict']:
            found.append(
                f'known part {name}: {first["verdict"]} before ({first["comparison"]}), '
                f'{second["verdict"]} now ({second["comparison"]})'
            )
        elif not _is_same_score(first['anomaly_score'], second['anomaly_score']):
            n_scores += 1
    if n_scores:
        found.append(f'{n_scores} known parts have the same verdict with another anomaly score')
    return sorted(found)


def _changed_self_test(old: dict[str, Any] | None, new: dict[str, Any] | None) -> list[str]:
    if old is None or new is None:
        return [] if old is new else ['the self-test was made in one of them alone']
    before, now = (
        {
            (c['kind'], c['size_px'], c['contrast_levels']): (c['defects'], c['seen'])
            for c in one['cells']
        }
        for one in (old, new)
    )
    n_changed = sum(before.get(cell) != now.get(cell) for cell in before.keys() | now.keys())
    return [f'self-test: {n_changed} of {len(now)} cells are not the same'] if n_changed else []


def _is_same_score(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return math.isclose(first, second, rel_tol=_SAME_SCORE, abs_tol=_SAME_SCORE)


def _gate_words(faults: list[str] | None) -> str:
    return 'not tried' if faults is None else '; '.join(faults) or 'as decided'


def _times(times_ms: dict[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in times_ms.items()}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _processor() -> str:
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as lines:
            names = [line.partition(':')[2].strip() for line in lines if 'model name' in line]
    except OSError:
        names = []
    return names[0] if names else platform.machine()
