"""Maturity stages: when one is recommended, and what it would change in an operating model's file."""

from __future__ import annotations

import difflib
import io
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bedplate.document import parse
from bedplate.errors import InvalidInput

from .part import Part, YesNo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ruamel.yaml import YAML

STAGES = ("steel-thread", "first-ten", "at-scale")
INDENTS = ((4, 2), (2, 0), (2, 2), (3, 1), (6, 4))  # of a sequence, and of its dash, as people write them
VOTING = {"board": ("board.chair", "board.member"), "coe": ("coe.chair", "coe.member")}
FLOW = 3  # entries of a mapping that is written on one line


class BeginsPart(Part):
    """What must be on record before a stage is recommended: how many of each."""

    live: Annotated[int, Field(ge=1)]  # use cases
    domains: Annotated[int, Field(ge=1)]  # with a live use case
    siblings: Annotated[int, Field(ge=0)]  # live use cases that were made from a path


class SeatsPart(Part):
    """How many people must hold a voting seat of a body, for the change to make sense."""

    body: Literal["board", "coe"]
    least: Annotated[int, Field(ge=1)]


class ChangePart(Part):
    """One recommendation: a value in the place of known ones, a bound, or something added or dropped."""

    path: Annotated[str, Field(min_length=1)]  # items of lists by id or tier
    why: Annotated[str, Field(min_length=3)]
    to: Any = None
    from_: Annotated[Any, Field(alias="from")] = None  # replaced only where this stands there
    least: int | None = None
    most: int | None = None
    add: dict[str, Any] | None = None
    drop: YesNo = "no"
    seats: SeatsPart | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        said = [
            self.to is not None,
            self.least is not None,
            self.most is not None,
            self.add is not None,
            self.drop == "yes",
        ]
        if sum(said) != 1:
            raise ValueError("say one of: to, least, most, add, drop")
        return self


class StageFile(Part):
    """A stage's whole file."""

    kind: Literal["maturity-stage"]
    stage: Literal["first-ten", "at-scale"]
    title: str
    begins: BeginsPart
    changes: list[ChangePart]


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that a stage begins with: how much there is, and how much it takes."""

    name: str
    have: int
    need: int

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.have >= self.need


@dataclass(frozen=True, slots=True)
class Recommended:
    """The stage that the records bear out, the one that the file names, and what the next one takes."""

    stage: str
    declared: str
    following: str  # the stage after the recommended one; "" for the last
    criteria: tuple[Criterion, ...]  # of the following stage

    @property
    def ahead(self) -> bool:
        """Whether the file is at a stage that the records do not bear out."""
        return STAGES.index(self.declared) > STAGES.index(self.stage)


@dataclass(frozen=True, slots=True)
class Proposed:
    """One change to the file: `state` is `changes`, or why it is left as it is."""

    path: str
    before: str
    after: str
    why: str
    state: str  # changes, there already, kept: ..., waits: ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """A file as a stage recommends it, with what differs. `exact`: nothing but that differs, not a blank."""

    stage: str
    text: str
    changes: tuple[Proposed, ...]
    diff: str
    exact: bool


@cache
def stage_file(stage: str) -> StageFile:
    """Read a stage's file; `InvalidInput` for one that has none."""
    if stage not in STAGES[1:]:
        raise InvalidInput(f"nothing is recommended for the stage {stage!r}", hint=f"known: {', '.join(STAGES[1:])}")
    text = resources.files("bedplate.people").joinpath("templates", f"{stage}.yaml").read_text()
    return parse(text, f"{stage}.yaml").read(StageFile)


def recommended(have: Mapping[str, int], declared: str) -> Recommended:
    """Say which stage the records bear out: `have` counts live use cases, their domains, and live siblings."""
    stage, following = STAGES[0], ""
    criteria: tuple[Criterion, ...] = ()
    for name in STAGES[1:]:
        begins = stage_file(name).begins
        found = (
            Criterion("live use cases", have["live"], begins.live),
            Criterion("domains with a live use case", have["domains"], begins.domains),
            Criterion("live use cases made from a path", have["siblings"], begins.siblings),
        )
        if not all(one.met for one in found):
            following, criteria = name, found
            break
        stage = name
    return Recommended(stage, declared, following, criteria)


def propose(text: str, stage: str, today: date, name: str = "operating-model.yaml") -> Proposal:
    """Return a file as the stage recommends it: its comments and everything else stay. Nothing is applied.

    `InvalidDocument` for a file that is none.
    """
    parse(text, name)  # what is wrong with it is said there
    root = _loaded(text)
    spacing = next((s for s in INDENTS if _written(root, *s) == text), None)
    changes = [_change(root, part, today) for part in stage_file(stage).changes]
    if all(c.state != "changes" for c in changes):
        return Proposal(stage, text, tuple(changes), "", exact=True)
    after = _written(root, *(spacing or INDENTS[0]))
    lines = difflib.unified_diff(text.splitlines(), after.splitlines(), name, f"{name} at {stage}", lineterm="")
    return Proposal(stage, after, tuple(changes), "\n".join(lines), exact=spacing is not None)


