"""What is done about vendors: register, review, and say which a release relies on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from bedplate.document import Document, InvalidDocument
from bedplate.errors import InvalidInput, NotFound
from bedplate.kernel.clock import DAY

from .governance import REGISTER, RELY, REVIEW
from .vendor import Supply, Target, VendorFile, end_of, suppliers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from bedplate.kernel.event import Data, Value
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel
    from bedplate.kernel.standing import Standing

Outcome = Literal["kept", "ended"]


def check_vendor(
    document: Document, model: OperatingModel, known: Collection[str], use_cases: Collection[str], now: int
) -> VendorFile:
    """Check a file against the vendors and use cases that are known; `InvalidDocument` with every complaint."""
    file = document.read(VendorFile)
    wrong = _untimely(file, now) + _dangling(file, model, known, use_cases)
    if not (file.models or file.upstreams or file.products):
        wrong.append(([], "it supplies nothing: name models, upstreams or products"))
    if wrong:
        raise InvalidDocument([document.complain(path, message) for path, message in wrong])
    return file


def register(governor: Governor, by: str, file: VendorFile, affected: Sequence[str] = ()) -> None:
    """Record a vendor; the `affected` use cases, whose releases rely on it, are judged by it as it is now."""
    due, terms, content = end_of(file.review.due), end_of(file.terms.valid_until), file.content()
    facts: Data = {"spec": hashlib.sha256(content).hexdigest(), "due": due}
    with governor.act(by, REGISTER, file.subject, facts=facts) as act:
        data: dict[str, Value] = {"name": file.name, "spec": act.keep(content), "reviewer": file.review.reviewer}
        act.record("vendors.vendor.registered", {**data, "review_due": due, "terms_until": terms})
        for subject in affected:
            told: Data = {"vendor": file.id, "state": "registered", "due": due, "terms": terms}
            act.record("vendors.vendor.noted", told, on=subject)


def review(
    governor: Governor, by: str, vendor: str, outcome: Outcome, notes: str, due: int, affected: Sequence[str] = ()
) -> None:
    """Record that a vendor was looked at, what was found, and when it is looked at again.

    Raises `InvalidInput` without notes, `Denied` if the next review is past, `NotFound` if it is not on the register.
    """
    if not notes.strip():
        raise InvalidInput("a review needs its notes", hint="say what was looked at and found: --notes '...'")
    with governor.act(by, REVIEW, f"vendor/{vendor}", facts={"outcome": outcome, "notes": notes, "due": due}) as act:
        if act.case.standing is None:
            raise NotFound(f"there is no vendor {vendor}", hint="list them: bedplate vendor list")
        _, _, terms = state_of(act.case.standing)
        act.record("vendors.vendor.reviewed", {"outcome": outcome, "notes": notes, "due": due})
        for subject in affected:
            told: Data = {"vendor": vendor, "state": outcome, "due": due, "terms": terms}
            act.record("vendors.vendor.noted", told, on=subject)


def rely(
    governor: Governor,
    by: str,
    subject: str,
    release: str,
    targets: Sequence[Target],
    register: Mapping[Supply, Sequence[Value]],
) -> None:
    """Put on record whose models a release asks. `register`: every vendor with its state, review and end of terms.

    What runs here has no vendor and is left out. Nothing is recorded while nothing is different.
    """
    supplies = {s.id: s for s in register}
    asked: list[Value] = [
        [t.upstream, t.model, *suppliers(t, supplies.values())] for t in dict.fromkeys(targets) if not t.own
    ]
    named = {str(name) for row in asked if isinstance(row, list) for name in row[2:]}
    known: dict[str, Value] = {name: list(register[supplies[name]]) for name in sorted(named)}
    case, _ = governor.judge(by, RELY, subject)
    if case.standing is not None and _on_record(case.standing, release) == (asked, known):
        return
    with governor.act(by, RELY, subject, facts={"release": release}) as act:
        act.record("vendors.release.relied", {"release": release, "targets": asked, "vendors": known})


def state_of(standing: Standing) -> tuple[str, int, int]:
    """Return a vendor's state, when its review is due, and when its terms end."""
    state = standing.facts.get("vendors.state")
    if not isinstance(state, list):
        raise TypeError("a vendor's state is a list")
    return str(state[0]), int(str(state[1])), int(str(state[2]))


def _on_record(standing: Standing, release: str) -> tuple[Value, Value]:
    releases, known = standing.facts.get("vendors.releases", {}), standing.facts.get("vendors.known", {})
    if not isinstance(releases, dict) or not isinstance(known, dict):
        raise TypeError("what a use case relies on must be an object")
    asked = releases.get(release, "")
    named = {str(name) for row in asked for name in row[2:]} if isinstance(asked, list) else set()
    return asked, {name: known[name] for name in sorted(named) if name in known}


def _untimely(file: VendorFile, now: int) -> list[tuple[list[str | int], str]]:
    wrong: list[tuple[list[str | int], str]] = []
    if end_of(file.review.due) <= now:
        wrong.append((["review", "due"], f"{file.review.due} is past: say by when it is looked at next"))
    if file.exit_plan.tested_on is not None and end_of(file.exit_plan.tested_on) - DAY > now:
        wrong.append((["exit_plan", "tested_on"], f"{file.exit_plan.tested_on} is still to come"))
    return wrong


def _dangling(
    file: VendorFile, model: OperatingModel, known: Collection[str], use_cases: Collection[str]
) -> list[tuple[list[str | int], str]]:
    wrong: list[tuple[list[str | int], str]] = []
    if file.review.reviewer not in model.authority.people:
        wrong.append((["review", "reviewer"], f"{file.review.reviewer} is nobody in the operating model"))
    leads = file.exit_plan.vendor
    if leads == file.id:
        wrong.append((["exit_plan", "vendor"], "a vendor is no way out of itself"))
    elif leads is not None and leads not in known:
        told = ", ".join(sorted(known)) or "none"
        wrong.append((["exit_plan", "vendor"], f"no vendor {leads!r} is on the register; known: {told}"))
    for place, product in enumerate(file.products):
        wrong += [
            (["products", place, "use_cases", nth], f"there is no use case {name!r}")
            for nth, name in enumerate(product.use_cases)
            if name not in use_cases
        ]
    return wrong
