"""Measures as CSV: read whole, every wrong row told with line and reason, and nothing taken of a file with one."""

from __future__ import annotations

import csv
import io
import tracemalloc
from itertools import chain, repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.document import InvalidDocument
from bedplate.portfolio.benefit import Hypothesis, month_of
from bedplate.portfolio.measure import COLUMNS, TOLD, Measure, Terms, read_measures

OF = Hypothesis("minutes a question", 20, 5, 400, 60)
TERMS = Terms("EUR", month_of("2026-11"), {"usecase/hr": OF, "usecase/claims": OF})
HEAD = ",".join(COLUMNS) + ",loss\n"
GOOD = (
    "hr,level,2026-10,7.5,240,3,minutes a question,,",
    "hr,count,2026-10,390,,,,,",
    "claims,benefit,2026-09,1200.50,,,,EUR,",
    "claims,benefit,2026-08,-300,,,,EUR,a flood of wrong letters",
    "usecase/hr,people,2026-10,5000,,,,EUR,",
    "hr,licence,2026-10,0,,,,EUR,",
)
BAD = {
    "nobody,count,2026-10,1,,,,,": ("use_case", "no use case nobody was accepted"),
    "hr,thumbs,2026-10,1,,,,,": ("metric", "no metric 'thumbs'; known: level, count"),
    "hr,count,2026-13,1,,,,,": ("period", "write it like 2026-10"),
    "hr,count,2026-12,1,,,,,": ("period", "has not begun; the newest is 2026-11"),
    "hr,count,2026-10,1e3,,,,,": ("value", "is not a number"),
    "hr,count,2026-10,1.5,,,,,": ("value", "whole number"),
    "hr,count,2026-10,-1,,,,,": ("value", "not below zero"),
    "hr,people,2026-10,-1,,,,EUR,": ("value", "not below zero"),
    "hr,benefit,2026-10,1.005,,,,EUR,": ("value", "two decimals"),
    "hr,benefit,2026-10,-5,,,,EUR,": ("value", "that is a loss; say why"),
    "hr,level,2026-10,21,,,minutes a question,,": ("value", "worse than the baseline of 20"),
    "hr,benefit,2026-10,5,,,,EUR,no loss at all": ("loss", "the value is none"),
    "hr,benefit,2026-10,5,,,,USD,": ("currency", "counts in EUR (money.currency)"),
    "hr,benefit,2026-10,5,,,,,": ("currency", "amounts are in EUR"),
    "hr,count,2026-10,5,,,,EUR,": ("currency", "no money"),
    "hr,level,2026-10,5,,,hours,,": ("unit", "counts 'minutes a question'"),
    "hr,level,2026-10,5,1,2,minutes a question,,": ("n", "2 or more"),
    "hr,level,2026-10,5,x,2,minutes a question,,": ("n", "not how many"),
    "hr,level,2026-10,5,9,-2,minutes a question,,": ("sd", "not below zero"),
    "hr,count,2026-10,5,9,2,,,": ("n", "counted, not sampled"),
    "hr,count,2026-10": ("(row)", "has 3 cells, the header 9"),
    'hr,count,2026-10,"5"x,,,,,': ("(row)", "cannot be read"),
    f"hr,benefit,2026-10,-5,,,,EUR,{'x' * 501}": ("loss", "501 characters"),
}


def read(*rows: str) -> tuple[Measure, ...]:
    return read_measures(io.StringIO(HEAD + "\n".join(rows) + "\n", newline=""), "value.csv", TERMS)


def complaints(*rows: str) -> list[Any]:
    with pytest.raises(InvalidDocument) as wrong:
        read(*rows)
    return list(wrong.value.complaints)


def test_good_rows_are_read_exactly() -> None:
    found = read(*GOOD)
    assert found[0] == Measure("usecase/hr", "level", "2026-10", 7_500, 240, 3_000, "minutes a question")
    assert [m.milli for m in found[1:]] == [390_000, 1_200_500, -300_000, 5_000_000, 0]
    assert found[4].subject == "usecase/hr"


@pytest.mark.parametrize(("row", "told"), BAD.items(), ids=[f"{c}-{n}" for n, (c, _) in enumerate(BAD.values())])
def test_a_wrong_row_is_told_with_its_line_its_column_and_why(row: str, told: tuple[str, str]) -> None:
    (complaint,) = complaints(GOOD[0], row)
    assert (complaint.line, complaint.path) == (3, told[0])
    assert told[1] in complaint.message


def test_the_same_month_twice_names_the_line_before() -> None:
    (complaint,) = complaints(GOOD[0], GOOD[1], GOOD[0])
    assert complaint.message == "line 2 has this use case, metric and month already"
    assert complaint.line == 4


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("use_case,metric", "lacks period"),
        (f"{','.join(COLUMNS)},colour", "has unknown colour"),
        (f"{','.join(COLUMNS)},unit", "has twice unit"),
        ("", "lacks use_case"),
    ],
)
def test_a_header_that_is_not_ours_is_told_with_the_columns(header: str, why: str) -> None:
    with pytest.raises(InvalidDocument, match=why):
        read_measures(io.StringIO(header + "\n" + GOOD[0]), "value.csv", TERMS)


def test_a_file_of_nothing_is_refused() -> None:
    assert complaints()[0].message == "holds no rows below its header"


@given(st.lists(st.sampled_from([*GOOD, *BAD]), max_size=60))
def test_of_any_mixture_with_a_wrong_row_nothing_is_taken(rows: list[str]) -> None:
    """Every wrong row is counted, the first twenty are told with their lines; without one, all are taken."""
    wrong, seen = [], set()
    for line, row in enumerate(rows, 2):
        if row in BAD or row in seen:
            wrong.append(line)
        elif not wrong:
            seen.add(row)
    if not wrong and rows:
        assert len(read(*rows)) == len(rows)
        return
    told = complaints(*rows)
    if wrong:
        assert [c.line for c in told[:TOLD]] == wrong[:TOLD]
        assert len(told) == min(len(wrong), TOLD + 1)
        assert len(wrong) <= TOLD or told[-1].message.endswith(f"{len(wrong):,} in all")


@given(st.text(max_size=300))
def test_no_text_at_all_breaks_the_reader(text: str) -> None:
    with pytest.raises(InvalidDocument):
        read_measures(io.StringIO(HEAD + text, newline=""), "value.csv", TERMS)


def test_a_file_of_wrong_rows_alone_needs_no_memory() -> None:
    rows = 50_000
    lines = chain([HEAD], repeat("nobody,count,2026-10,1,,,,,\n", rows))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDocument) as wrong:
            read_measures(lines, "value.csv", TERMS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(wrong.value.complaints) == TOLD + 1
    assert wrong.value.complaints[-1].message == f"{rows - TOLD:,} more rows are wrong, {rows:,} in all"
    assert peak < 1 << 20


def test_a_quote_that_is_never_closed_gathers_no_rest_of_the_file() -> None:
    found = complaints(GOOD[0], '"hr,count', *["hr,count,2026-10,390,,,,,"] * 10_000)
    assert "cannot be read: field larger than field limit" in found[0].message


def test_what_a_spreadsheet_writes_is_read() -> None:
    """A byte order mark, quoted cells, and lines that end as on Windows."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    writer.writerow(["hr", "count", "2026-10", "390", "", "", "", ""])
    found = read_measures(io.StringIO("\ufeff" + out.getvalue(), newline=""), "value.csv", TERMS)
    assert [m.milli for m in found] == [390_000]
