# SPDX-License-Identifier: Apache-2.0
"""
A peer that plays the cell to a real MQTT bridge.

"""

import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.action import ActionServer
from rclpy.node import Node
from std_srvs.srv import Trigger

from anomaly_inspection.action import LoadRecipe, RunChallenge
from anomaly_inspection.msg import (
    Challenge,
    Decision,
    JudgedMeasure,
    LineStop,
    Measure,
    RecipeInForce,
)
from anomaly_inspection.nodes.qos import EVENT, KEPT_EVENT, LATCHED
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds


class PlantCell(Node):
    """
    Publishes what decider and sorter would, and offers what commands need.

    With views it is what joins them, and a decider in the first of them.

    """

    def __init__(self, context, views=()):
        self._decider = 'view_joiner' if views else 'decider'
        super().__init__(self._decider, context=context)
        self.session = f'session_{time.time_ns()}'
        self.decision_out = self.create_publisher(Decision, 'decision', KEPT_EVENT)
        self.recipe_out = self.create_publisher(RecipeInForce, 'recipe_in_force', LATCHED)
        self.line_stop_out = self.create_publisher(LineStop, 'line_stop', LATCHED)
        challenge = f'{views[0]}/challenge' if views else 'challenge'
        self.challenge_out = self.create_publisher(Challenge, challenge, LATCHED)
        self.diagnostics_out = self.create_publisher(DiagnosticArray, '/diagnostics', EVENT)
        self.resets, self.loaded, self.challenges = 0, [], 0
        self.create_service(Trigger, 'sorter/reset', self._reset)
        self._servers = [
            ActionServer(self, LoadRecipe, 'decider/load_recipe', self._load),
            ActionServer(self, RunChallenge, 'decider/run_challenge', self._challenge),
        ]

    def destroy_node(self):
        for action in self._servers:
            action.destroy()
        super().destroy_node()

    def decide(self, part_id, **changes):
        message = Decision(
            session_id=self.session,
            part_id=part_id,
            verdict=Decision.VERDICT_REJECT,
            reason=Decision.REASON_LIMIT_EXCEEDED,
            comparison='ssim.mse 71.2 > 60.0 -> REJECT',
            anomaly_score=1.2,
            worst_measure='ssim.mse',
            measures=[
                JudgedMeasure(
                    scorer='ssim',
                    measure='mse',
                    value=71.2,
                    limit=60.0,
                    unit='gray_level^2',
                    bad_side=Measure.BAD_SIDE_HIGH,
                    anomaly_score=1.2,
                )
            ],
            recipe_name='pump',
            recipe_version=3,
            recipe_hash='f' * 64,
            latency_s=0.02,
            **changes,
        )
        message.header.stamp = stamp_from_nanoseconds(time.time_ns())
        self.decision_out.publish(message)

    def say(
        self,
        folder,
        *,
        stop_reason='',
        status='no problem',
        level=DiagnosticStatus.OK,
        challenge=None,
    ):
        self.recipe_out.publish(
            RecipeInForce(name='pump', version=3, hash='f' * 64, path=str(folder / 'pump'))
        )
        self.line_stop_out.publish(
            LineStop(active=bool(stop_reason), reason=stop_reason, cause=LineStop.CAUSE_GATE)
        )
        self.challenge_out.publish(challenge or Challenge(state=Challenge.STATE_OFF))
        self.diagnostics_out.publish(
            DiagnosticArray(
                status=[
                    DiagnosticStatus(
                        name=f'/{self._decider}: recipe', level=level, message=status
                    ),
                    DiagnosticStatus(name='/other/decider: recipe', level=DiagnosticStatus.ERROR),
                ]
            )
        )

    def _reset(self, request, response):
        self.resets += 1
        response.success, response.message = True, 'the line may run'
        return response

    def _load(self, goal):
        self.loaded.append(goal.request.path)
        goal.succeed()
        return LoadRecipe.Result(success=True, message='in force')

    def _challenge(self, goal):
        self.challenges += 1
        goal.abort()
        return RunChallenge.Result(success=False, message='no challenge parts are configured')
