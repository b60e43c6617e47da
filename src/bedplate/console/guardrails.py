"""Guardrails: what they found, how often people say that it was wrong, and a box to try them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput
from bedplate.gateway.finding import redact
from bedplate.gateway.search import WAYS
from bedplate.gateway.usage import day_text
from bedplate.kernel.clock import DAY
from bedplate.models.interval import wilson
from bedplate.portfolio import views as portfolio

from .conversation import Piece, pieces
from .findings import DAYS
from .problem import Problem, problem_of
from .visit import Page, Visit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.responses import Response

    from bedplate.gateway.finding import Finding
    from bedplate.gateway.guardrail import Guard
    from bedplate.gateway.recipe import Recipe

    from .findings import Judged, Line

SPANS = (7, 30, DAYS)
MOST_LAYERS = 7  # colours that can be told apart
OTHERS = "all others"
MAX_TRIED = 20_000  # characters


@dataclass(frozen=True, slots=True)
class Days:
    """Calls with findings by day and label, the most found label first; `counts` has one row for each label."""

    days: tuple[str, ...]
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def most(self) -> int:
        """The most of one day, at least 1."""
        return max((sum(day) for day in zip(*self.counts, strict=True)), default=0) or 1

    @property
    def rows(self) -> list[tuple[str, tuple[int, ...]]]:
        """The same as a table, newest day first, without the days on which nothing was found."""
        told = zip(self.days, zip(*self.counts, strict=True), strict=True) if self.counts else ()
        return [(day, counts) for day, counts in told if any(counts)][::-1]


@dataclass(frozen=True, slots=True)
class Label:
    """One label: in how many calls it was found, and of those that people judged, how many were wrong (per mille)."""

    name: str
    ways: tuple[int, int]  # input, output
    judged: Judged
    lower: int
    upper: int

    @property
    def looked(self) -> int:
        """How many people judged."""
        return self.judged.right + self.judged.wrong


@dataclass(frozen=True, slots=True)
class Tried:
    """What would happen to a text. `kinds` are (label, kind, mode); `unasked` names models that were not asked."""

    outcome: str  # unchanged, changed, asked, stopped
    before: tuple[Piece, ...]
    after: tuple[Piece, ...]
    kinds: tuple[tuple[str, str, str], ...]
    unasked: tuple[str, ...]


def guardrails(visit: Visit) -> Response:
    """Show what was found in a span of days."""
    return _guardrails(visit)


def attempt(visit: Visit) -> Response:
    """Show what the live release's guardrails would do with a text. Nothing is recorded, and nothing is sent."""
    given = {name: visit.form.get(name, "") for name in ("use_case", "way", "text")}
    given["text"] = given["text"].replace("\r\n", "\n")
    found, problem = None, None
    try:
        found = _tried(visit, given)
    except InvalidInput as wrong:
        problem = problem_of(wrong)
    if visit.fragment:
        return visit.show("_tried.html", problem.status if problem else 200, tried=found, problem=problem)
    return _guardrails(visit, given, found, problem)


def _guardrails(
    visit: Visit, given: Mapping[str, str] | None = None, found: Tried | None = None, problem: Problem | None = None
) -> Response:
    at, counts = visit.at, visit.console.findings
    use_case, way = visit.query("use_case"), visit.query("way")
    span = next((n for n in SPANS if n == visit.number("days")), SPANS[1])
    if way and way not in WAYS:
        raise InvalidInput(f"There is no direction {way[:40]!r}.", hint="Choose input or output.")
    now = at.clock()
    since, subject = now // DAY - span + 1, f"usecase/{use_case}" if use_case else ""
    counts.look(now)
    lines = counts.lines(since, subject, way)
    cases = portfolio.use_cases(at.engine)
    recipes = at.follower.snapshot.recipes
    tried = given or {
        "use_case": use_case or next(iter(sorted(recipes)), "/").partition("/")[2],
        "way": "input",
        "text": "",
    }
    return visit.show(
        "guardrails.html",
        problem.status if problem else 200,
        given={"use_case": use_case, "way": way, "days": span},
        spans=SPANS,
        ways=WAYS,
        cases=[(c.id, c.title) for c in cases],
        live=[(c.id, c.title) for c in cases if c.subject in recipes],
        drawn=days(lines, since, span),
        labels=_labels(lines, counts.judged(since, subject, way)),
        by_case=_by_case(lines, {c.subject: c.title for c in cases}),
        total=sum(lines.values()),
        waiting=counts.waiting,
        policy=_policy(recipes.get(f"usecase/{tried['use_case']}")),
        trying=tried,
        tried=found,
        problem=problem,
        max_tried=MAX_TRIED,
    )


def days(lines: Mapping[Line, int], since: int, span: int) -> Days:
    """Put the days of a span into layers by label; beyond the colours there are, the rest is one layer."""
    by_label: dict[str, dict[int, int]] = {}
    for line, n in lines.items():
        there = by_label.setdefault(line.label, {})
        there[line.day] = there.get(line.day, 0) + n
    names = sorted(by_label, key=lambda label: (-sum(by_label[label].values()), label))
    kept, rest = names[:MOST_LAYERS], names[MOST_LAYERS:]
    every = range(since, since + span)
    counts = [tuple(by_label[name].get(day, 0) for day in every) for name in kept]
    if rest:
        counts.append(tuple(sum(by_label[name].get(day, 0) for name in rest) for day in every))
    return Days(tuple(map(day_text, every)), (*kept, *([OTHERS] if rest else [])), tuple(counts))


