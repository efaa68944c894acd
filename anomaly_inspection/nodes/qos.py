# SPDX-License-Identifier: Apache-2.0
"""
The qualities of service of the cell's topics, in one place.

"""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

#: Images: reliable, keep last 5. Publishers of live streams and both ends of part/image.
IMAGE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)

#: Images of a driver that publishes best effort; see image_stream.py.
UNRELIABLE_IMAGE = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)

#: Who only watches a live stream: best effort, the newest alone.
WATCH_IMAGE = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)

#: What must not be lost: part, score, decision, thresholds, sort_event.
EVENT = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)

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
