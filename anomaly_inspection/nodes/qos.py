# SPDX-License-Identifier: Apache-2.0
"""
The qualities of service of the cell's topics, in one place.

"""

from collections.abc import Iterable

from rcl_interfaces.msg import SetParametersResult
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from anomaly_inspection.errors import SettingError

_OVERRIDABLE = {
    'reliability': QoSPolicyKind.RELIABILITY,
    'history': QoSPolicyKind.HISTORY,
    'depth': QoSPolicyKind.DEPTH,
}

#: Images: reliable, keep last 5. Publishers of live streams and both ends of part/image.
IMAGE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)

#: Images of a driver that publishes best effort; see image_stream.py.
UNRELIABLE_IMAGE = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)

#: Who only watches a live stream: best effort, the newest alone.
WATCH_IMAGE = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)

#: An encoder's samples: the next one makes up for one that is lost, and any publisher will do.
SENSOR = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)

#: What must not be lost: part, score, decision, thresholds, sort_event.
EVENT = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)

#: The reader's end of EVENT for records: deep enough for a machine that is busy for a minute.
RECORD = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)

#: The same, and the last ones are kept for a reader that asks for them when it starts: a bridge or
#: a recorder that was killed catches up. Readers with EVENT hear the new ones only.
KEPT_EVENT = QoSProfile(
    depth=1000,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)

#: What a late joiner must know: limits, recipe, line_stop, fault.
LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)

#: The reader's end of a latched topic with several publishers. With a depth of 1 the last of
#: two answers that come together would take the place of the other.
LATCHED_BY_MANY = QoSProfile(
    depth=32,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)

#: What only counts while it is new: gate, gate_state, line_run. A queue of old ones would be
#: taken for fresh.
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)

#: What a robot's driver streams of a gate: the newest alone, and any publisher will do.
WATCHED_STATE = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def overriding_options(profile: QoSProfile, policies: Iterable[str]) -> QoSOverridingOptions:
    """
    Let a parameter file change the named policies of an endpoint.

    Images may be anything. On every other topic a message must not be lost: best effort and a
    queue that is shorter than ours are refused.

    Raises
    ------
    SettingError
        When there is no such policy, or it must not be changed.

    """
    for policy in policies:
        if policy not in _OVERRIDABLE:
            raise SettingError(f'{policy}: allowed are {", ".join(_OVERRIDABLE)}')
    is_image = any(profile == image for image in (IMAGE, UNRELIABLE_IMAGE, WATCH_IMAGE))
    least_depth = 1 if is_image else profile.depth

    def check(wanted: QoSProfile) -> SetParametersResult:
        if not is_image and wanted.reliability != ReliabilityPolicy.RELIABLE:
            reason = "reliability must stay 'reliable', because no message here may be lost"
        elif wanted.history == HistoryPolicy.KEEP_LAST and wanted.depth < least_depth:
            reason = f'depth {wanted.depth}, allowed: {least_depth} and more'
        else:
            return SetParametersResult(successful=True)
        return SetParametersResult(successful=False, reason=reason)

    return QoSOverridingOptions([_OVERRIDABLE[policy] for policy in policies], callback=check)
