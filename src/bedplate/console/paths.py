"""Golden paths: which there are and how far siblings follow; one path with its envelope, versions and siblings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.paths import views
from bedplate.paths.path import hand_written, lines_of
from bedplate.paths.thread import package

from .chart import HEIGHT, LEFT, TOP, WIDTH
from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

COLUMN = 46.0  # of a column with its gap, at most
SHOWN = 30  # columns: the first use case and the newest siblings
UNITS = ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Column:
    """How long one use case took to go live, as a column. `state`: the first, within a tenth of it, or not."""

    name: str
    label: str
    x: float
    y: float
    width: float
    height: float
    state: str


def paths(visit: Visit) -> Response:
    """List the paths."""
    found = views.paths(visit.at.engine, visit.at.clock())
    return visit.show("paths.html", paths=found)


def path(visit: Visit) -> Response:
    """Show one path: what was agreed and by whom, its versions, its siblings and how long they took."""
    at, name = visit.at, visit.part("name")
    versions = views.versions(at.engine, name, at.clock())
    found = views.path(at.engine, name)
    siblings = views.siblings(at.engine, name)
    first = views.way(at.engine, versions[-1]["subject"])
    declared = found.declaration
    files = package(at.engine, versions[-1]["release"])
    page = visit.number("page", 1)
    return visit.show(
        "path.html",
        name=name,
        path=found,
        title=declared.title if declared is not None else name,
        envelope=declared.envelope if declared is not None else None,
        agreed=views.agreed(at.engine, name, found.version),
        versions=versions,
        siblings=[(s, lasted(s["took"])) for s in siblings[(page - 1) * PAGE : page * PAGE]],
        behind=sum(s["version"] < found.version for s in siblings),
        total=len(siblings),
        page=page,
        pages=max(1, -(-len(siblings) // PAGE)),
        first={**first, "lasted": lasted(first["took"]), "written": hand_written(files, {}), "lines": lines_of(files)},
        columns=columns(first, siblings),
        tenth=_tenth(first, siblings),
    )


def columns(first: dict[str, Any], siblings: Sequence[dict[str, Any]]) -> list[Column]:
    """Draw the first use case and its newest live siblings by how long each took to go live."""
    drawn = _drawn(first, siblings)
    most = max((took for _, took in drawn), default=0) or 1
    step = min(COLUMN, WIDTH / max(1, len(drawn)))
    found = []
    for place, (subject, took) in enumerate(drawn):
        height = round(max(2.0, HEIGHT * took / most), 1)
        state = "acc" if not place else "ok" if took * 10 <= first["took"] else "warn"
        x, y = round(LEFT + place * step + step * 0.1, 1), round(TOP + HEIGHT - height, 1)
        found.append(Column(subject.partition("/")[2], lasted(took), x, y, round(step * 0.8, 1), height, state))
    return found


def lasted(micros: int) -> str:
    """Write a span for people; "" for 0."""
    seconds = micros / 1e6
    size, unit = next(((s, u) for s, u in UNITS if seconds >= 2 * s), UNITS[-1])
    return f"{seconds / size:.1f} {unit}" if micros else ""


def _drawn(first: dict[str, Any], siblings: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    live = [(s["subject"], s["took"]) for s in siblings if s["took"]]
    return [(first["subject"], first["took"]), *live[-(SHOWN - 1) :]] if first["took"] and live else []


def _tenth(first: dict[str, Any], siblings: Sequence[dict[str, Any]]) -> float:
    """Return where the line is that a sibling's column should not reach over."""
    most = max((took for _, took in _drawn(first, siblings)), default=0) or 1
    return round(TOP + HEIGHT - HEIGHT * int(first["took"]) / 10 / most, 1)


PAGES = (Page("/paths", paths), Page("/paths/{name}", path))