def guarded(pair: Sequence[Guard], text: str, way: str) -> Tried:
    """Do with a text what both guards of a direction would: the one of patterns, then the one that judges it whole."""
    first, whole = pair
    found = first.guarded(text, first.found(text))
    judged = whole.guarded(text, whole.found(text))
    modes = {f: guard.policy[f.kind] for guard, told in ((first, found), (whole, judged)) for f in told.findings}
    hidden = [f for f, mode in modes.items() if mode != "observe"]
    stops = found.blocked or judged.blocked
    asks = found.asks or judged.asks
    if way == "output":  # nobody is asked about an answer, and what was judged as a whole is not cut out of it
        stops, asks = stops or asks or judged.text != text, False
    leaves = [f for f in hidden if modes[f] == "redact"] if asks else hidden
    after = "" if stops else redact(text, leaves)
    return Tried(
        outcome="stopped" if stops else "asked" if asks else "changed" if after != text else "unchanged",
        before=tuple(_shown(text, modes)),
        after=tuple(pieces(after)),
        kinds=tuple(dict.fromkeys((f.label, f.kind, mode) for f, mode in modes.items())),
        unasked=tuple(model.kind for guard in pair for model in guard.models),
    )


def _tried(visit: Visit, given: Mapping[str, str]) -> Tried:
    text, way = given["text"], given["way"]
    if not text.strip():
        raise InvalidInput("There is nothing to look at.", hint="Paste a text.")
    if len(text) > MAX_TRIED:
        raise InvalidInput(f"The text has {len(text):,} characters.", hint=f"Try at most {MAX_TRIED:,} of them.")
    if way not in WAYS:
        raise InvalidInput("Say in which direction the text goes.", hint="Choose input or output.")
    recipe = visit.at.follower.snapshot.recipes.get(f"usecase/{given['use_case']}")
    if recipe is None:
        raise InvalidInput("No release of it is live, so no guardrails are.", hint="Choose another use case.")
    pair = (recipe.guard_in, recipe.guard_asked) if way == "input" else (recipe.guard_out, recipe.guard_answer)
    return guarded(pair, text, way)


def _shown(text: str, findings: Iterable[Finding]) -> Iterable[Piece]:
    """Cut the text as it was pasted at what was found in it; of findings that overlap, the first is marked."""
    place = 0
    for f in sorted((f for f in findings if f.end - f.start < len(text)), key=_first_longest):
        if f.start < place:
            continue
        if f.start > place:
            yield Piece(text[place : f.start])
        yield Piece(text[f.start : f.end], "redacted")
        place = f.end
    if place < len(text):
        yield Piece(text[place:])


def _labels(lines: Mapping[Line, int], judged: Mapping[str, Judged]) -> list[Label]:
    found = []
    for name, told in judged.items():
        ways = [sum(n for line, n in lines.items() if line.label == name and line.way == way) for way in WAYS]
        looked = told.right + told.wrong
        lower, upper = wilson(told.wrong, looked) if looked else (0, 1000)
        found.append(Label(name, (ways[0], ways[1]), told, lower, upper))
    return found


def _by_case(lines: Mapping[Line, int], titles: Mapping[str, str]) -> list[tuple[str, str, tuple[int, int], str]]:
    """Return (id, title, calls by direction, what was found most) by use case, the most found first."""
    sums: dict[str, list[int]] = {}
    labels: dict[str, dict[str, int]] = {}
    for line, n in lines.items():
        sums.setdefault(line.subject, [0, 0])[WAYS.index(line.way)] += n
        there = labels.setdefault(line.subject, {})
        there[line.label] = there.get(line.label, 0) + n
    ordered = sorted(sums, key=lambda subject: (-sum(sums[subject]), subject))
    return [
        (
            subject.partition("/")[2],
            titles.get(subject, subject),
            (sums[subject][0], sums[subject][1]),
            max(labels[subject].items(), key=lambda known: known[1])[0],
        )
        for subject in ordered
    ]


def _policy(recipe: Recipe | None) -> list[tuple[str, str, str]]:
    """Return (kind, mode on the way in, mode on the way out) of a live release."""
    if recipe is None:
        return []
    into, out = ({**a.policy, **b.policy} for a, b in _pairs(recipe))
    return [(kind, into.get(kind, ""), out.get(kind, "")) for kind in sorted({*into, *out})]


def _pairs(recipe: Recipe) -> tuple[tuple[Guard, Guard], tuple[Guard, Guard]]:
    return (recipe.guard_in, recipe.guard_asked), (recipe.guard_out, recipe.guard_answer)


def _first_longest(finding: Finding) -> tuple[int, int]:
    return finding.start, -finding.end


PAGES = (
    Page("/guardrails", guardrails),
    Page("/guardrails/try", attempt, "POST"),
)
