# SPDX-License-Identifier: Apache-2.0
"""
The cell around the drift watch, played by a test, and a recipe that it watches.

"""

from sensor_msgs.msg import Image

from anomaly_inspection.learning.part_preparation import preprocessor_of
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.msg import Decision, DriftState, Part, RecipeInForce, Score
from anomaly_inspection.nodes.image_conversion import image_from_array
from anomaly_inspection.nodes.qos import EVENT, IMAGE, LATCHED
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.recipes.folder import write_recipe
from support.cell_bench import Peer
from support.drift_line import AS_TAUGHT

START_NS = 1_900_000_000_000_000_000


class Cell(Peer):
    """
    Plays the cell around the drift watch.

    """

    def __init__(self, context, recipe):
        super().__init__(context)
        self.recipe = recipe
        # As the scorer does it.
        self.aligner = preprocessor_of(recipe)
        self.outputs = {
            topic: self.create_publisher(message_type, topic, qos)
            for message_type, topic, qos in (
                (Part, 'part', EVENT),
                (Image, 'part/image', IMAGE),
                (Score, 'score', EVENT),
                (Decision, 'decision', EVENT),
                (RecipeInForce, 'recipe_in_force', LATCHED),
            )
        }
        self.states = self.hear(DriftState, 'drift', LATCHED)

    def is_heard(self):
        return all(output.get_subscription_count() == 1 for output in self.outputs.values())

    def bring_into_force(self):
        recipe = self.recipe
        message = RecipeInForce(
            name=recipe.name, version=recipe.version, hash=recipe.hash, path=str(recipe.path)
        )
        self.outputs['recipe_in_force'].publish(message)

    def part(self, index, frame, alignment, known_as=Decision.KNOWN_AS_UNKNOWN):
        stamp = stamp_from_nanoseconds(START_NS + index * 1_000_000_000)
        key = {'session_id': 'test', 'part_id': index}
        self.outputs['part'].publish(
            Part(
                **key,
                frame_stamps=[stamp],
                frame_names=[''],
                frame_problems=[''],
                is_complete=True,
            )
        )
        self.outputs['part/image'].publish(image_from_array(frame, stamp, 'belt'))
        score = Score(
            **key,
            scorer='ssim',
            status=Score.STATUS_OK,
            alignment_x_px=alignment.x_px,
            alignment_y_px=alignment.y_px,
            alignment_angle_rad=alignment.angle_rad,
            alignment_scale=alignment.scale,
            alignment_confidence=alignment.confidence,
        )
        score.header.stamp = stamp
        self.outputs['score'].publish(score)
        self.outputs['decision'].publish(
            Decision(
                **key,
                verdict=Decision.VERDICT_PASS,
                known_as=known_as,
                recipe_hash=self.recipe.hash,
            )
        )


def write_watched_recipe(line, folder, change=AS_TAUGHT):
    """
    Teach a recipe of the line as it is with a change, and write it with the conditions of its
    good parts.

    """
    recipe = teach(
        [line.frame(index, change) for index in range(25)],
        name='watched',
        options=TeachOptions(scorers=('variation',), preprocessing=line.preprocessor.settings),
    )
    assert len(recipe.conditions['light']) == 25
    return write_recipe(recipe, folder)
