# SPDX-License-Identifier: Apache-2.0
"""
A sorter, a simulated arm and a wandering belt in a time of their own, with parts whose truth is
known.

"""

from __future__ import annotations

from collections import Counter
import random

from anomaly_inspection.capture.simulated_arm import (
    ArmGoal,
    Ended,
    Gripped,
    Put,
    PutInto,
    SimulatedArm,
    SimulatedArmSettings,
)
from anomaly_inspection.capture.simulated_belt import SimulatedBelt, SimulatedBeltSettings
from anomaly_inspection.sorting.arm_gate import ArmGate
from anomaly_inspection.sorting.encoder_belt import BeltSettings, EncoderBelt
from anomaly_inspection.sorting.pick_order import Grip, PickOutcome, PickResult
from anomaly_inspection.sorting.pick_settings import PickSettings
from anomaly_inspection.sorting.pick_tracker import PickTracker
from anomaly_inspection.sorting.sort_record import Action, Outcome
from anomaly_inspection.sorting.sorter import Sorter

SPEED_MPS, DISTANCE_M = 0.5, 0.4
PICKS = PickSettings(
    distance_m=DISTANCE_M,
    speed_mps=SPEED_MPS,
    zone_from_m=-0.2,
    zone_to_m=0.3,
    clearance_m=0.06,
    tolerance_m=0.01,
    lead_s=0.05,
    needs_pose=False,
    undecided_to_stop=3,
)
TICK_S, SAMPLE_S = 0.004, 0.01
_LENGTH = 3000.0