def _yaml() -> YAML:
    from ruamel.yaml import YAML  # noqa: PLC0415  costs 60 ms

    yaml = YAML(typ="rt")
    yaml.width = 1 << 16
    yaml.preserve_quotes = True
    return yaml


def _loaded(text: str) -> Any:  # noqa: ANN401  ruamel's mapping
    return _yaml().load(text)


def _written(root: Any, sequence: int, offset: int) -> str:  # noqa: ANN401  as above
    yaml = _yaml()
    yaml.indent(mapping=2, sequence=sequence, offset=offset)
    out = io.StringIO()
    yaml.dump(root, out)
    return out.getvalue()


def _change(root: Any, part: ChangePart, today: date) -> Proposed:  # noqa: ANN401  as above
    *way, last = part.path.split(".")
    holder, here = root, None
    for key in way:
        holder = _item(holder, key)
    here = _item(holder, last)
    state, after = _judged(root, part, here, today)
    if state == "changes":
        _put(root, part.path.split("."), after)
    return Proposed(part.path, _shown(here), _shown(after), part.why, state)


def _judged(root: Any, part: ChangePart, here: Any, today: date) -> tuple[str, Any]:  # noqa: ANN401  plain YAML
    """Say whether a part changes, and what stands there then; None for nothing."""
    if part.drop == "yes":
        return ("there already", None) if here is None else ("changes", None)
    if part.add is not None:
        return ("there already", here) if here is not None else ("changes", _dated(part.add, today))
    if part.least is not None or part.most is not None:
        if type(here) is not int:
            return "there already", here
        bound = max(here, part.least) if part.least is not None else min(here, part.most or here)
        return ("there already" if bound == here else "changes"), bound
    if _plain(here) == _plain(part.to):
        return "there already", here
    if part.from_ is not None and _plain(here) != _plain(part.from_):
        return "kept: it was changed here, and stays as it is", here
    if part.seats is not None and (have := _seats(root, part.seats.body)) < part.seats.least:
        body, least = part.seats.body, part.seats.least
        return f"waits: {have} people may vote in the {body}, and it takes {least}", here
    return "changes", part.to


def _seats(root: Any, body: str) -> int:  # noqa: ANN401  as above
    people = root.get("people") or []
    return sum(any(seat in VOTING[body] for seat in p.get("seats", ())) for p in people)


def _item(holder: Any, key: str) -> Any:  # noqa: ANN401  as above
    if isinstance(holder, dict):
        return holder.get(key)
    if isinstance(holder, list):
        return next((i for i in holder if str(i.get("id", i.get("tier", ""))) == key), None)
    return None


def _put(root: Any, way: list[str], value: Any) -> None:  # noqa: ANN401  as above
    """Set, add or drop what stands at a path; what leads there is made where it is missing."""
    holder = root
    for key in way[:-1]:
        found = _item(holder, key)
        if found is None:
            found = holder[key] = _made([]) if key in {"delegations", "competences"} else _made({})
        holder = found
    last = way[-1]
    if isinstance(holder, list):
        at = next((n for n, i in enumerate(holder) if str(i.get("id", i.get("tier", ""))) == last), None)
        if value is None and at is not None:
            del holder[at]
            if not holder:
                del root[way[0]]
        elif value is not None and at is None:
            holder.append(_made(value))
    elif value is None:
        holder.pop(last, None)
    else:
        holder[last] = _made(value)


def _made(value: Any) -> Any:  # noqa: ANN401  as above
    """Turn plain values into ruamel's: lists of short things stand on one line, as in the templates."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq  # noqa: PLC0415  costs 60 ms

    if isinstance(value, dict):
        made = CommentedMap((key, _made(inner)) for key, inner in value.items())
        if len(value) <= FLOW and all(isinstance(i, (str, int)) and len(str(i)) < 20 for i in value.values()) and value:  # noqa: PLR2004  short
            made.fa.set_flow_style()
        return made
    if isinstance(value, list):
        items = CommentedSeq(_made(inner) for inner in value)
        if value:
            items.fa.set_flow_style()
        return items
    return value


def _dated(value: Any, today: date) -> Any:  # noqa: ANN401  as above
    if isinstance(value, dict):
        return {key: _dated(inner, today) for key, inner in value.items()}
    if isinstance(value, str) and value.startswith("in ") and value.endswith(" days"):
        return (today + timedelta(days=int(value.split()[1]))).isoformat()
    return value


def _plain(value: Any) -> Any:  # noqa: ANN401  as above
    """Return a value without what it is by itself: a quorum of one need not be written."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if (k, v) != ("quorum", 1)}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value


def _shown(value: Any) -> str:  # noqa: ANN401  as above
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_shown(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "; ".join(_shown(v) for v in value)
    return str(value)
