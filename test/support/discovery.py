# SPDX-License-Identifier: Apache-2.0
"""
When two processes have found each other, both ways.

"""

from lifecycle_msgs.srv import GetState

from anomaly_inspection.nodes.inspection_node import steady_s


def until_known(node, name, wait):
    """
    Call a lifecycle node of another process until it answers; `wait(condition, timeout_s)` waits.

    A process that we have found may not have found us yet: what it publishes and answers until
    then is lost. It learns of our readers in the order in which they were made, so one that
    answers the newest of our clients knows all that was made before.

    """
    client = node.create_client(GetState, f'{name}/get_state')
    wait(client.service_is_ready, 40.0)
    calls = []

    def is_answered():
        if not calls or steady_s() - calls[-1][0] > 1.0:
            calls.append((steady_s(), client.call_async(GetState.Request())))
        return any(future.done() for _, future in calls)

    wait(is_answered, 60.0)
