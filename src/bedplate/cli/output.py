"""What commands print: data to stdout, as text or JSON; messages to stderr. Nothing that was sent to us is markup."""

# No `from __future__ import annotations`: the command line reads Screen's types from modules that extend it.
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

FORMAT_VERSION = 1
MIN_WIDE = 24  # columns that a wrapping column needs to be readable
GAP = 2
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # an answer on record must not steer the reader's terminal
_STYLES = {
    "bold green": ("proven", "live", "granted", "spent", "allow", "ok", "act", "holds"),
    "bold yellow": ("stale", "not evidenced", "asked", "waiting", "ask", "propose", "read", "open", "proposed"),
    "bold red": ("contradicted", "denied", "deny", "refused", "declined", "suspended", "failed", "wrong", "off"),
}
_STYLE_OF = {word: style for style, words in _STYLES.items() for word in words}


@Parameter(name="*")
@dataclass(frozen=True)
class Screen:
    """How a command's result is printed."""

    output: Annotated[
        Literal["text", "json"], Parameter(name=("--output", "-o"), help="text for people, json for programs.")
    ] = "text"

    def show(self, data: Mapping[str, Any], text: Callable[[], None]) -> None:
        """Print a result: as one JSON object, or by what `text` prints."""
        if self.output == "json":
            print_json(data, sys.stdout)
        else:
            text()


HERE = Screen()


def print_json(data: Mapping[str, Any], file: "TextIO") -> None:
    """Print one JSON object with the version of its shape."""
    plain = (file.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps({"format_version": FORMAT_VERSION, **data}, ensure_ascii=not plain, indent=2), file=file)


def line(*parts: object, style: str = "") -> None:
    """Print one line of a result; words for states get their colour."""
    from rich.text import Text

    console = _console(sys.stdout)
    console.print(Text(" ").join([_cell(p, style) for p in parts]), soft_wrap=True)


def note(message: str, style: str = "") -> None:
    """Print a message to stderr."""
    _console(sys.stderr).print(_cell(message, style), soft_wrap=True)


def fields(values: Mapping[str, object]) -> None:
    """Print names with their values, one a line; empty values are left out."""
    from rich.table import Table

    console = _console(sys.stdout)
    told = {name: _cell(value) for name, value in values.items() if value not in ("", None, [], ())}
    margin = max(map(len, told), default=0) + GAP
    for name, text in told.items():
        if max(map(len, text.plain.split()), default=0) > console.width - margin:
            # A key or a link must be copied whole: the terminal may break it, we do not.
            console.print(_cell(name.ljust(margin), "dim") + text, soft_wrap=True)
            continue
        shown = Table.grid()
        shown.add_column(no_wrap=True, style="dim", width=margin)
        shown.add_column(overflow="fold")
        shown.add_row(name, text)
        _print(console, shown)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], wraps: int = -1) -> None:
    """Print a table; the column `wraps` gives way, and where even that is not enough each row becomes a block."""
    from rich.table import Table

    console = _console(sys.stdout)
    wide = range(len(columns))[wraps]
    fixed = sum(
        max(len(str(cell)) for cell in (column, *(row[i] for row in rows))) + GAP
        for i, column in enumerate(columns)
        if i != wide
    )
    if fixed + MIN_WIDE > console.width:
        for number, row in enumerate(rows):
            if number:
                line()
            fields(dict(zip(columns, row, strict=True)))
        return
    shown = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for index, column in enumerate(columns):
        shown.add_column(column, no_wrap=index != wide, overflow="fold")
    for row in rows:
        shown.add_row(*map(_cell, row))
    _print(console, shown)


def moment(at: int) -> str:
    """Write microseconds since the epoch for people: `2026-11-23 13:10 UTC`; "" for 0."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M UTC") if at else ""


def short(digest: str) -> str:
    """Shorten a digest to what people compare."""
    return digest[:12]


def _cell(value: object, style: str = "") -> "Text":
    from rich.text import Text

    if isinstance(value, Text):
        return value
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", "" if value is None else str(value))
    return Text(text, style=style or _STYLE_OF.get(text, ""))


def _print(console: "Console", shown: "Table") -> None:
    if console.file.isatty():
        console.print(shown)
        return
    with console.capture() as captured:
        console.print(shown)
    for text in captured.get().splitlines():  # columns are padded; whoever reads a pipe wants no blanks at the end
        print(text.rstrip(), file=console.file)


def _console(file: "TextIO") -> "Console":
    from rich.console import Console

    # Into a pipe nothing is wrapped: a line is a line for whatever reads it.
    width = None if file.isatty() or os.environ.get("COLUMNS") else 10_000
    return Console(file=file, markup=False, highlight=False, emoji=False, width=width)
