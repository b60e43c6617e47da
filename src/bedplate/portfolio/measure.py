"""A measure of value: one metric of one use case in one month, as people send it, by hand or as CSV."""

from __future__ import annotations

import csv
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bedplate.document import Complaint, InvalidDocument
from bedplate.errors import InvalidInput

from .benefit import COSTS, MILLI, Hypothesis, month_of, period

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bedplate.kernel.event import Value

COST_KINDS = COSTS[1:]  # tokens are added up from the calls
MONEY = ("benefit", *COST_KINDS)
METRICS = ("level", "count", *MONEY)
COLUMNS = ("use_case", "metric", "period", "value", "n", "sd", "unit", "currency")
OPTIONAL = ("loss",)
TOLD = 20  # complaints that are told; the others are counted
MOST_ROWS = 50_000
MOST_FIELD = 500  # characters
_NUMBER = re.compile(r"-?\d{1,12}(?:\.\d{1,3})?")
_COUNT = re.compile(r"\d{1,9}")
_ID = re.compile(r"[a-z][a-z0-9-]{1,62}")


class Wrong(InvalidInput):
    """One thing wrong in a row; `column` is where."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True, slots=True)
class Measure:
    """What was measured. Values are in thousandths; `n` and `sd_milli` say how sure it is, 0 where nobody said."""

    subject: str
    metric: str
    period: str
    milli: int
    n: int = 0
    sd_milli: int = 0
    unit: str = ""
    currency: str = ""
    loss: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What a later measure replaces it by."""
        return self.subject, self.metric, self.period

    def told(self) -> dict[str, Value]:
        """Return it as it stands in an event about its subject."""
        told: dict[str, Any] = asdict(self)
        del told["subject"]
        return told


@dataclass(frozen=True, slots=True)
class Terms:
    """What measures are checked against: the currency, the month that is not over, the hypotheses by subject."""

    currency: str
    this: int
    hypotheses: Mapping[str, Hypothesis]


def checked(row: Mapping[str, str], terms: Terms) -> Measure:
    """Read one row; `Wrong` names the column, what is there and how to mend it."""
    for column, text in row.items():
        if len(text) > MOST_FIELD:
            raise Wrong(column, f"has {len(text)} characters; {MOST_FIELD} are kept")
    name = row["use_case"].removeprefix("usecase/")
    if not _ID.fullmatch(name):
        raise Wrong("use_case", f"{name[:40]!r} is not the id of a use case")
    of = terms.hypotheses.get(f"usecase/{name}")
    if of is None:
        raise Wrong("use_case", f"no use case {name} was accepted; list them: bedplate status")
    metric = row["metric"]
    if metric not in METRICS:
        raise Wrong("metric", f"no metric {metric[:40]!r}; known: {', '.join(METRICS)}")
    milli = _milli("value", row["value"])
    n, sd = _sureness(row, metric)
    found = Measure(
        subject=f"usecase/{name}",
        metric=metric,
        period=_over(row["period"], terms.this),
        milli=milli,
        n=n,
        sd_milli=sd,
        unit=_unit(row["unit"], metric, of),
        currency=_currency(row["currency"], metric, terms.currency),
        loss=row.get("loss", ""),
    )
    _signed(found, of)
    return found


def negative(found: Measure, of: Hypothesis) -> bool:
    """Tell whether it is a loss: a benefit below zero, or a level that is worse than the baseline."""
    if found.metric == "benefit":
        return found.milli < 0
    return found.metric == "level" and found.milli > of.baseline * MILLI


def read_measures(lines: Iterable[str], name: str, terms: Terms) -> tuple[Measure, ...]:
    """Read a CSV file whole; `InvalidDocument` tells the first 20 wrong rows, and how many there are in all.

    Rows are read one by one, and of wrong ones only the count is kept: a file of nothing else needs no memory.
    """
    found: dict[tuple[str, str, str], tuple[Measure, int]] = {}
    complaints: list[Complaint] = []
    wrong = last = 0
    for line, row in _rows(lines, name):
        last = line
        try:
            _take(found, _placed(row, terms), line, keep=not wrong)
        except Wrong as why:
            wrong += 1
            if len(complaints) < TOLD:
                complaints.append(Complaint(name, line, _column(why.column), why.column, why.message))
    if wrong > len(complaints):
        rest = f"{wrong - len(complaints):,} more rows are wrong, {wrong:,} in all"
        complaints.append(Complaint(name, last, 1, "(file)", rest))
    if complaints:
        raise InvalidDocument(complaints)
    if not found:
        raise InvalidDocument([Complaint(name, 1, 1, "(file)", "holds no rows below its header")])
    return tuple(measure for measure, _ in found.values())


def _take(found: dict[tuple[str, str, str], tuple[Measure, int]], measure: Measure, line: int, *, keep: bool) -> None:
    """Take a row in; once another was wrong nothing is kept any more, and what is left is only checked."""
    if measure.key in found:
        raise Wrong("period", f"line {found[measure.key][1]} has this use case, metric and month already")
    if len(found) >= MOST_ROWS:
        raise Wrong("(row)", f"a file holds {MOST_ROWS:,} rows at most; send several")
    if keep:
        found[measure.key] = measure, line


