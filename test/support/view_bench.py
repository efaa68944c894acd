# SPDX-License-Identifier: Apache-2.0
"""
A real view joiner, and a peer that plays the views to it.

"""

import time

from anomaly_inspection.msg import (
    Decision,
    Explanation,
    Fault,
    JudgedMeasure,
    LimitInForce,
    LimitsInForce,
    Part,
    RecipeInForce,
    Score,
)
from anomaly_inspection.nodes.qos import EVENT, KEPT_EVENT, LATCHED
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.nodes.view_joiner_node import ViewJoinerNode
from anomaly_inspection.steady_clock import steady_clock_id
from support.cell_bench import NodeBench, Peer

_OUT = (
    (Part, 'part', EVENT),
    (Score, 'score', EVENT),
    (Decision, 'decision', KEPT_EVENT),
    (Fault, 'fault', LATCHED),
    (RecipeInForce, 'recipe_in_force', LATCHED),
    (LimitsInForce, 'limits_in_force', LATCHED),
)


class ViewBench(NodeBench):
    """
    A view joiner, and the views around it.

    """

    def __init__(self, context, **parameters):
        self.context = context
        self._out = {}
        self._next_s = 0.0
        peer = Peer(context)
        self.heard = {topic: peer.hear(kind, topic, qos) for kind, topic, qos in _OUT}
        given = {'join_within_s': 0.02, 'deadline_s': 1.0, **parameters}
        super().__init__(ViewJoinerNode, peer, **given)
        for view in given.get('views', ('top', 'left')):
            for kind, topic, qos in _OUT:
                name = f'{view}/{topic}'
                self._out[name] = peer.create_publisher(kind, name, qos)

    def ready(self):
        self.wait_until_active()
        for out in self._out.values():
            self.wait(lambda out=out: out.get_subscription_count() > 0)
        for topic in ('part', 'decision'):
            self.wait(lambda topic=topic: self.peer.count_publishers(topic) > 0)
        self.wait(lambda: self.heard['fault'])
        self.wait(lambda: all(self.node._watch.is_there(view) for view in self.node._views))
        return self

    def say(self, view, topic, message):
        self._out[f'{view}/{topic}'].publish(message)

    def part(self, view, number, at_ns, *, session=''):
        """
        Announce a part; gives the time that it was exposed, for the next view.

        """
        self.say(
            view,
            'part',
            Part(
                session_id=f'{view} {session}',
                part_id=number,
                frame_stamps=[stamp_from_nanoseconds(at_ns)],
                frame_names=[f'{view}/{number}'],
                frame_problems=[''],
                is_complete=True,
                exposure_steady_ns=at_ns,
                steady_clock_id=steady_clock_id(),
            ),
        )

    def score(self, view, number):
        self.say(view, 'score', Score(session_id=f'{view} ', part_id=number, scorer='ssim'))

    def decision(self, view, number, *, passes=True, session='', **fields):
        verdict = Decision.VERDICT_PASS if passes else Decision.VERDICT_REJECT
        within, beyond = Decision.REASON_WITHIN_LIMITS, Decision.REASON_LIMIT_EXCEEDED
        value, word = (4.0, '<= 6 -> PASS') if passes else (9.0, '> 6 -> REJECT')
        given = {
            'anomaly_score': value / 6,
            'worst_measure': 'ssim.mse',
            'measures': [JudgedMeasure(scorer='ssim', measure='mse', value=value, limit=6.0)],
            'explanation': Explanation() if passes else Explanation(text='Spot.', scorer='ssim'),
            'comparison': f'ssim.mse {value:g} {word}',
            **fields,
        }
        message = Decision(
            session_id=f'{view} {session}',
            part_id=number,
            verdict=verdict,
            reason=within if passes else beyond,
            **given,
        )
        message.header.frame_id = f'{view}_optical_frame'
        self.say(view, 'decision', message)

    def recipe(self, view, path='', *, recipe_hash='', version=1):
        self.say(
            view,
            'recipe_in_force',
            RecipeInForce(
                name=view,
                version=version,
                hash=recipe_hash or f'{view} {version}',
                path=str(path),
                scorers=['ssim'],
            ),
        )
        self.say(
            view,
            'limits_in_force',
            LimitsInForce(limits=[LimitInForce(scorer='ssim', measure='mse', value=6.0)]),
        )

    def both(self, number, *, top=True, left=True):
        """
        Let both views see a part and judge it; None = that view is silent.

        It keeps its distance from the one before, so that a sorter can tell them apart.

        """
        self.wait(lambda: time.monotonic() > self._next_s)
        self._next_s = time.monotonic() + 0.25
        at_ns = time.monotonic_ns()
        for view, passes in (('top', top), ('left', left)):
            if passes is not None:
                self.part(view, number, at_ns)
                self.decision(view, number, passes=passes)

    def joined(self, number, view='top'):
        """
        Wait for the joined decision on a part of a view.

        """

        def found():
            return [
                one
                for one in self.heard['decision']
                if (one.session_id.partition(' ')[0], one.part_id) == (view, number)
            ]

        self.wait(found)
        assert len(found()) == 1
        return found()[0]
