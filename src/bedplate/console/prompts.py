"""Prompts: their versions and the releases that carry them, two compared, aliases, and filling one in to look at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bedplate.errors import BedplateError, InvalidInput, NotFound
from bedplate.models import actions, views
from bedplate.models.governance import ALIAS_PROMPT
from bedplate.models.prompt import LIVE, SYSTEM, diff
from bedplate.portfolio import views as portfolio
from bedplate.releases import views as releases
from bedplate.template import pieces, render

from .problem import Problem, problem_of
from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from bedplate.models.prompt import Versions
    from bedplate.portfolio.views import UseCase
    from bedplate.template import Pieces, Template

CARRIERS = 100  # newest releases of a use case that are looked at for what they carry
FIELD = "v."  # how the name of a form's field begins that holds a variable's value
Change = Literal["same", "added", "removed", "place", "name"]


@dataclass(frozen=True, slots=True)
class Known:
    """One prompt of one use case, with what the live release carries of it ("" for nothing)."""

    case: UseCase
    id: str
    versions: Versions
    live: str

    @property
    def path(self) -> str:
        """Where its page is."""
        return f"/prompts/{self.case.id}/{self.id}"

    def aliases(self, digest: str) -> list[str]:
        """List the names of a version, `live` first."""
        return [
            *([LIVE] if digest == self.live else []),
            *(n for n, to in self.versions.aliases.items() if to == digest),
        ]


def prompts(visit: Visit) -> Response:
    """List the prompts of every use case, or of one."""
    at, only = visit.at, visit.query("use_case")
    cases = portfolio.use_cases(at.engine)
    chosen = [c for c in cases if not only or c.id == only]
    page = visit.number("page", 1)
    found = [(known, rows) for case in chosen[(page - 1) * PAGE : page * PAGE] for known, rows in _of_case(visit, case)]
    pages = max(1, -(-len(chosen) // PAGE))
    return visit.show("prompts.html", prompts=found, cases=cases, only=only, page=page, pages=pages)


def prompt(visit: Visit) -> Response:
    """Show one prompt: its versions, and the text of one of them."""
    return _prompt(visit)


def compare(visit: Visit) -> Response:
    """Show what differs between two versions, line by line."""
    known = _known(visit)
    before, after = (_version(known, visit.query(name)) for name in ("before", "after"))
    texts = [views.prompt_text(visit.at.engine, known.id, digest) for digest in (before, after)]
    numbers = (known.versions.number(before), known.versions.number(after))
    told = diff(texts[0], texts[1], (f"version {numbers[0]}", f"version {numbers[1]}"))
    lines = [_line(line) for line in told.splitlines()[2:]]
    return visit.show(
        "prompt_diff.html",
        known=known,
        before=before,
        after=after,
        numbers=numbers,
        lines=lines,
        added=sum(kind == "added" for kind, _ in lines),
        removed=sum(kind == "removed" for kind, _ in lines),
    )


def alias(visit: Visit) -> Response:
    """Point an alias at a version, or at none; what answers calls does not change by it."""
    known, name = _known(visit), visit.said("alias")
    previous = known.versions.aliases.get(name, "")
    version = visit.said("version")
    if not name:
        raise InvalidInput("An alias needs a name.", hint="2 to 40 small letters, digits and hyphens")
    if not version and not previous:
        raise InvalidInput(
            f"{known.id} has no alias {name!r}.", hint=", ".join(known.versions.aliases) or "It has none."
        )
    digest = _version(known, version) if version else ""
    actions.alias_prompt(
        visit.at.governor, visit.by, known.case.subject, known.id, name, digest=digest, previous=previous
    )
    visit.at.follower.look()
    return visit.go(known.path)


def fill(visit: Visit) -> Response:
    """Fill a version in with what was typed. Nothing is sent, and nothing is kept."""
    known = _known(visit)
    if known.id == SYSTEM:
        raise InvalidInput("The prompt file has no places to fill in.", hint="Only templates have variables.")
    digest = _version(known, visit.form.get("version", ""))
    template = views.prompt_template(visit.at.engine, digest)
    given = {n: visit.form.get(FIELD + n, "").replace("\r\n", "\n") for n in (v.name for v in template.variables)}
    problem, messages = None, []
    try:
        messages = render(template, {name: value for name, value in given.items() if value})
    except InvalidInput as wrong:
        problem = problem_of(wrong)
    if visit.fragment:
        return visit.show("_filled.html", problem.status if problem else 200, problem=problem, messages=messages)
    return _prompt(visit, digest, given=given, messages=messages, problem=problem)


def _prompt(
    visit: Visit,
    digest: str = "",
    *,
    given: Mapping[str, str] | None = None,
    messages: list[dict[str, str]] | None = None,
    problem: Problem | None = None,
) -> Response:
    at, known = visit.at, _known(visit)
    digest = digest or _version(known, visit.query("version"))
    template = views.prompt_template(at.engine, digest) if known.id != SYSTEM else None
    rows = [row for row in views.prompts(at.engine, known.case.subject) if row["id"] == known.id]
    model = at.model()
    domain = known.case.domain
    authority = model.authority if model is not None else None
    return visit.show(
        "prompt.html",
        problem.status if problem else 200,
        known=known,
        rows=rows,
        carriers=_carriers(visit, known),
        digest=digest,
        number=known.versions.number(digest),
        made=template,
        parts=_marked(template) if template is not None else [],
        text=views.prompt_text(at.engine, known.id, digest) if template is None else "",
        may_alias=authority is not None and authority.allowed(visit.by, ALIAS_PROMPT.needs, domain),
        who_may=authority.who(ALIAS_PROMPT.needs, domain) if authority is not None else (),
        field=FIELD,
        given=given or {},
        messages=messages or [],
        problem=problem,
        live=LIVE,
    )


def _of_case(visit: Visit, case: UseCase) -> list[tuple[Known, list[dict[str, Any]]]]:
    """Return the prompts of a use case, each with its versions, newest first."""
    rows = views.prompts(visit.at.engine, case.subject)
    if not rows:
        return []
    versions, live = views.prompt_versions(visit.at.engine, case.subject), carried(visit, case.release)
    return [
        (Known(case, name, known, live.get(name, "")), [row for row in rows if row["id"] == name])
        for name, known in sorted(versions.items(), key=_system_first)
    ]


def carried(visit: Visit, release: str) -> dict[str, str]:
    """Return the prompts that a release carries, digests by id; nothing where there is no such release."""
    if not release:
        return {}
    try:
        made = releases.bundle(visit.at.engine, release)
    except BedplateError:
        return {}
    return {SYSTEM: made.prompt, **made.prompts}


def _known(visit: Visit) -> Known:
    case = portfolio.use_case(visit.at.engine, f"usecase/{visit.part('id')}")
    versions, name = views.prompt_versions(visit.at.engine, case.subject), visit.part("prompt")
    if name not in versions:
        known = ", ".join(sorted(versions)) or "none"
        raise NotFound(f"{case.title} has no prompt {name[:80]}.", hint=f"Prompts of its releases: {known}.")
    return Known(case, name, versions[name], carried(visit, case.release).get(name, ""))


def _version(known: Known, said: str) -> str:
    """Return the digest of a version; without a word the live one, or the newest where none is live."""
    return known.versions.resolve(known.id, said, known.live) if said else known.live or known.versions.digests[-1]


def _carriers(visit: Visit, known: Known) -> dict[str, list[dict[str, Any]]]:
    """Return the releases that carry each version, newest first, by digest."""
    found: dict[str, list[dict[str, Any]]] = {}
    for release in releases.releases(visit.at.engine, known.case.subject)[:CARRIERS]:
        digest = carried(visit, release["digest"]).get(known.id)
        if digest:
            found.setdefault(digest, []).append(release)
    return found


def _marked(template: Template) -> list[tuple[str, Pieces]]:
    return [(message.role, pieces(message.text)) for message in template.messages]


def _line(line: str) -> tuple[Change, str]:
    kinds: Mapping[str, Change] = {"+": "added", "-": "removed", "@": "place"}
    return kinds.get(line[:1], "same"), line


def _system_first(named: tuple[str, Versions]) -> tuple[bool, str]:
    return named[0] != SYSTEM, named[0]


PAGES = (
    Page("/prompts", prompts),
    Page("/prompts/{id}/{prompt}", prompt),
    Page("/prompts/{id}/{prompt}/diff", compare),
    Page("/prompts/{id}/{prompt}/aliases", alias, "POST"),
    Page("/prompts/{id}/{prompt}/fill", fill, "POST"),
)
