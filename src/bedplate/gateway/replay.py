"""Calls of the past decided again: once for all that are alike, and budgets call by call, in the order they came."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Protocol

from bedplate.kernel.clock import DAY, EPOCH, MICROSECOND
from bedplate.kernel.decision import Reason

from .limit import Limits, Spent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .history import Past

Said = tuple[Reason, ...]
Used = tuple[int, int, int]  # calls, tokens, nano-US-dollars
WAIT = "wait for tomorrow (UTC), or raise the budget"


class Rules(Protocol):
    """What calls are decided by: an operating model, and what was true when they were made."""

    def judged(self, group: int, moment: int) -> Said:
        """Say why a call of this group, made at this moment, is refused; nothing if it is let through."""
        ...

    def limits(self, group: int) -> Limits:
        """Return the budgets that a call of this group is held to."""
        ...


@dataclass(slots=True)
class Decided:
    """What becomes of each call: 0, or the place of its reasons in `said`. `edge`: those that came near a limit.

    A call reserves an estimate that is not on record. Where what it used in the end would not have fitted any more,
    nobody can say whether the estimate would have.
    """

    codes: bytearray
    said: list[Said] = field(default_factory=lambda: [()])
    edge: set[int] = field(default_factory=set)

    def code(self, reasons: Said) -> int:
        """Return the number of these reasons: the same for the same controls."""
        names = [r.control for r in reasons]
        for place, known in enumerate(self.said):
            if [r.control for r in known] == names:
                return place
        self.said.append(reasons)
        return len(self.said) - 1


def decided(past: Past, rules: Rules, before: Mapping[int, Used]) -> Decided:
    """Decide every call of a use case. `before`: what was used in a month (years × 12 + months) before the first day.

    Of a group the first and the last call are decided. Where they differ, those between are looked at: a control that
    depends on time refuses from some moment on.
    """
    found = Decided(bytearray())
    codes: dict[int, int] = {}
    split: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for moment, group in zip(past.moments, past.groups, strict=True):
        known = ends.get(group)
        if known is None:
            ends[group] = [moment, moment]
        else:
            known[1] = moment
    for group, (first, last) in ends.items():
        codes[group] = found.code(rules.judged(group, first))
        if first != last and found.code(rules.judged(group, last)) != codes[group]:
            split[group] = []
    found.codes = bytearray(map(codes.__getitem__, past.groups))
    if split:
        for call, group in enumerate(past.groups):
            if group in split:
                split[group].append(call)
        for group, calls in split.items():
            _between(found, past, rules, (group, calls))
    _budgets(found, past, rules, before)
    return found


def refused_anew(before: Decided, after: Decided) -> Iterator[tuple[int, Said]]:
    """Yield the calls that were let through before and are refused after, with the reasons."""
    said = after.said
    for call, (then, now) in enumerate(zip(before.codes, after.codes, strict=True)):
        if now and not then:
            yield call, said[now]


def let_anew(before: Decided, after: Decided) -> int:
    """Count the calls that would have been refused before and are let through after."""
    return sum(1 for then, now in zip(before.codes, after.codes, strict=True) if then and not now)


def _between(found: Decided, past: Past, rules: Rules, those: tuple[int, list[int]]) -> None:
    group, calls = those
    spans = [(0, len(calls) - 1)]
    while spans:
        low, high = spans.pop()
        first = found.code(rules.judged(group, past.moments[calls[low]]))
        last = found.code(rules.judged(group, past.moments[calls[high]]))
        if first == last:
            for call in calls[low : high + 1]:
                found.codes[call] = first
        elif high - low == 1:
            found.codes[calls[low]], found.codes[calls[high]] = first, last
        else:
            middle = (low + high) // 2
            spans += [(low, middle), (middle, high)]


def _budgets(found: Decided, past: Past, rules: Rules, before: Mapping[int, Used]) -> None:
    limits = {group: rules.limits(group) for group in set(past.groups)}
    months = _months(past)
    if not _reached(past, reduce(Limits.least, limits.values(), Limits()), months, before):
        return
    spent = Spent()
    for call, (moment, group) in enumerate(zip(past.moments, past.groups, strict=True)):
        if found.codes[call]:
            continue
        day = moment // DAY
        if day != spent.day:
            spent = _next_day(spent, day, months[day], before)
        tokens, nano = past.tokens[call], past.nano[call]
        lines = spent.against(limits[group])
        over = next((line for line in lines if line.used >= line.most), None)
        if over is not None:
            found.codes[call] = found.code((Reason("within-budget", over.reason, WAIT),))
            continue
        more = Spent(day, spent.month, *_plus(spent[2:], (1, tokens, nano) * 2))
        if any(line.used > line.most for line in more.against(limits[group])):
            found.edge.add(call)
        spent = more


def _months(past: Past) -> dict[int, int]:
    """Return the month of every day that has calls."""
    days, place = {}, 0
    while place < len(past.moments):
        day = past.moments[place] // DAY
        moment = EPOCH + day * DAY * MICROSECOND
        days[day] = moment.year * 12 + moment.month - 1
        place = bisect_left(past.moments, (day + 1) * DAY)
    return days


def _reached(past: Past, least: Limits, months: Mapping[int, int], before: Mapping[int, Used]) -> bool:
    """Tell whether any limit may be reached, were every call let through."""
    monthly: dict[int, Sequence[int]] = defaultdict(lambda: (0, 0, 0), before)
    for day, month in months.items():
        low, high = bisect_left(past.moments, day * DAY), bisect_right(past.moments, (day + 1) * DAY - 1)
        daily = (high - low, sum(past.tokens[low:high]), sum(past.nano[low:high]))
        monthly[month] = _plus(monthly[month], daily)
        if any(line.used >= line.most for line in Spent(day, month, *daily, *monthly[month]).against(least)):
            return True
    return False


def _next_day(spent: Spent, day: int, month: int, before: Mapping[int, Used]) -> Spent:
    same = month == spent.month
    return Spent(day, month, 0, 0, 0, *(spent[5:] if same else before.get(month, (0, 0, 0))))


def _plus(these: Sequence[int], those: Sequence[int]) -> tuple[int, ...]:
    return tuple([a + b for a, b in zip(these, those, strict=True)])
