"""Reads: evaluations, measures and prompts of a use case, and the eval cases proposed for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select

from bedplate.errors import NotFound
from bedplate.store.reads import read_blob

from .prompt import SYSTEM, PromptBook, Versions, book_of, load_template, text_of
from .run import outcomes_of
from .tables import evaluation, measure, prompt, prompt_alias, proposed_case

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.template import Template

    from .suite import Outcome


def evaluations(engine: Engine, subject: str, limit: int = 20, purpose: str = "evals") -> list[dict[str, Any]]:
    """List a use case's evaluations, newest first: of its releases; of another purpose, if named; "" for all."""
    query = select(evaluation).where(evaluation.c.subject == subject).order_by(evaluation.c.seq.desc()).limit(limit)
    if purpose:
        query = query.where(evaluation.c.purpose == purpose)
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  public by documentation


def outcomes(engine: Engine, results: str) -> list[dict[str, Any]]:
    """Return the kept results of an evaluation, case by case."""
    with engine.connect() as connection:
        return list(json.loads(read_blob(connection, results))["outcomes"])


def evaluation_named(engine: Engine, subject: str, results: str) -> dict[str, Any]:
    """Return one evaluation by its results' digest, or by how that begins; `NotFound` unless it names exactly one."""
    query = select(evaluation).where(
        evaluation.c.subject == subject, evaluation.c.results.startswith(results, autoescape=True)
    )
    with engine.connect() as connection:
        found = list(connection.execute(query.order_by(evaluation.c.seq.desc()).limit(2)))
        if not results or len({row.results for row in found}) != 1:
            wrong = "several evaluations" if len(found) > 1 else "no evaluation"
            raise NotFound(f"{results!r} names {wrong} of {subject}", hint="list them: bedplate evals list USE-CASE")
        kept = json.loads(read_blob(connection, found[0].results))
    return {**found[0]._mapping, "config": kept.get("config", {}), "agreement": kept.get("agreement")}  # noqa: SLF001  as above


def samples(engine: Engine, results: str) -> tuple[Outcome, ...]:
    """Return the kept samples of an evaluation."""
    with engine.connect() as connection:
        return outcomes_of(read_blob(connection, results))


def baseline(engine: Engine, subject: str, release: str, live_at: int) -> str:
    """Return the results with which a release went live, or its newest if there are none of before; "" for none."""
    mine = (evaluation.c.subject == subject, evaluation.c.release == release, evaluation.c.purpose == "evals")
    query = select(evaluation.c.results).where(*mine).order_by(evaluation.c.seq.desc()).limit(1)
    with engine.connect() as connection:
        then = connection.execute(query.where(evaluation.c.at <= live_at)).scalar_one_or_none()
        return str(then or connection.execute(query).scalar_one_or_none() or "")


def measures(engine: Engine, subject: str, monitor: str = "", limit: int = 200) -> list[dict[str, Any]]:
    """List what monitors saw, oldest first; of one monitor, if named."""
    query = select(measure).where(measure.c.subject == subject).order_by(measure.c.seq.desc()).limit(limit)
    if monitor:
        query = query.where(measure.c.monitor == monitor)
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)][::-1]  # noqa: SLF001  as above


def breaching(engine: Engine) -> list[dict[str, Any]]:
    """List what every monitor saw last where that was a breach, of all use cases, oldest first."""
    later = measure.alias()
    newer = select(later.c.seq).where(
        later.c.subject == measure.c.subject, later.c.monitor == measure.c.monitor, later.c.seq > measure.c.seq
    )
    query = select(measure).where(measure.c.breach == "yes", ~newer.exists()).order_by(measure.c.seq)
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  as above


def prompts(engine: Engine, subject: str) -> list[dict[str, Any]]:
    """List every version of every prompt of a use case, by id, newest first, each with its `number` from 1."""
    query = select(prompt).where(prompt.c.subject == subject).order_by(prompt.c.id, prompt.c.last_seq)
    with engine.connect() as connection:
        rows = [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  as above
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["id"]] = row["number"] = counts.get(row["id"], 0) + 1
    return sorted(rows, key=lambda row: (row["id"], -row["number"]))


def prompt_versions(engine: Engine, subject: str) -> dict[str, Versions]:
    """Return the versions and aliases of every prompt of a use case, by id."""
    found: dict[str, Versions] = {}
    query = select(prompt.c.id, prompt.c.digest).where(prompt.c.subject == subject).order_by(prompt.c.last_seq)
    named = select(prompt_alias).where(prompt_alias.c.subject == subject, prompt_alias.c.digest != "")
    with engine.connect() as connection:
        for name, digest in connection.execute(query):
            found[name] = Versions((*found.get(name, Versions()).digests, digest))
        for row in connection.execute(named.order_by(prompt_alias.c.alias)):
            known = found.get(row.id, Versions())
            found[row.id] = Versions(known.digests, {**known.aliases, row.alias: row.digest})
    return found


def prompt_template(engine: Engine, digest: str) -> Template:
    """Return the template kept under a digest; `NotFound` if nothing is."""
    with engine.connect() as connection:
        return load_template(read_blob(connection, digest))


def prompt_text(engine: Engine, name: str, digest: str) -> str:
    """Return a version as text for people: the prompt file as it is, or a template written out."""
    with engine.connect() as connection:
        content = read_blob(connection, digest)
    return content.decode() if name == SYSTEM else text_of(load_template(content))


def prompt_book(engine: Engine, subject: str, carried: Mapping[str, str]) -> PromptBook:
    """Make the book of a release that carries these templates (digests by id); reads nothing if it carries none."""
    if not carried:
        return PromptBook()
    with engine.connect() as connection:
        contents = {name: (digest, read_blob(connection, digest)) for name, digest in carried.items()}
    return book_of(contents, prompt_versions(engine, subject))


def proposed_cases(engine: Engine, subject: str) -> list[dict[str, Any]]:
    """List the eval cases that were proposed for a use case, oldest first, but those its newest evaluation had."""
    query = select(proposed_case).where(proposed_case.c.subject == subject).order_by(proposed_case.c.last_seq)
    with engine.connect() as connection:
        rows = [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  as above
    newest = evaluations(engine, subject, limit=1) if rows else []
    taken = {str(row["case"]) for row in outcomes(engine, newest[0]["results"])} if newest else set()
    return [row for row in rows if row["case"] not in taken]
