# SPDX-License-Identifier: Apache-2.0
"""
Join what several views say of one physical part into one part and one verdict.

Pure logic, without ROS or clock. Each view is a cell of its own, with its own sessions and
numbers; what makes two of its parts one is when they were exposed. The time of a part is its
exposure, less the time that the belt takes from the leading view to its own::

    leading view   ----L1---------------L2---------->  time
    other view     ----[p1]-------------[p2]-------->  L1 and p1 lie within `within_s`: one part

A joined part is named after the part of the leading view. It passes only when every view has
exactly one part within the window, no other joined part lies within the window of that one, and
all of them say PASS before the deadline. Everything else is REJECT.

"""

from __future__ import annotations

from collections import deque, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
import math
from typing import Any

from anomaly_inspection.deciding.frame_judge import Reason, Verdict
from anomaly_inspection.deciding.part_decision import PartKey
from anomaly_inspection.errors import SettingError

MOST_VIEWS = 4
# A rival message may be so late beyond all deadlines, and is still known as a rival.
_REMEMBERED_S = 2.0
_EARLY_VERDICTS = 256
# In station mode a part is announced again for as long as it is held.
_KNOWN_PARTS = 1024


@dataclass(frozen=True)
class ViewJoinSettings:
    """
    Which views there are, and how their parts belong together.

    Parameters
    ----------
    views : tuple of str
        Their names, 1 to 4, all different.
    leading : str
        One of them: names the joined part and gives its exposure.
    within_s : float
        Two parts are one when their times differ by this at most, seconds, above 0. Less than half
        of the time between two parts.
    deadline_s : float
        From the exposure in the leading view to the verdict at the latest, seconds.
    delays_s : mapping of str to float
        How much later than the leading view a view sees a part, seconds; below 0 = earlier, left
        out = at the same time.

    Raises
    ------
    SettingError
        When a value is not allowed, or two contradict each other; names what is allowed.

    """

    views: tuple[str, ...]
    leading: str
    within_s: float
    deadline_s: float
    delays_s: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= len(self.views) <= MOST_VIEWS or len(set(self.views)) != len(self.views):
            raise SettingError(
                f'views = {list(self.views)}: allowed are 1 to {MOST_VIEWS} names, all different'
            )
        if self.leading not in self.views:
            raise SettingError(
                f'leading_view = {self.leading!r}: allowed is one of {", ".join(self.views)}'
            )
        for name, value in (('within_s', self.within_s), ('deadline_s', self.deadline_s)):
            if not (math.isfinite(value) and value > 0):
                raise SettingError(f'{name} = {value!r}: allowed is a number above 0')
        for view, delay_s in self.delays_s.items():
            if view not in self.views or not math.isfinite(delay_s):
                raise SettingError(
                    f'delay of view {view!r} = {delay_s!r} s: allowed is a number, for one of '
                    f'{", ".join(self.views)}'
                )
        if self.delay_s(self.leading):
            raise SettingError(
                f'the leading view {self.leading!r} is where the belt is measured from; its '
                'distance is 0'
            )
        latest_s = max(self.delay_s(view) for view in self.views) + 2 * self.within_s
        if self.deadline_s <= latest_s:
            raise SettingError(
                f'deadline_s = {self.deadline_s:g} s: the last view sees a part up to '
                f'{latest_s:.3f} s after the leading one, allowed is more'
            )

    def delay_s(self, view: str) -> float:
        """
        How much later than the leading view a view sees a part, seconds.

        """
        return self.delays_s.get(view, 0.0)


@dataclass(frozen=True)
class ViewSaid:
    """
    The verdict of one view.

    Parameters
    ----------
    passes : bool
        Whether it is PASS; everything else is a reject.
    reason : Reason
        Why.
    comparison : str
        The comparison written out.
    content : object
        Whatever the caller wants to find again in the joined verdict.

    """

    passes: bool
    reason: Reason
    comparison: str
    content: Any = None


@dataclass(eq=False)
class ViewPart:
    """
    A part as one view has seen it.

    Parameters
    ----------
    view : str
        Who has seen it.
    key : (str, int)
        Session and number in that view.
    time_s : float
        Exposure, less the delay of the view: when the leading view should have seen it; steady
        clock, seconds.
    content : object
        Whatever the caller gave with it.
    said : ViewSaid or None
        The verdict of the view; None while there is none.
    is_claimed : bool
        Whether it is, or may be, part of a joined part.

    """

    view: str
    key: PartKey
    time_s: float
    content: Any = None
    said: ViewSaid | None = None
    is_claimed: bool = False


@dataclass(frozen=True)
class JoinedVerdict:
    """
    The verdict on a joined part.

    Parameters
    ----------
    verdict : Verdict
        PASS only when all views pass.
    reason : Reason
        That of the first view that rejects; else VIEW_UNCLEAR, VIEW_MISSING or WITHIN_LIMITS.
    comparison : str
        What each view said, with its name.
    missing : tuple of str
        Views without a verdict; empty when nobody knows what belongs together.

    """

    verdict: Verdict
    reason: Reason
    comparison: str
    missing: tuple[str, ...] = ()

    @property
    def is_unclear(self) -> bool:
        """
        Whether nobody knows what belongs together.

        """
        return self.reason is Reason.VIEW_UNCLEAR


