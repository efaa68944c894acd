# SPDX-License-Identifier: Apache-2.0
"""
A cell with several views of a simulated line: real nodes, each a process of its own.

"""

from collections import OrderedDict
import signal
import subprocess
import threading
import time

from rclpy.node import Node
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from anomaly_inspection.capture.simulated_line import SimulatedLine, SimulatedLineSettings
from anomaly_inspection.msg import Decision, Fault, LineStop, Part, RecipeInForce, SortEvent
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.spinning import NodeThread
from support.paths import ROOT
from support.processes import executable
from support.small_recipe import SMALL_LINE

PARAMETER_FILE = ROOT / 'config' / 'two_views.yaml'
NAMESPACE = 'inspection'


def line_of(place, defect_rate=0.25):
    """
    What the camera of a view sees: its own picture of each part, and defects of its own.

    """
    return f'{SMALL_LINE},seed={100 + place},defect_rate={defect_rate}'


class ViewWatcher(Node):
    """
    Triggers all cameras together, and collects what the cell says.

    """

    def __init__(self, context, views):
        super().__init__('view_watcher', namespace=NAMESPACE, context=context)
        self._lines = {
            f'line_{100 + place}': SimulatedLine(SimulatedLineSettings.from_spec(line_of(place)))
            for place in range(len(views))
        }
        #: The last word on each part; what was decided and done.
        self.parts, self.decisions, self.sort_events = OrderedDict(), OrderedDict(), {}
        self.line_stops, self.faults, self.recipes = [], [], []
        self._trigger = self.create_publisher(Empty, 'trigger', EVENT)
        self.reset = self.create_client(Trigger, 'sorter/reset')
        for kind, topic, take, qos in (
            (Part, 'part', self._take_part, EVENT),
            (Decision, 'decision', self._take_decision, EVENT),
            (SortEvent, 'sort_event', self._take_event, EVENT),
            (LineStop, 'line_stop', self.line_stops.append, LATCHED),
            (Fault, 'fault', self.faults.append, LATCHED),
            (RecipeInForce, 'recipe_in_force', self.recipes.append, LATCHED),
        ):
            self.create_subscription(kind, topic, take, qos)

    def _take_part(self, message):
        self.parts[message.session_id, message.part_id] = message

    def _take_decision(self, message):
        key = (message.session_id, message.part_id)
        assert key not in self.decisions, f'{message} came twice'
        self.decisions[key] = message

    def _take_event(self, message):
        self.sort_events[message.session_id, message.part_id] = message

    def trigger(self):
        self._trigger.publish(Empty())

    def cameras(self):
        """
        How many cameras hear the trigger.

        """
        return self._trigger.get_subscription_count()

    def is_bad(self, key):
        """
        Whether one view at least shows a defect of the part.

        """
        return not all(
            self._lines[name.partition('/')[0]].truth(name, with_mask=False).is_good
            for name in self.parts[key].frame_names
        )

    def passed(self):
        """
        Give the parts that the gate has let through.

        """
        return [
            key
            for key, event in self.sort_events.items()
            if event.action == SortEvent.ACTION_PASSED
        ]


class ViewCells:
    """
    The processes of all views, of the joiner and the sorter, and the watcher.

    """

    def __init__(self, context, recipe, folder, views=('top', 'left'), defect_rate=0.25):
        self.views, self._defect_rate = views, defect_rate
        self._recipe, self._folder = recipe, folder
        self._running = {}
        self.watcher = ViewWatcher(context, views)
        self._thread = NodeThread([self.watcher], 'view watcher', context=context)
        self._pause = threading.Event()

    def start(self):
        self._thread.start()
        joined = f'views:=[{",".join(self.views)}]'
        self.start_node('sorter', '', f'leading_view:={self.views[0]}')
        self.start_node('view_joiner', '', joined, f'recipe:={self._recipe}')
        for view in self.views:
            self.start_node('scorer', view)
            self.start_node('decider', view, f'recipe:={self._recipe / view}')
            self.start_camera(view)
        watcher = self.watcher
        self.wait(lambda: watcher.line_stops and watcher.faults and watcher.recipes, 90.0)
        self.wait(lambda: watcher.cameras() == len(self.views))
        for view in self.views:
            # The joiner, a scorer, a decider; the sorter hears the leading one.
            wanted = 3 + (view == self.views[0])
            self.wait(
                lambda view=view, wanted=wanted: (
                    watcher.count_subscribers(f'{view}/part') == wanted
                )
            )
        self._warm_up()
        return self

    def _warm_up(self):
        """
        Let parts come until one passes: what is triggered before a camera is ready comes late.

        """
        watcher = self.watcher
        while not watcher.passed():
            known = len(watcher.decisions)
            watcher.trigger()
            self.wait(lambda known=known: len(watcher.decisions) > known)
            self.wait(lambda: watcher.sort_events.keys() >= watcher.decisions.keys())
            if watcher.line_stops[-1].active:
                self.wait(self.reset)

    def start_camera(self, view):
        source = line_of(self.views.index(view), self._defect_rate)
        self.start_node('camera', view, f"source:='{source}'")

    def start_node(self, name, view, *parameters):
        namespace = f'/{NAMESPACE}/{view}'.rstrip('/')
        arguments = ['--ros-args', '-r', f'__ns:={namespace}', '-r']
        arguments += [f'trigger:=/{NAMESPACE}/trigger', '--params-file', str(PARAMETER_FILE)]
        for parameter in (*parameters, 'rate_hz:=50.0' if name == 'camera' else ''):
            arguments += ['-p', parameter] if parameter else []
        with (self._folder / f'{view or "cell"}_{name}.log').open('a') as log:
            self._running[view, name] = subprocess.Popen(
                [executable(f'{name}_node'), *arguments], stdout=log, stderr=log
            )

    def signal(self, view, name, number):
        self._running[view, name].send_signal(number)

    def kill(self, view, name):
        process = self._running.pop((view, name))
        process.kill()
        process.wait()

    def pid(self, view, name):
        return self._running[view, name].pid

    def wait(self, condition, timeout_s=40.0):
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, self._logs()
            self._pause.wait(0.02)

    def run_until(self, condition, pitch_s=0.25, timeout_s=60.0):
        """
        Let parts come until something holds; the last ones have left the gate then.

        """
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, self._logs()
            self.watcher.trigger()
            self._pause.wait(pitch_s)

    def reset(self):
        """
        Reset the sorter; gives whether the line may run.

        """
        future = self.watcher.reset.call_async(Trigger.Request())
        self.wait(future.done)
        return future.result().success

    def _logs(self):
        return '\n'.join(
            f'--- {file.name}\n{file.read_text()[-2000:]}'
            for file in sorted(self._folder.glob('*.log'))
        )

    def close(self):
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGINT)
        for process in self._running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._thread.stop()
        self.watcher.destroy_node()
