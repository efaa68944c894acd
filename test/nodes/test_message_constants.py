# SPDX-License-Identifier: Apache-2.0
"""
The enumerations of the libraries have the names and values of the messages.

"""

from __future__ import annotations

from enum import IntEnum
import re

import pytest

from anomaly_inspection.capture.simulated_arm import ArmOutcome, ArmStage, PutInto
from anomaly_inspection.deciding import part_judge
from anomaly_inspection.deciding.frame_judge import Combination, Reason, Verdict
from anomaly_inspection.deciding.inspection import Outcome as InspectOutcome
from anomaly_inspection.deciding.limits import LimitOrigin
from anomaly_inspection.learning.cell_calibration import CalibrationState
from anomaly_inspection.scoring.frame_scorer import ScoreStatus
from anomaly_inspection.scoring.measure import BadSide
from anomaly_inspection.sorting.pick_order import PickOutcome
from anomaly_inspection.sorting.sort_record import Action, Cause, Outcome
from support.paths import ROOT


def constants(message: str, prefix: str) -> dict[str, int]:
    """
    Read the constants of a message that begin with the prefix, apart from UNKNOWN.

    """
    kind = 'action' if message in ('Inspect', 'SortPart') else 'msg'
    text = (ROOT / kind / f'{message}.{kind}').read_text(encoding='utf-8')
    found = re.findall(rf'^uint8 {prefix}_(\w+)=(\d+)$', text, re.MULTILINE)
    assert found[0] == ('UNKNOWN', '0')
    return {name: int(value) for name, value in found[1:]}


@pytest.mark.parametrize(
    ('message', 'prefix', 'enumeration'),
    [
        ('Calibration', 'STATE', CalibrationState),
        ('Decision', 'VERDICT', Verdict),
        ('Decision', 'REASON', Reason),
        ('Inspect', 'VERDICT', Verdict),
        ('Inspect', 'OUTCOME', InspectOutcome),
        ('LimitsInForce', 'COMBINATION', Combination),
        ('LimitInForce', 'ORIGIN', LimitOrigin),
        ('Measure', 'BAD_SIDE', BadSide),
        ('SimulatedArmState', 'PUT', PutInto),
        ('SimulatedArmState', 'STAGE', ArmStage),
        ('SortEvent', 'ACTION', Action),
        ('SortEvent', 'OUTCOME', Outcome),
        ('SortEvent', 'CAUSE', Cause),
        ('SortPart', 'OUTCOME', ArmOutcome),
        ('SortPart', 'OUTCOME', PickOutcome),
        ('SortPart', 'VERDICT', Verdict),
    ],
)
def test_enumeration_is_that_of_the_message(
    message: str, prefix: str, enumeration: type[IntEnum]
) -> None:
    expected = constants(message, prefix)
    assert {member.name: member.value for member in enumeration} == expected


def test_score_status_is_that_of_the_message_and_of_the_decider() -> None:
    expected = constants('Score', 'STATUS')
    assert {s.name: s.value for s in ScoreStatus if s.name != 'UNKNOWN'} == expected
    assert part_judge.STATUS_OK == ScoreStatus.OK
    assert part_judge._REASON_OF_STATUS == {
        ScoreStatus.FRAME_INVALID: Reason.FRAME_INVALID,
        ScoreStatus.NOT_ALIGNED: Reason.NOT_ALIGNED,
    }
