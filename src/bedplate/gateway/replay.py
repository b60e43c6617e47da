"""Calls of the past decided again: once for all that are alike, and budgets call by call, in the order they came."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
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
Used6 = tuple[int, int, int, int, int, int]  # of a day, of a month
ENDLESS = 1 << 62
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


def refused_anew(before: Decided, after: Decided, examples: int) -> Iterator[tuple[Said, int, list[int]]]:
    """Yield by reasons how many calls were let through before and are refused after, and the first of them."""
    counts: Counter[int] = Counter()
    first: dict[int, list[int]] = {}
    for call, (then, now) in enumerate(zip(before.codes, after.codes, strict=True)):
        if now and not then:
            counts[now] += 1
            if counts[now] <= examples:
                first.setdefault(now, []).append(call)
    for code, count in counts.items():
        yield after.said[code], count, first[code]


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
    most = {group: _most(limit) for group, limit in limits.items()}
    day = month = -1
    calls = tokens = nano = 0  # of the day
    month_calls = month_tokens = month_nano = 0
    refused = 0  # the code of what a budget refuses, once it did
    codes, edge = found.codes, found.edge
    # A million times round: no names are looked up and no objects made in it that need not be.
    for call, (moment, group, more, cost) in enumerate(
        zip(past.moments, past.groups, past.tokens, past.nano, strict=True)
    ):
        if codes[call]:
            continue
        if moment // DAY != day:
            day, calls, tokens, nano = moment // DAY, 0, 0, 0
            if months[day] != month:
                month = months[day]
                month_calls, month_tokens, month_nano = before.get(month, (0, 0, 0))
        a, b, c, d, e, f = most[group]
        if calls >= a or tokens >= b or nano >= c or month_calls >= d or month_tokens >= e or month_nano >= f:
            if not refused:
                spent = Spent(day, month, calls, tokens, nano, month_calls, month_tokens, month_nano)
                over = next(line for line in spent.against(limits[group]) if line.used >= line.most)
                refused = found.code((Reason("within-budget", over.reason, WAIT),))
            codes[call] = refused
            continue
        calls, tokens, nano = calls + 1, tokens + more, nano + cost
        month_calls, month_tokens, month_nano = month_calls + 1, month_tokens + more, month_nano + cost
        if tokens > b or nano > c or month_tokens > e or month_nano > f:
            edge.add(call)


def _most(limits: Limits) -> Used6:
    """Return the most of calls, tokens and money, of a day and of a month; where there is no limit, more than any."""
    given = (limits.calls_per_day, limits.tokens_per_day, limits.nano_per_day)
    monthly = (limits.calls_per_month, limits.tokens_per_month, limits.nano_per_month)
    a, b, c, d, e, f = (n or ENDLESS for n in (*given, *monthly))
    return a, b, c, d, e, f


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


def _plus(these: Sequence[int], those: Sequence[int]) -> tuple[int, ...]:
    return tuple([a + b for a, b in zip(these, those, strict=True)])
