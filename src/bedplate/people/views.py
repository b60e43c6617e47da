"""Reads: the operating model in force, accounts, and who a token belongs to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from bedplate.errors import Unauthenticated
from bedplate.store.reads import read_blob
from bedplate.store.tables import model

from .account import matches, token_id
from .tables import account, password, token, training


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who came with a token."""

    person: str
    name: str
    token: str
    purpose: str


def current_model(engine: Engine) -> dict[str, Any] | None:
    """Return the operating model in force in its plain form, with `version` and `digest`; None if there is none."""
    with engine.connect() as connection:
        row = connection.execute(select(model)).one_or_none()
        if row is None:
            return None
        return {"digest": row.digest, "version": row.last_seq, "model": json.loads(read_blob(connection, row.digest))}


def who(engine: Engine, text: str, now: int, *purposes: str) -> SignedIn:
    """Tell whose token this is; `Unauthenticated` unless it is known, current and made for one of `purposes`."""
    with engine.connect() as connection:
        row = connection.execute(
            select(token, account.c.name)
            .join(account, account.c.person == token.c.person)
            .where(token.c.id == token_id(text))
        ).one_or_none()
    if row is None or not matches(text, row.digest) or row.purpose not in purposes:
        raise Unauthenticated("this token is not known here", hint="sign in: bedplate login")
    if row.revoked_at or now >= row.expires:
        raise Unauthenticated("this token has ended", hint="sign in again: bedplate login")
    return SignedIn(row.person, row.name, row.id, row.purpose)


def password_of(engine: Engine, person: str) -> str | None:
    """Return the stored hash of somebody's password, if one was set."""
    with engine.connect() as connection:
        return connection.execute(select(password.c.hash).where(password.c.person == person)).scalar_one_or_none()


def accounts(engine: Engine) -> list[dict[str, Any]]:
    """List everybody who was invited, by id."""
    with engine.connect() as connection:
        rows = connection.execute(
            select(account.c.person, account.c.name, account.c.invited_at).order_by(account.c.person)
        )
        return [dict(r._mapping) for r in rows]  # noqa: SLF001  public by documentation


def trainings(engine: Engine, person: str = "") -> list[dict[str, Any]]:
    """List who showed which competence last, by person; of one person, if named."""
    query = select(training).order_by(training.c.person, training.c.competence)
    with engine.connect() as connection:
        rows = connection.execute(query.where(training.c.person == person) if person else query)
        return [dict(r._mapping) for r in rows]  # noqa: SLF001  as above
