# SPDX-License-Identifier: Apache-2.0
"""
A real decider node, and a peer that plays camera and scorers to it.

"""

import time

from rclpy.node import Node

from anomaly_inspection.action import Calibrate, LoadRecipe
from anomaly_inspection.msg import (
    Calibration,
    Decision,
    Fault,
    LimitsInForce,
    Measure,
    Part,
    RecipeInForce,
    RecipePrepared,
    Score,
    Thresholds,
)
from anomaly_inspection.nodes.decider_node import DeciderNode
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.steady_clock import steady_clock_id
from support.cell_bench import NodeBench


class Line(Node):
    """
    Plays camera and scorers to a real decider node.

    """

    def __init__(self, context, recipe_folder):
        super().__init__('line', context=context)
        self.recipe = read_recipe(recipe_folder)
        self.heard = {}
        self.announced = []
        for message_type, topic, qos in (
            (Calibration, 'calibration', LATCHED),
            (Decision, 'decision', EVENT),
            (Fault, 'fault', LATCHED),
            (LimitsInForce, 'limits_in_force', LATCHED),
            (RecipeInForce, 'recipe_in_force', LATCHED),
        ):
            heard = self.heard[message_type] = []
            self.create_subscription(message_type, topic, heard.append, qos)
        self.create_subscription(RecipeInForce, 'recipe_prepare', self.announced.append, LATCHED)
        self.part_out = self.create_publisher(Part, 'part', EVENT)
        self.score_out = self.create_publisher(Score, 'score', EVENT)
        self.thresholds_out = self.create_publisher(Thresholds, 'thresholds', EVENT)
        self.prepared_out = self.create_publisher(RecipePrepared, 'recipe_prepared', LATCHED)

    def confirm(self, recipe_hash, error=''):
        self.prepared_out.publish(
            RecipePrepared(
                scorers=list(self.recipe.scorers),
                recipe_hash=recipe_hash,
                is_ready=not error,
                error=error,
            )
        )

    def part(self, part_id, *, age_s=0.0, problem=''):
        self.part_out.publish(
            Part(
                session_id='test',
                part_id=part_id,
                frame_stamps=[stamp_from_nanoseconds(part_id)],
                frame_names=[f'{part_id}'],
                frame_problems=[problem],
                is_complete=True,
                exposure_steady_ns=time.monotonic_ns() - int(1e9 * age_s),
                steady_clock_id=steady_clock_id(),
            )
        )

    def scores(self, part_id, *, recipe=None, part_class='', regions=(), **measures):
        """
        Send typical scores of all scorers, but for the measures given as scorer__measure=value.

        The regions are those of ssim, over a region limit of 2.

        """
        recipe = recipe or self.recipe
        for name, scorer in recipe.scorers.items():
            message = Score(
                session_id='test',
                part_id=part_id,
                scorer=name,
                status=Score.STATUS_OK,
                recipe_hash=recipe.hash,
                part_class=part_class if name == 'ssim' else '',
                regions=list(regions) if name == 'ssim' else [],
                region_limit=2.0,
                measures=[
                    Measure(name=measure, value=measures.get(f'{name}__{measure}', limit.typical))
                    for measure, limit in scorer.limits.items()
                ],
            )
            message.header.stamp = stamp_from_nanoseconds(part_id)
            message.header.frame_id = 'camera'
            self.score_out.publish(message)


class DeciderBench(NodeBench):
    """
    A decider and the line around it.

    """

    def __init__(self, context, recipe_folder, **parameters):
        self.line = Line(context, recipe_folder)
        super().__init__(DeciderNode, self.line, **{'recipe': str(recipe_folder), **parameters})

    def bring_into_force(self):
        self.wait(lambda: self.line.announced)
        self.line.confirm(self.line.announced[-1].hash)
        self.wait(lambda: self.node.is_ready)
        self.wait(lambda: self.line.part_out.get_subscription_count() > 0)
        self.wait(lambda: self.line.score_out.get_subscription_count() > 0)
        for latched in (LimitsInForce, RecipeInForce, Fault):
            self.wait(lambda kind=latched: self.line.heard[kind])
        return self

    def decision(self, part_id):
        def found():
            return [d for d in self.line.heard[Decision] if d.part_id == part_id]

        self.wait(found)
        assert len(found()) == 1
        return found()[0]

    def load(self, path):
        """
        Begin to switch to another recipe.

        """
        return self.send_goal(LoadRecipe, 'decider/load_recipe', path=str(path))

    def calibrate(self, **request):
        """
        Begin to calibrate.

        """
        return self.send_goal(Calibrate, 'decider/calibrate', **request)

    def limit(self, scorer, measure):
        message = self.line.heard[LimitsInForce][-1]
        return next(e for e in message.limits if (e.scorer, e.measure) == (scorer, measure))
