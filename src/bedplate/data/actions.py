"""What is done about data: index a version of a source; declare contracts, and report what their checks found."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import Conflict, InvalidInput, NotFound
from bedplate.kernel.decision import Deny
from bedplate.kernel.event import canonical

from .contract import Checked, Outcome, noted
from .governance import CHECK, DECLARE, INDEX, RELY, checks_of, relied_on, runs_of
from .index import Index, chunk, version_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bedplate.kernel.event import Data, Value
    from bedplate.kernel.governor import Governor

    from .contract import Contract

SKEW = 60_000_000  # microseconds by which clocks may differ before a result is from the future
MAX_REPORT = 48_000  # bytes of results in one event


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found: the value as it was measured, and how many rows were looked at."""

    check: str
    passed: bool
    value: str
    rows: int


@dataclass(frozen=True, slots=True)
class Run:
    """The results of one run of a contract's checks; `at` in microseconds."""

    id: str
    at: int
    results: tuple[Result, ...]

    def rows(self) -> list[Value]:
        """Return the results as they are recorded."""
        return [[r.check, "passed" if r.passed else "failed", r.value, r.rows] for r in self.results]

    @property
    def digest(self) -> str:
        """What tells two reports of the same run apart."""
        return hashlib.sha256(canonical([self.id, self.at, self.rows()])).hexdigest()


def index_source(
    governor: Governor,
    by: str,
    subject: str,
    source: str,
    files: Mapping[str, str],
    folder: Path,
    personal: str,
    max_age_days: int = 0,
) -> str:
    """Chunk and index the Markdown files of a source; returns the version. The same files give the same version.

    `max_age_days`: how long calls may be answered from what was read now; 0 for ever.
    """
    passages = chunk(files)
    facts: dict[str, Value] = {"source": source, "version": version_of(passages)}
    _, verdict = governor.judge(by, INDEX, subject, facts)
    if isinstance(verdict, Deny):  # before anything is written to the disk; this puts it on record, and raises it
        with governor.act(by, INDEX, subject, facts=facts):
            pass
    index = Index.build(folder, passages)
    with governor.act(by, INDEX, subject, facts=facts) as act:
        data: dict[str, Value] = {
            "source": source,
            "version": index.version,
            "passages": len(passages),
            "files": len(files),
        }
        act.record("data.source.indexed", {**data, "personal": personal, "max_age_days": max_age_days})
    return index.version


def declare(governor: Governor, by: str, contract: Contract, file: bytes, affected: Sequence[str] = ()) -> None:
    """Record a contract; the `affected` use cases, which stand on it, are judged by it as it is now.

    Raises `Denied` if its owner is nobody of its domain.
    """
    content = contract.content()
    facts: Data = {"owner": contract.owner, "domain": contract.domain, "spec": contract.digest}
    with governor.act(by, DECLARE, contract.subject, facts=facts) as act:
        checks: list[Value] = [[c.name, c.dimension, c.fresh_hours] for c in contract.checks]
        data: dict[str, Value] = {name: getattr(contract, name) for name in ("title", "owner", "domain")}
        data |= {"description": contract.description, "source": contract.source, "mend_days": contract.mend_days}
        act.record(
            "data.contract.declared", {**data, "spec": act.keep(content), "file": act.keep(file), "checks": checks}
        )
        before = checks_of(act.case.standing) if act.case.standing is not None else {}
        now = []
        for c in contract.checks:
            row = before.get(c.name)
            kept = row[2:] if row is not None and row[0] == c.dimension else ["", 0]
            now.append(_seen(c.name, [c.dimension, c.fresh_hours, *kept]))
        for subject in affected:
            act.record("data.contract.noted", noted(contract.id, now), on=subject)


def check(governor: Governor, by: str, contract_id: str, run: Run, affected: Sequence[str] = ()) -> bool:
    """Record what a run of a contract's checks found; False if the very same was reported before.

    Raises `InvalidInput` on a result for a check that is not declared, twice for one, or from the future; `Conflict` if
    the run was reported with other results; `NotFound` if nobody declared the contract.
    """
    with governor.act(by, CHECK, f"contract/{contract_id}", facts={"run": run.id, "digest": run.digest}) as act:
        standing = act.case.standing
        if standing is None:
            raise NotFound(f"there is no data contract {contract_id}", hint="declare it: bedplate apply contract.yaml")
        before = runs_of(standing).get(run.id)
        if before is not None:
            unchanged(contract_id, run, str(before))
            return False
        checks = checks_of(standing)
        _possible(contract_id, run, frozenset(checks), act.case.now)
        act.record(
            "data.contract.checked", {"run": run.id, "checked_at": run.at, "results": run.rows(), "digest": run.digest}
        )
        for result in run.results:
            row = checks[result.check]
            if int(str(row[3])) <= run.at:
                checks[result.check] = [*row[:2], "passed" if result.passed else "failed", run.at]
        now = [_seen(name, row) for name, row in checks.items()]
        for subject in affected:
            act.record("data.contract.noted", noted(contract_id, now), on=subject)
    return True


def rely(governor: Governor, by: str, subject: str, contracts: Mapping[str, Sequence[Checked]]) -> None:
    """Put on record on which contracts a release stands, with their checks; none for what nobody declared.

    Nothing is recorded while nothing is different from what is on record.
    """
    told = {name: noted(name, checks) for name, checks in sorted(contracts.items())}
    case, _ = governor.judge(by, RELY, subject)
    if case.standing is not None and relied_on(case.standing) == told:
        return
    with governor.act(by, RELY, subject, facts={"contracts": sorted(told)}) as act:
        act.record("data.contract.relied", {"contracts": list(told.values())})


def unchanged(contract_id: str, run: Run, before: str) -> None:
    """Refuse other results under the id of a run that was reported with the digest `before`, "" for never."""
    if before and before != run.digest:
        raise Conflict(
            f"run {run.id} of the data contract {contract_id} was reported with other results",
            hint="report a new run under an id of its own",
        )


def _possible(contract_id: str, run: Run, declared: frozenset[str], now: int) -> None:
    if run.at > now + SKEW:
        raise InvalidInput(
            f"run {run.id}: its results are {(run.at - now) // 1_000_000} seconds in the future",
            hint="put the clock of whoever checks right, and write the time with its zone: 2026-11-23T06:00:00Z",
        )
    named = [result.check for result in run.results]
    if not named:
        raise InvalidInput(f"run {run.id}: holds no result", hint="report at least one")
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise InvalidInput(f"run {run.id}: more than one result for {', '.join(twice)}", hint="report one for each")
    if surplus := [name for name in named if name not in declared]:
        known = ", ".join(sorted(declared))
        raise InvalidInput(
            f"run {run.id}: the data contract {contract_id} declares no check {surplus[0]!r}",
            hint=f"declared: {known}"[:500],
        )
    if len(canonical(run.rows())) > MAX_REPORT:
        raise InvalidInput(f"run {run.id}: its values are too long", hint="report what was measured, not the data")


def _seen(name: str, row: Sequence[Value]) -> Checked:
    dimension, hours, outcome, at = row
    known: Outcome = "passed" if outcome == "passed" else "failed" if outcome == "failed" else ""
    return Checked(name, str(dimension), int(str(hours)), known, at=int(str(at)))