@dataclass(eq=False)
class JoinedPart:
    """
    One physical part.

    Parameters
    ----------
    key : (str, int)
        Of the leading view's part; of another view's, where the leading one has not seen it.
    time_s : float
        Exposure in the leading view, or when it should have been; steady clock, seconds.
    parts : mapping of str to ViewPart
        What is known of it by view; views that have not seen it are left out.
    verdict : JoinedVerdict or None
        None until it is decided; then it never changes.
    is_complete : bool
        Whether all views have seen it.
    announced : object
        Whatever the caller notes about it.

    """

    key: PartKey
    time_s: float
    parts: dict[str, ViewPart] = field(default_factory=dict)
    verdict: JoinedVerdict | None = None
    is_complete: bool = False
    announced: object = None


class ViewJoin:
    """
    Joins parts and verdicts of several views.

    Not thread-safe. `now` is in seconds, steady clock. What has news comes back: a joined part
    when it is new, when all views have seen it, and when it is decided.

    Parameters
    ----------
    settings : ViewJoinSettings
        Which views there are, and how their parts belong together.

    """

    def __init__(self, settings: ViewJoinSettings) -> None:
        self.settings = settings
        self._parts: dict[str, deque[ViewPart]] = {view: deque() for view in settings.views}
        self._joined: deque[JoinedPart] = deque()
        self._known: OrderedDict[tuple[str, PartKey], None] = OrderedDict()
        self._early: OrderedDict[tuple[str, PartKey], ViewSaid] = OrderedDict()
        latest_s = max(settings.delay_s(view) for view in settings.views)
        # Until then a rival may be exposed: another part that one of a joined part may belong to.
        is_alone = len(settings.views) == 1
        self._rivals_s = 0.0 if is_alone else latest_s + 2 * settings.within_s
        span_s = max(abs(settings.delay_s(view)) for view in settings.views)
        self._remembered_s = settings.deadline_s + span_s + 2 * settings.within_s + _REMEMBERED_S
        #: Time between the last two parts of the leading view, seconds.
        self.pitch_s = math.inf

    def part_seen(
        self, view: str, key: PartKey, exposure_s: float, now: float, content: Any = None
    ) -> list[JoinedPart]:
        """
        Take a part of a view; the first message of a part counts.

        """
        if (view, key) in self._known:
            return []
        self._known[view, key] = None
        if len(self._known) > _KNOWN_PARTS:
            self._known.popitem(last=False)
        exposure_s = min(exposure_s, now) if math.isfinite(exposure_s) else now
        part = ViewPart(view, key, exposure_s - self.settings.delay_s(view), content)
        part.said = self._early.pop((view, key), None)
        before = self._parts[view][-1].time_s if self._parts[view] else -math.inf
        self._parts[view].append(part)
        news = []
        if view == self.settings.leading:
            self.pitch_s = abs(part.time_s - before)
            news.append(self._new_joined(part))
        else:
            claims = list(self._claims(part))
            part.is_claimed = bool(claims)
            if any(one.verdict and one.verdict.verdict is Verdict.PASS for one in claims):
                # A rival that comes later than it may. As a part of its own at the same place the
                # sorter rejects both.
                news.append(self._new_joined(part))
        return self._with_news(news, now)

    def verdict_received(
        self, view: str, key: PartKey, said: ViewSaid, now: float
    ) -> list[JoinedPart]:
        """
        Take the verdict of a view. The first one holds, except that a reject beats a pass.

        """
        for part in self._parts[view]:
            if part.key == key:
                if part.said is None or (part.said.passes and not said.passes):
                    part.said = said
                break
        else:
            earlier = self._early.get((view, key))
            if earlier is None or earlier.passes:
                self._early[view, key] = said
            while len(self._early) > _EARLY_VERDICTS:
                self._early.popitem(last=False)
        return self._with_news([], now)

    def joined_of(self, view: str, key: PartKey) -> JoinedPart | None:
        """
        Give the joined part that a part of a view belongs to; None when nobody knows (yet).

        """
        part = next((one for one in self._parts[view] if one.key == key), None)
        claims = [] if part is None else list(self._claims(part))
        return claims[0] if len(claims) == 1 else None

    def tick(self, now: float) -> list[JoinedPart]:
        """
        Decide what is due; call it every few milliseconds.

        """
        return self._with_news([], now)

    def stop(self, now: float) -> list[JoinedPart]:
        """
        Reject what is undecided and forget everything, because the joiner stops.

        """
        news = [one for one in self._joined if one.verdict is None]
        for joined in news:
            joined.verdict = JoinedVerdict(
                Verdict.REJECT, Reason.NOT_READY, 'the view_joiner was stopped -> REJECT'
            )
        for parts in self._parts.values():
            parts.clear()
        self._joined.clear()
        self._early.clear()
        return news

    # What belongs together

    def _new_joined(self, part: ViewPart) -> JoinedPart:
        joined = JoinedPart(part.key, part.time_s, {part.view: part})
        self._joined.append(joined)
        for view in self.settings.views:
            for candidate in self._candidates(joined, view):
                candidate.is_claimed = True
        return joined

    def _candidates(self, joined: JoinedPart, view: str) -> Iterator[ViewPart]:
        for part in self._parts[view]:
            if abs(part.time_s - joined.time_s) <= self.settings.within_s:
                yield part

    def _claims(self, part: ViewPart) -> Iterator[JoinedPart]:
        """
        Give the joined parts that a part is, or may be, one of.

        """
        if part.view == self.settings.leading:
            yield from (one for one in self._joined if one.parts.get(part.view) is part)
            return
        for joined in self._joined:
            if abs(part.time_s - joined.time_s) <= self.settings.within_s:
                yield joined

    def _with_news(self, news: list[JoinedPart], now: float) -> list[JoinedPart]:
        news += self._unclaimed(now)
        for joined in self._joined:
            if joined.verdict is not None:
                continue
            was_complete = joined.is_complete
            joined.verdict = self._judged(joined, now)
            is_news = joined.verdict is not None or joined.is_complete != was_complete
            if is_news and joined not in news:
                news.append(joined)
        self._forget(now)
        return news

    def _unclaimed(self, now: float) -> Iterator[JoinedPart]:
        """
        Give parts of their own, which the leading view has not seen.

        """
        for view, parts in self._parts.items():
            if view == self.settings.leading:
                continue
            for part in parts:
                # Half of the time is left for the sorter to keep its neighbours apart.
                is_due = now >= part.time_s + self.settings.deadline_s / 2
                if is_due and not part.is_claimed:
                    yield self._new_joined(part)

    def _judged(self, joined: JoinedPart, now: float) -> JoinedVerdict | None:
        """
        Judge a joined part by what is known now; None = it is not yet due.

        """
        settings = self.settings
        unclear = self._found(joined)
        if unclear:
            return self._rejected(joined, now, unclear)
        is_late = now - joined.time_s > settings.deadline_s
        if is_late or settings.leading not in joined.parts:
            return self._rejected(joined, now)
        said = [part.said for part in joined.parts.values()]
        if not joined.is_complete or None in said:
            return None
        if not all(one is not None and one.passes for one in said):
            return self._rejected(joined, now)
        if now - joined.time_s <= self._rivals_s:
            return None
        comparison = self._comparison(joined, now, {})
        return JoinedVerdict(Verdict.PASS, Reason.WITHIN_LIMITS, comparison)

    def _found(self, joined: JoinedPart) -> dict[str, str]:
        """
        Take the parts that belong to a joined part; say of which views that is unclear, and why.

        """
        unclear = {}
        for view in self.settings.views:
            if view == self.settings.leading:
                continue
            candidates = list(self._candidates(joined, view))
            if len(candidates) > 1:
                unclear[view] = f'{len(candidates)} of its parts may be this one'
            elif candidates:
                joined.parts[view] = candidates[0]
                claims = sum(1 for _ in self._claims(candidates[0]))
                if claims > 1:
                    unclear[view] = f'its part may belong to any of {claims} parts'
        joined.is_complete = len(joined.parts) == len(self.settings.views)
        return unclear

    def _rejected(
        self, joined: JoinedPart, now: float, unclear: Mapping[str, str] | None = None
    ) -> JoinedVerdict:
        comparison = self._comparison(joined, now, unclear or {})
        if unclear:
            return JoinedVerdict(Verdict.REJECT, Reason.VIEW_UNCLEAR, comparison)
        said = {view: part.said for view, part in joined.parts.items() if part.said is not None}
        views = self.settings.views
        rejecting = [said[view] for view in views if view in said and not said[view].passes]
        return JoinedVerdict(
            Verdict.REJECT,
            rejecting[0].reason if rejecting else Reason.VIEW_MISSING,
            comparison,
            tuple(view for view in views if view not in said),
        )

    def _comparison(self, joined: JoinedPart, now: float, unclear: Mapping[str, str]) -> str:
        texts = []
        after_s = now - joined.time_s
        for view in self.settings.views:
            part = joined.parts.get(view)
            if view in unclear:
                text = f'{unclear[view]} (within {self.settings.within_s:g} s) -> REJECT'
            elif part is None:
                text = 'did not see the part -> REJECT'
            elif part.said is None:
                text = f'no verdict within {after_s:.2f} s -> REJECT'
            else:
                text = part.said.comparison
            texts.append(f'{view}: {text}')
        return '; '.join(texts)

    def _forget(self, now: float) -> None:
        oldest_s = now - self._remembered_s
        while self._joined and self._joined[0].time_s < oldest_s:
            self._joined.popleft()
        for parts in self._parts.values():
            while parts and parts[0].time_s < oldest_s:
                parts.popleft()
