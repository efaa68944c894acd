# SPDX-License-Identifier: Apache-2.0
"""
Teaching sessions with images of the small simulated line.

"""

from datetime import datetime, UTC

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.teaching.session import TeachingFolder
from support.small_recipe import SMALL_LINE

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
#: Settings that teach in a few seconds.
QUICK = {
    'recipe_name': '',
    'scorers': ['ssim'],
    'region': (),
    'false_reject_rate': 0.005,
    'tolerance': '',
    'highlight_colours': False,
    'speed_budget_ms': 0.0,
    'taught_by': 'Ada',
}


def good_parts(count=12, seed=1):
    """
    Give images of good parts, those of `taught_recipe` for seed 1.

    """
    with open_source(f'{SMALL_LINE},defect_rate=0,parts={count},seed={seed}') as line:
        return [line.read().image for _ in range(count)]


def recorded_session(folder, product='Pump 3', count=12):
    """
    Begin a session and put images of good parts into it.

    """
    session = TeachingFolder(folder).begin(product, NOW)
    for image in good_parts(count):
        session.add(image)
    return session
