"""Owners: whether somebody still answers for a use case. Where nobody does, a clock begins, then it steps down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .competence import lacking, owed_by, shown

if TYPE_CHECKING:
    from bedplate.kernel.model import OperatingModel
    from bedplate.kernel.standing import Standing


def vacant(model: OperatingModel, of: Standing, owner: Standing | None, now: int) -> tuple[str, str] | None:
    """Return cause and reason where a use case's owner is gone or no longer competent; None while all is well.

    `owner` is what is known of that person.
    """
    person = model.authority.people.get(of.owner)
    if person is None:
        return "owner/absent", f"{of.owner}, who owns it, is nobody in the operating model any more"
    if not any(s.body == "domain" and s.role == "owner" and s.domain == of.domain for s in person.seats):
        return "owner/absent", f"{of.owner} holds no owner's seat in {of.domain} any more"
    for one, why in lacking(owed_by(person, model, of.tier), shown(owner), now):
        return f"owner/{one.id}", f"{of.owner}, who owns it, lacks a competence: {why}"
    return None