class PickRun:
    """
    Bring parts past camera and arm; every message takes a tick.

    Parameters
    ----------
    seed : int
        Of belt and parts.
    has_encoder : bool
        False: the belt moves at its usual speed, and nobody says where it is.

    """

    def __init__(self, seed=1, *, has_encoder=True, arm=None, **settings):
        self.now = 100.0
        wander = {} if has_encoder else {'wander': 0.0, 'stops': False}
        self.line = SimulatedBelt(SimulatedBeltSettings(SPEED_MPS, seed=seed, **wander))
        self.draw = random.Random(seed)
        self.settings = PickSettings(**{**vars(PICKS), **settings})
        self.belt = None
        if has_encoder:
            self.belt = EncoderBelt(
                BeltSettings(
                    distance_m=DISTANCE_M,
                    speed_mps=SPEED_MPS,
                    top_speed_mps=1.5 * SPEED_MPS,
                    window_m=0.06,
                    closest_m=0.08,
                )
            )
        self.arm = SimulatedArm(arm or SimulatedArmSettings())
        self.has_arm = True
        self.mail = []
        gate = ArmGate(
            lambda order: self.mail.append(('order', order)),
            lambda key: self.mail.append(('cancel', key)),
            lambda: self.mail.append(('cancel_all', None)),
            lambda: self.has_arm,
        )
        self.sorter = Sorter(PickTracker(self.settings, self.belt), gate)
        self.encoder_speaks = True
        self.camera_sees = True
        self.is_deaf = False
        self.orders = []
        self.events = []
        self.is_good = {}
        self.where = {}
        self.placed = []
        self.tray = []
        self.stops = []
        self._due_s = self.now
        self._verdicts = []
        self._start_s = self.now

    @property
    def position_m(self):
        """
        Where the belt is now, truly; without an encoder, as the sorter counts.

        """
        return SPEED_MPS * self._start_s + self.line.position_at(self.now - self._start_s)

    def lay(self, number, *, is_good=True, verdict_s=0.1, passes=None):
        """
        Lay a part before the camera; its verdict follows, None = never.

        """
        self.is_good[number] = is_good
        self.where[number] = self.position_m + DISTANCE_M
        self.arm.lay(number, self.position_m + DISTANCE_M)
        if self.camera_sees:
            self.sorter.part_seen(('run', number), self.now, self.now)
            if verdict_s is not None:
                passes = is_good if passes is None else passes
                self._verdicts.append((self.now + verdict_s, number, passes))

    def tick(self):
        """
        Let `TICK_S` go by.

        """
        self.now += TICK_S
        belt_m = self.position_m
        self.line.forget_before(self.now - self._start_s - 1.0)
        if self.now >= self._due_s:
            self._due_s += SAMPLE_S
            if self.encoder_speaks:
                self.sorter.belt_moved(belt_m, self.now, self.now)
        for due in [one for one in self._verdicts if one[0] <= self.now]:
            self._verdicts.remove(due)
            self.sorter.decision_received(('run', due[1]), due[2], self.now)
        self._work_arm(belt_m)
        while (due_s := self.sorter.next_due()) is not None and due_s <= self.now:
            self.events += self.sorter.step(self.now)
        stop = self.sorter.line_stop
        if stop.is_active and (not self.stops or self.stops[-1] != (stop.since_s, stop.reason)):
            self.stops.append((stop.since_s, stop.reason))

    def _work_arm(self, belt_m):
        mail, self.mail = self.mail, []
        if self.is_deaf:
            return
        seen_m = belt_m if self.encoder_speaks else float('nan')
        for what, content in mail:
            if what == 'order':
                self.orders.append(content)
                goal = ArmGoal(content.key, content.place_m, content.valid_until_s)
                refusal = self.arm.offer(goal, self.now, seen_m, content.speed_mps)
                self.sorter.order_answered(content.key, True, self.now)
                if refusal is not None:
                    self._take(refusal)
            elif what == 'cancel':
                self.arm.cancel(content)
            else:
                goals = [*self.arm.waiting, *([self.arm.goal] if self.arm.goal else [])]
                for goal in goals:
                    self.arm.cancel(goal.key)
        for news in self.arm.step(self.now, seen_m):
            self._take(news)

    def _take(self, news):
        if isinstance(news, Put):
            if news.into is PutInto.TRAY:
                self.tray.append(news.number)
        elif isinstance(news, Gripped):
            self.sorter.gripped(news.key, _grip(news), self.now)
        elif isinstance(news, Ended):
            result = PickResult(
                PickOutcome(int(news.outcome)), news.message, _grip(news.grip) or None
            )
            self.sorter.order_ended(news.key, result, self.now)

    def run_for(self, seconds):
        """
        Let time go by.

        """
        end_s = self.now + seconds
        while self.now < end_s:
            self.tick()

    def run_parts(self, parts, *, pitch_m, spread_m=0.04, good=0.6, resets=True, at=None):
        """
        Bring so many parts past the arm, as a line does; `at` = {number: function}.

        """
        next_m = self.position_m + 0.1
        number, reset_s = 0, 0.0
        while number < parts or self.sorter._tracker.is_tracking:
            self.tick()
            if number < parts and self.position_m >= next_m:
                number += 1
                next_m += pitch_m + self.draw.expovariate(1 / spread_m)
                if at and number in at:
                    at[number](self)
                self.lay(
                    number,
                    is_good=self.draw.random() < good,
                    verdict_s=self.draw.uniform(0.05, 0.2),
                )
            if resets and self.sorter.line_stop.is_active and self.now > reset_s + 0.5:
                self.sorter.reset(self.now)
                reset_s = self.now
            assert self.now < _LENGTH
        self.run_for(3.0)

    def event(self, number):
        """
        Give the record of a part.

        """
        [event] = [event for event in self.events if event.key == ('run', number)]
        return event

    def left_because(self):
        """
        Count why good parts were left.

        """
        return Counter(
            event.cause.name
            for event in self.events
            if self.is_good[event.key[1]] and event.action is Action.REJECTED
        )

    @property
    def bad_in_tray(self):
        """
        The defective parts in the tray.

        """
        return [number for number in self.tray if not self.is_good[number]]

    @property
    def said_placed(self):
        """
        The parts of which the sorter says that they lie in the tray, for certain.

        """
        return [
            event.key[1]
            for event in self.events
            if event.action is Action.PASSED and event.outcome is Outcome.CONFIRMED
        ]


def _grip(news):
    return None if news is None else Grip(news.at_s, news.along_m, news.belt_m)
