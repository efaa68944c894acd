# SPDX-License-Identifier: Apache-2.0
"""
What the gate may do with a part where this machine was too busy for the camera or for the gate.

"""


def has_gone_as_decided(record):
    """
    Say whether the gate has followed the decision; False where this machine was held up.

    Then the part was rejected, whatever had been decided, and the sorter says why. A part that
    was decided to be rejected has never passed.

    """
    assert not record.is_lost, record
    assert record.gate_is_confirmed, record
    was_held_up = record.sort_cause == 'too_close' or (
        record.sort_cause == 'gate_failed' and record.sort_detail.endswith(' s late')
    )
    if was_held_up:
        assert not record.has_passed_gate, record
    else:
        assert record.has_gate_followed, record
    return not was_held_up
