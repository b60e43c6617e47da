"""The pages say what the code says: every action, event, control, setting and key of a file, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from bedplate.bootstrap import MANIFESTS
from bedplate.config import Settings
from bedplate.paths.thread import ACCEPTED
from bedplate.people.structure import SYSTEMS, OperatingModelFile
from bedplate.portfolio.usecase import UseCaseFile
from bedplate.testing import small_model_file

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DESIGN = DOCS / "design"
PAGES = sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
CELL = re.compile(r"(?<!\\)\|")
CODE = re.compile(r"`([^`]+)`")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
WORD = "compli" + "ant"  # not printed here either
MAX_LINES = {"design": 130, "adr": 35}


def rows(page: str, *headings: str) -> list[list[str]]:
    """Return the cells of the tables under these headings; under every heading when none is named."""
    found: list[list[str]] = []
    here = ""
    ruled = False
    for line in FENCE.sub("", (DESIGN / page).read_text()).splitlines():
        if line.startswith("#"):
            here, ruled = line.lstrip("# "), False
        elif line.startswith("|") and (not headings or here in headings):
            cells = [cell.strip() for cell in CELL.split(line.strip())[1:-1]]
            if set("".join(cells)) <= {"-", ":"}:
                ruled = True
            elif ruled:
                found.append(cells)
        elif not line.startswith("|"):
            ruled = False
    return found


def named(cell: str) -> str:
    """Return the one name in backticks that a first cell holds."""
    (name,) = CODE.findall(cell)
    return str(name)


def only_once(names: list[str]) -> set[str]:
    """Return the names as a set, after checking that none is there twice."""
    assert sorted(names) == sorted(set(names))
    return set(names)


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#{1,6} (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def keys(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield every key that a file may hold: `people[].id`, and `.*` where any key may stand."""
    for name, field in model.model_fields.items():
        yield before + name
        yield from _inner(field.annotation, before + name)


def _inner(kind: Any, path: str) -> Iterator[str]:
    origin = get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from keys(kind, path + ".")
    elif origin is Annotated:
        yield from _inner(get_args(kind)[0], path)
    elif origin is list:
        yield from _inner(get_args(kind)[0], path + "[]")
    elif origin is dict:
        yield from _inner(get_args(kind)[1], path + ".*")
    elif origin in {Union, UnionType}:
        for part in get_args(kind):
            yield from _inner(part, path)


def test_every_control_is_on_its_page() -> None:
    declared = {c.name: c for m in MANIFESTS for c in m.controls}
    table = rows("controls.md", "Declared controls")
    told = {named(row[0]): row for row in table}
    assert only_once([named(row[0]) for row in table]) == set(declared)
    for name, row in told.items():
        assert row[1] == declared[name].phase, name
        assert row[2].startswith("always" if declared[name].always else "named by the tier"), name
        assert all(row), f"{name} has an empty cell"


def test_every_event_is_on_its_page_with_its_fields_in_order() -> None:
    declared = {k.name: list(k.fields.items()) for m in MANIFESTS for k in m.kinds}
    told = {named(row[0]): re.findall(r"`(\w+): (\w+)`", row[1]) for row in rows("events.md")}
    assert only_once([named(row[0]) for row in rows("events.md")]) == set(declared)
    assert told == declared


def test_every_permission_is_on_its_page_with_its_default_seats() -> None:
    needed = {a.needs for m in MANIFESTS for a in m.actions}
    defaults = small_model_file().permissions
    told = {named(row[0]): CODE.findall(row[1]) for row in rows("permissions.md", "Permissions")}
    assert only_once([named(row[0]) for row in rows("permissions.md", "Permissions")]) == needed
    assert told == {permission: defaults.get(permission, []) for permission in needed}


def test_every_action_is_on_its_page_with_its_permission() -> None:
    declared = {a.name: (a.needs, a.phase) for m in MANIFESTS for a in m.actions}
    table = rows("permissions.md", "Actions")
    assert only_once([named(row[0]) for row in table]) == set(declared)
    assert {named(row[0]): (named(row[1]), row[2]) for row in table} == declared


def test_every_action_says_who_may_do_it_besides_seats() -> None:
    declared = {a.name: a for m in MANIFESTS for a in m.actions}
    for row in rows("permissions.md", "Actions"):
        action = declared[named(row[0])]
        before = ", ".join(f"`{who}`" for who in action.founding)
        said = [
            *([] if action.registered else ["no standing needed"]),
            *([f"before founding: {before}"] if before else []),
            *(["founds"] if action.founds else []),
            *(["own person"] if action.own else []),
        ]
        assert row[5] == (", ".join(said) or "none"), action.name


def test_what_the_worker_may_do_is_on_the_page_of_the_operating_model() -> None:
    page = (DESIGN / "operating-model.md").read_text()
    assert [p for p in sorted(SYSTEMS) if f"`{p}`" not in page] == []


def test_what_a_release_must_share_with_the_accepted_file_is_on_its_page() -> None:
    page = (DESIGN / "use-case.md").read_text()
    *most, last = (f"`{name}`" for name in ACCEPTED)
    assert re.sub(r"\s+", " ", f"equal the accepted one in {', '.join(most)} and {last}") in re.sub(r"\s+", " ", page)


def test_every_setting_is_on_its_page_with_its_default() -> None:
    declared = {f"BEDPLATE_{name.upper()}": field.default for name, field in Settings.model_fields.items()}
    table = rows("settings.md", "Settings of the server")
    assert only_once([named(row[0]) for row in table]) == set(declared)
    for row in table:
        default = declared[named(row[0])]
        said = CODE.findall(row[1])
        assert said == ([str(default).lower() if isinstance(default, bool) else str(default)] if default != "" else [])


@pytest.mark.parametrize(
    ("page", "model"), [("operating-model.md", OperatingModelFile), ("use-case.md", UseCaseFile)], ids=["model", "case"]
)
def test_every_key_of_a_file_is_on_its_page(page: str, model: type[BaseModel]) -> None:
    assert only_once([named(row[0]) for row in rows(page, "Keys")]) == set(keys(model))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert target.is_relative_to(ROOT), f"{page.name} links out of the repository"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text()), f"{page.name} links to {link}"


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    listed = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(index) if "://" not in link}
    missing = [str(page.relative_to(DOCS)) for page in PAGES if page.name != "README.md" and page not in listed]
    assert missing == []


@pytest.mark.parametrize("folder", sorted(MAX_LINES))
def test_pages_stay_short(folder: str) -> None:
    long = {}
    for page in (DOCS / folder).glob("*.md"):
        # A row of a table is looked up, not read.
        told = [line for line in page.read_text().splitlines() if not line.startswith("|")]
        if len(told) > MAX_LINES[folder]:
            long[page.name] = len(told)
    assert long == {}


def test_decisions_are_numbered_without_gaps_and_have_the_same_three_parts() -> None:
    decisions = sorted((DOCS / "adr").glob("*.md"))
    assert [int(page.name[:4]) for page in decisions] == list(range(1, len(decisions) + 1))
    for page in decisions:
        assert re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE) == ["Context", "Decision", "Consequences"], page


def test_nothing_is_called_what_only_an_authority_may_call_it() -> None:
    kinds = {".md", ".py", ".html", ".js", ".yaml", ".yml", ".css"}
    vendored = "vendor"
    places = [
        p for top in (DOCS, ROOT / "src") for p in top.rglob("*") if p.suffix in kinds and vendored not in p.parts
    ]
    assert places
    assert [str(p.relative_to(ROOT)) for p in places if WORD in p.read_text(encoding="utf-8").lower()] == []
