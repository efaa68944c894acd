# SPDX-License-Identifier: Apache-2.0
"""
A real inspector, and a peer that plays the cell around it.

"""

import time

from std_srvs.srv import Trigger

from anomaly_inspection.action import Inspect
from anomaly_inspection.msg import (
    Decision,
    Explanation,
    Fault,
    JudgedMeasure,
    LineStop,
    Part,
    PartIdentity,
    RecipeInForce,
    Region,
    Score,
)
from anomaly_inspection.nodes.inspector_node import InspectorNode
from anomaly_inspection.nodes.qos import EVENT, KEPT_EVENT, LATCHED
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.steady_clock import steady_clock_id
from support.cell_bench import NodeBench, Peer

SESSION = 'session'


class InspectorBench(NodeBench):
    """
    The inspector, and whoever announces, scores, decides and stops the line.

    """

    def __init__(self, context, *, captures=None, **parameters):
        peer = Peer(context)
        self.part_out = peer.create_publisher(Part, 'part', EVENT)
        self.score_out = peer.create_publisher(Score, 'score', EVENT)
        self.decision_out = peer.create_publisher(Decision, 'decision', KEPT_EVENT)
        self.stop_out = peer.create_publisher(LineStop, 'line_stop', LATCHED)
        self.fault_out = peer.create_publisher(Fault, 'fault', LATCHED)
        self.recipe_out = peer.create_publisher(RecipeInForce, 'recipe_in_force', LATCHED)
        self.identities = peer.hear(PartIdentity, 'part_identity', EVENT)
        self.calls = []
        if captures is not None:
            peer.create_service(Trigger, captures, self._capture)
        #: The answer of the played camera: '' = it takes a frame.
        self.refusal = ''
        super().__init__(InspectorNode, peer, **parameters)

    def _capture(self, request, response):
        self.calls.append(time.monotonic())
        response.success = not self.refusal
        response.message = self.refusal or 'a frame will be taken'
        return response

    def ready(self):
        self.wait_until_active()
        outputs = (self.part_out, self.score_out, self.decision_out, self.stop_out, self.fault_out)
        for output in (*outputs, self.recipe_out):
            self.wait(lambda output=output: output.get_subscription_count() == 1)
        self.wait(lambda: self.node.count_publishers('decision') == 1)
        self.wait(lambda: self.peer.count_publishers('part_identity') == 1)
        return self

    def ask(self, **fields):
        """
        Send a goal, and wait until the inspector works on it or has ended it.

        """
        goal = self.send_goal(Inspect, 'inspect', **fields)
        ended = goal.handle.get_result_async()
        self.wait(lambda: goal.feedback or ended.done())
        return goal

    def announce(self, part_id=1, *, age_s=0.0, frames=1, is_complete=True):
        self.part_out.publish(
            Part(
                session_id=SESSION,
                part_id=part_id,
                frame_stamps=[stamp_from_nanoseconds(part_id * 1000 + n) for n in range(frames)],
                frame_names=[''] * frames,
                frame_problems=[''] * frames,
                is_complete=is_complete,
                exposure_steady_ns=time.monotonic_ns() - int(1e9 * age_s),
                steady_clock_id=steady_clock_id(),
                age_s=age_s,
            )
        )

    def score(self, part_id=1, part_class=''):
        message = Score(
            session_id=SESSION,
            part_id=part_id,
            scorer='template' if part_class else 'ssim',
            status=Score.STATUS_OK,
            part_class=part_class,
            regions=[Region(x_min=10, y_min=20, x_max=30, y_max=40, area_px=50, peak=3.0)],
            alignment_x_px=1.5,
            alignment_y_px=-2.5,
            alignment_angle_rad=0.1,
            alignment_scale=1.0,
        )
        message.header.stamp = stamp_from_nanoseconds(part_id * 1000)
        self.score_out.publish(message)

    def decide(
        self, part_id=1, *, verdict=Decision.VERDICT_PASS, reason=1, scorer='ssim', text='4 <= 6'
    ):
        word = 'PASS' if verdict == Decision.VERDICT_PASS else 'REJECT'
        self.decision_out.publish(
            Decision(
                session_id=SESSION,
                part_id=part_id,
                verdict=verdict,
                reason=reason,
                comparison=f'{text} -> {word}',
                anomaly_score=0.5,
                worst_measure=f'{scorer}.mse',
                measures=[JudgedMeasure(scorer=scorer, measure='mse', value=4.0, limit=6.0)],
                explanation=Explanation(text='a scratch') if word == 'REJECT' else Explanation(),
                recipe_name='pump',
                recipe_version=3,
                recipe_hash='ab',
            )
        )

    def judge(self, part_id=1, **decision):
        """
        Announce a part, score and decide it.

        """
        self.announce(part_id)
        self.score(part_id)
        self.decide(part_id, **decision)

    def until_stage(self, goal, stage):
        self.wait(lambda: any(feedback.stage >= stage for feedback in goal.feedback))