def _rows(lines: Iterable[str], name: str) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Yield every row with its line: by column, or what is wrong with its shape."""
    reader = csv.reader(_bounded(lines), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
    except csv.Error as broken:
        raise InvalidDocument([Complaint(name, 1, 1, "(header)", f"cannot be read: {broken}")]) from None
    missing = [column for column in COLUMNS if column not in header]
    unknown = [cell for cell in header if cell not in COLUMNS + OPTIONAL]
    double = sorted({cell for cell in header if header.count(cell) > 1})
    for what, cells in (("lacks", missing), ("has unknown", unknown), ("has twice", double)):
        if cells:
            why = f"the header {what} {', '.join(c[:40] for c in cells[:8])}; columns: {', '.join(COLUMNS + OPTIONAL)}"
            raise InvalidDocument([Complaint(name, 1, 1, "(header)", why)])
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as broken:
            yield reader.line_num, f"cannot be read: {broken}"
            continue
        if not cells:
            continue
        if len(cells) != len(header):
            yield reader.line_num, f"has {len(cells)} cells, the header {len(header)}"
        else:
            yield reader.line_num, {column: cell.strip() for column, cell in zip(header, cells, strict=True)}


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    """Cut lines that no row has: a quote that is never closed must not gather the rest of a file in one cell."""
    longest = (len(COLUMNS) + 2) * MOST_FIELD
    for number, line in enumerate(lines):
        text = line if number else line.removeprefix("\ufeff")  # what spreadsheets begin a file with
        yield text if len(text) <= longest else text[:longest] + "\n"


def _placed(row: dict[str, str] | str, terms: Terms) -> Measure:
    if isinstance(row, str):
        raise Wrong("(row)", row)
    return checked(row, terms)


def _column(name: str) -> int:
    """Return the place of a column in the order in which they are told, from 1."""
    order = COLUMNS + OPTIONAL
    return order.index(name) + 1 if name in order else 1


def _milli(column: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Wrong(column, f"{text[:40]!r} is not a number with at most three decimals; write it like 7.5")
    whole, _, part = text.lstrip("-").partition(".")
    return (int(whole) * MILLI + int(part.ljust(3, "0") or 0)) * (-1 if text.startswith("-") else 1)


def _sureness(row: Mapping[str, str], metric: str) -> tuple[int, int]:
    if row["n"] and not _COUNT.fullmatch(row["n"]):
        raise Wrong("n", f"{row['n'][:40]!r} is not how many were measured")
    n = int(row["n"] or 0)
    sd = _milli("sd", row["sd"]) if row["sd"] else 0
    if sd < 0:
        raise Wrong("sd", "a standard deviation is not below zero")
    if sd and n < 2:  # noqa: PLR2004  one says nothing of how they vary
        raise Wrong("n", "a standard deviation needs the number that were measured, 2 or more")
    if (n or sd) and metric not in {"level", "benefit"}:
        raise Wrong("n", f"{metric} is counted, not sampled; leave n and sd empty")
    return n, sd


def _over(text: str, this: int) -> str:
    try:
        number = month_of(text)
    except ValueError as wrong:
        raise Wrong("period", str(wrong)) from None
    if number > this:
        raise Wrong("period", f"{text} has not begun; the newest is {period(this)}")
    return period(number)


def _unit(text: str, metric: str, of: Hypothesis) -> str:
    if metric == "level" and text != of.unit:
        said = f"{text[:40]!r}" if text else "empty"
        raise Wrong(
            "unit", f"is {said}, and the hypothesis counts {of.unit!r}; measure that, or have a new one accepted"
        )
    if metric != "level" and text:
        raise Wrong("unit", f"{metric} has no unit of its own; leave it empty")
    return text


def _currency(text: str, metric: str, currency: str) -> str:
    if metric not in MONEY:
        if text:
            raise Wrong("currency", f"{metric} is no money; leave it empty")
        return ""
    if not text:
        raise Wrong("currency", f"is empty; amounts are in {currency}")
    if text != currency:
        why = f"is {text[:10]!r}, and the operating model counts in {currency} (money.currency); convert the amount"
        raise Wrong("currency", why)
    return text


def _signed(found: Measure, of: Hypothesis) -> None:
    minus = negative(found, of)
    if minus and not found.loss:
        worse = "below zero" if found.metric == "benefit" else f"worse than the baseline of {of.baseline}"
        raise Wrong("value", f"is {worse}: that is a loss; say why in the column loss (--loss 'REASON')")
    if found.loss and not minus:
        raise Wrong("loss", "a loss is named, but the value is none")
    if found.milli < 0 and found.metric != "benefit":
        raise Wrong("value", f"{found.metric} is not below zero")
    if found.metric in MONEY and found.milli % 10:
        raise Wrong("value", "money has two decimals")
    if found.metric == "count" and found.milli % MILLI:
        raise Wrong("value", "a count is a whole number")
