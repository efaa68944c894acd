# SPDX-License-Identifier: Apache-2.0
"""
What tells an integrator that a cell of separate processes is ready, and until then what it lacks.

"""

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node

from anomaly_inspection.msg import Part, RecipeInForce
from anomaly_inspection.nodes.cell_ready import CellReadyNode, NODES, nodes_of
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.spinning import NodeThread

pytestmark = pytest.mark.ros


@pytest.fixture
def cell(ros_context):
    """
    Two bare lifecycle nodes and what speaks for the rest of the cell.

    """
    nodes = [LifecycleNode(name, context=ros_context) for name in ('sorter', 'decider')]
    rest = Node('rest', context=ros_context)
    thread = NodeThread([*nodes, rest], 'cell', context=ros_context)
    thread.start()
    yield *nodes, rest
    thread.stop()
    for node in (*nodes, rest):
        node.destroy_node()


@pytest.fixture
def asker(cell, ros_context, spin_until):
    node = CellReadyNode(('sorter', 'decider'), context=ros_context)
    yield node
    # rclpy warns of answers that nobody takes any more.
    spin_until(lambda: not node.is_waiting, node)
    node.destroy_node()


def becomes(text, asker):
    def is_said():
        asker.ask()
        return text in asker.missing if text else not asker.missing

    return is_said


def test_a_cell_is_ready_when_all_is_active_and_the_recipe_in_force(cell, asker, spin_until):
    sorter, decider, rest = cell
    assert 'sorter (does not answer)' in asker.missing
    spin_until(becomes('sorter (unconfigured)', asker), asker)
    for node in (sorter, decider):
        node.trigger_configure()
    spin_until(becomes('sorter (inactive); decider (inactive)', asker), asker)
    for node in (sorter, decider):
        node.trigger_activate()
    spin_until(becomes('a recipe in force', asker), asker)
    recipe = rest.create_publisher(RecipeInForce, 'recipe_in_force', LATCHED)
    recipe.publish(RecipeInForce(name='bolts', version=3))
    spin_until(becomes('a node that announces parts', asker), asker)
    rest.create_publisher(Part, 'part', EVENT)
    spin_until(becomes('', asker), asker)
    assert asker.summary == 'cell ready: recipe bolts v3 is in force; active: sorter, decider'


def test_two_nodes_that_announce_parts_are_one_too_many(cell, asker, spin_until):
    sorter, _, rest = cell
    for node in (sorter, rest):
        node.create_publisher(Part, 'part', EVENT)
    spin_until(becomes('rest or sorter alone to announce parts', asker), asker)


def test_what_the_site_leaves_out_is_not_waited_for():
    left = nodes_of(['camera=true', 'viewer=false', 'threshold_bridge=False', 'part_detector=0'])
    assert set(NODES) - set(left) == {'viewer', 'threshold_bridge', 'part_detector'}


def test_what_the_site_adds_is_waited_for():
    assert nodes_of([]) == NODES
    assert set(nodes_of(['teacher=true', 'viewer=true'])) - set(NODES) == {'teacher'}
    assert nodes_of(['teacher=false']) == NODES
