"""Results of a contract's checks as people and tools write them: YAML, JSON or CSV."""

from __future__ import annotations

import csv
import hashlib
import io
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bedplate.document import Complaint, InvalidDocument, parse
from bedplate.errors import InvalidInput
from bedplate.kernel.clock import EPOCH, MICROSECOND

from .actions import Result, Run
from .contract import MAX_CHECKS, CheckName, Part

RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/+-]{0,119}$")]


def _written(value: object) -> object:
    """YAML reads a time as one; it is judged as it is written."""
    return value.isoformat() if isinstance(value, datetime) else value


When = Annotated[
    str, BeforeValidator(_written), Field(max_length=40, description="RFC 3339, with its zone: 2026-11-23T06:00:00Z")
]
COLUMNS = ("check", "passed", "value", "rows")
SAID = {"yes": True, "true": True, "passed": True, "pass": True, "no": False, "false": False, "failed": False}
MOST_ROWS = (1 << 53) - 1


class ResultPart(Part):
    """What one check found."""

    check: CheckName
    passed: Literal["yes", "no"]
    value: Annotated[str, Field(max_length=120)] = ""
    rows: Annotated[int, Field(ge=0, le=MOST_ROWS)] = 0


class ResultsFile(Part):
    """One run of the checks of a contract. Without `run`, the content itself names it."""

    run: RunId | None = None
    at: When
    results: Annotated[list[ResultPart], Field(min_length=1, max_length=MAX_CHECKS)]


def run_of(file: ResultsFile) -> Run:
    """Read a report; `InvalidInput` if its time cannot be read."""
    found = tuple(Result(r.check, r.passed == "yes", r.value, r.rows) for r in file.results)
    run = Run(file.run or "", moment_of(file.at), found)
    return run if run.id else Run(run.digest[:24], run.at, found)


def moment_of(text: str) -> int:
    """Read a time of RFC 3339 as microseconds; `InvalidInput` if it is none."""
    try:
        return (datetime.fromisoformat(text) - EPOCH) // MICROSECOND
    except (ValueError, TypeError):  # a time without its zone cannot be told apart from another
        raise InvalidInput(
            f"at: {text[:40]!r} is not a time", hint="write it with its zone: 2026-11-23T06:00:00Z"
        ) from None


def parse_results(text: str, name: str, *, run: str = "", at: str = "") -> ResultsFile:
    """Read a file by its ending; `run` and `at` are used where it does not say them itself.

    `InvalidDocument` names file, line and column of everything that is wrong.
    """
    if name.lower().endswith(".csv"):
        return _csv(text, name, run, at)
    document = parse(text, name)
    for key, told in (("run", run), ("at", at)):
        if told and key not in document.root:
            document.root[key] = told
    file = document.read(ResultsFile)
    try:
        moment_of(file.at)
    except InvalidInput as wrong:
        raise InvalidDocument([document.complain(["at"], f"{wrong.message}; {wrong.hint}")]) from None
    return file


def _csv(text: str, name: str, run: str, at: str) -> ResultsFile:
    """Read rows under a header of check, passed and perhaps value and rows."""
    wrong: list[Complaint] = []
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    results: list[ResultPart] = []
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        if surplus := [cell for cell in header if cell not in COLUMNS]:
            wrong.append(
                Complaint(name, 1, 1, surplus[0] or "(header)", f"unknown column; known: {', '.join(COLUMNS)}")
            )
        wrong += [Complaint(name, 1, 1, c, "required, and missing") for c in COLUMNS[:2] if c not in header]
        for row in () if wrong else reader:
            if row and len(results) + len(wrong) < MAX_CHECKS:
                _row(dict(zip(header, row, strict=False)), name, reader.line_num, results, wrong)
    except csv.Error as broken:
        wrong.append(Complaint(name, reader.line_num, 1, "(syntax)", str(broken)))
    if not at:
        wrong.append(Complaint(name, 1, 1, "at", "required, and missing: --at 2026-11-23T06:00:00Z"))
    if not results and not wrong:
        wrong.append(Complaint(name, 1, 1, "(file)", "holds no result"))
    if wrong:
        raise InvalidDocument(wrong[:20])
    named = run or hashlib.sha256(f"{at}\n{text}".encode()).hexdigest()[:24]
    moment_of(at)
    return parse_whole(named, at, results)


def parse_whole(run: str, at: str, results: list[ResultPart]) -> ResultsFile:
    """Make a report of its parts; `InvalidInput` says which is wrong."""
    from pydantic import ValidationError  # noqa: PLC0415  costs 100 ms

    try:
        return ResultsFile(run=run, at=at, results=results)
    except ValidationError as bad:
        first = bad.errors()[0]
        raise InvalidInput(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}", hint="see docs/data-contracts.md"
        ) from None


def _row(cells: dict[str, str], name: str, line: int, results: list[ResultPart], wrong: list[Complaint]) -> None:
    from pydantic import ValidationError  # noqa: PLC0415  as above

    passed, rows = SAID.get(cells.get("passed", "").strip().lower()), cells.get("rows", "").strip() or "0"
    if passed is None:
        wrong.append(Complaint(name, line, 1, "passed", f"expected yes or no; found {cells.get('passed', '')!r}"))
    elif not rows.isascii() or not rows.isdigit() or len(rows) > 16:  # noqa: PLR2004  digits of 2^53
        wrong.append(Complaint(name, line, 1, "rows", f"expected a whole number; found {rows[:40]!r}"))
    else:
        told = {"check": cells["check"].strip(), "passed": "yes" if passed else "no", "rows": int(rows)}
        try:
            results.append(ResultPart.model_validate({**told, "value": cells.get("value", "").strip()}))
        except ValidationError as bad:
            first = bad.errors()[0]
            wrong.append(Complaint(name, line, 1, ".".join(map(str, first["loc"])), str(first["msg"])))
