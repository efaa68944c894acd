# SPDX-License-Identifier: Apache-2.0
"""
Fixtures of the nodes' tests: the nodes of a cell as processes, and a watcher beside them.

"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def watcher(ros_context: Any) -> Iterator[Any]:
    """
    A node on a thread of its own that collects what the cell says.

    """
    from anomaly_inspection.nodes.spinning import NodeThread
    from support.processes import Watcher

    watcher = Watcher(ros_context)
    thread = NodeThread([watcher], 'watcher', context=ros_context)
    thread.start()
    yield watcher
    thread.stop()
    watcher.destroy_node()


@pytest.fixture
def processes(taught_recipe: Path, tmp_path: Path, domain_id: int) -> Iterator[Any]:
    """
    Starts, stops and kills the nodes of a cell as processes; ends those that are left.

    """
    from support.processes import Processes

    processes = Processes(taught_recipe, tmp_path)
    yield processes
    processes.close()
