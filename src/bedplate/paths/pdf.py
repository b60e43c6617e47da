"""Pages to print, typeset by Typst (extra `pdf`): the same values at the same moment give the same bytes."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from bedplate.errors import BedplateError, Unavailable
from bedplate.kernel.clock import SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

Report = Literal["value", "board"]
MISSING = "pip install 'bedplate[pdf]'"


def pdf(report: Report, told: Mapping[str, Any], now: int) -> bytes:
    """Typeset a report as PDF; `Unavailable` names what to install where the extra is missing."""
    return typeset(report, told, now)[0]


def typeset(report: Report, told: Mapping[str, Any], now: int, kind: Literal["pdf", "png"] = "pdf") -> list[bytes]:
    """Typeset a report; a PNG is returned page by page. Values are passed as data: no text in them is markup."""
    try:
        import typst  # noqa: PLC0415  of the extra
    except ImportError:
        raise Unavailable("PDF pages need Typst, which is not installed", hint=MISSING) from None
    folder = resources.files("bedplate.paths").joinpath("reports")
    source = b"".join(folder.joinpath(f"{name}.typ").read_bytes() for name in ("look", report))
    given = {"told": json.dumps(told, ensure_ascii=False, sort_keys=True)}
    try:
        compiler = typst.Compiler(source, ignore_system_fonts=True, sys_inputs=given)
        made = compiler.compile(format=kind, timestamp=now // SECOND)
    except typst.TypstError as broken:
        raise BedplateError(f"the page {report} cannot be typeset: {broken.message}", hint="report this") from broken
    return list(made) if isinstance(made, list) else [made or b""]
