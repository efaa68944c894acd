# SPDX-License-Identifier: Apache-2.0
"""
A real scorer node over DDS, and a peer that plays camera and decider.

"""

import time

from sensor_msgs.msg import Image

from anomaly_inspection.msg import Part, RecipeInForce, RecipePrepared, Score
from anomaly_inspection.nodes.image_conversion import image_from_array
from anomaly_inspection.nodes.qos import EVENT, IMAGE, LATCHED
from anomaly_inspection.nodes.scorer_node import ScorerNode
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.steady_clock import steady_clock_id
from support.cell_bench import NodeBench, Peer


class Line(Peer):
    """
    Plays camera and decider to a real scorer node.

    """

    def __init__(self, context):
        super().__init__(context)
        self.scores = self.hear(Score, 'score', EVENT)
        self.answers = self.hear(RecipePrepared, 'recipe_prepared', LATCHED)
        self.part_out = self.create_publisher(Part, 'part', EVENT)
        self.image_out = self.create_publisher(Image, 'part/image', IMAGE)
        self.prepare_out = self.create_publisher(RecipeInForce, 'recipe_prepare', LATCHED)
        self.in_force_out = self.create_publisher(RecipeInForce, 'recipe_in_force', LATCHED)

    def part(self, part_id, *, age_s=0.0, problem=''):
        self.part_out.publish(
            Part(
                session_id='test',
                part_id=part_id,
                frame_stamps=[stamp_from_nanoseconds(part_id)],
                frame_names=[''],
                frame_problems=[problem],
                is_complete=True,
                exposure_steady_ns=time.monotonic_ns() - int(1e9 * age_s),
                steady_clock_id=steady_clock_id(),
            )
        )

    def image(self, part_id, pixels, **fields):
        message = image_from_array(pixels, stamp_from_nanoseconds(part_id), 'camera')
        for name, value in fields.items():
            setattr(message, name, value)
        self.image_out.publish(message)


def announcement(recipe, **changes):
    fields = {'name': recipe.name, 'version': recipe.version, 'hash': recipe.hash}
    return RecipeInForce(**{**fields, 'path': str(recipe.path), **changes})


class Bench(NodeBench):
    def __init__(self, context, line=None, **parameters):
        self.line = line or Line(context)
        # A busy machine may need long for a frame.
        super().__init__(ScorerNode, self.line, **{'max_age_s': 60.0, **parameters})

    def ready(self):
        self.wait_until_active()
        for publisher in (
            self.line.part_out,
            self.line.image_out,
            self.line.prepare_out,
            self.line.in_force_out,
        ):
            self.wait(lambda publisher=publisher: publisher.get_subscription_count() == 1)
        self.wait(lambda: self.line.answers)
        self.wait(lambda: self.line.count_publishers('score') == 1)
        return self

    def scores(self, part_id, count=2):
        def found():
            return {s.scorer: s for s in self.line.scores if s.part_id == part_id}

        self.wait(lambda: len(found()) == count)
        return found()

    def answer(self, recipe_hash):
        """
        Wait for the newest answer to be about that recipe.

        """
        self.wait(lambda: self.line.answers[-1].recipe_hash == recipe_hash)
        return self.line.answers[-1]

    def scored_with(self, part_id, pixels):
        self.line.part(part_id)
        self.line.image(part_id, pixels)
        hashes = {score.recipe_hash for score in self.scores(part_id).values()}
        assert len(hashes) == 1
        return hashes.pop()
