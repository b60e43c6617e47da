"""How the server logs: by field for programs, by line for people."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import TYPE_CHECKING

import pytest

from bedplate import logs

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("bedplate")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], level, own = before
    root.setLevel(level)
    ours.setLevel(own)


def test_programs_get_one_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    logs.configure()
    logging.getLogger("bedplate.worker").warning("monitor.failed", extra={"subject": "use-case/x", "why": "no\ncalls"})
    logging.getLogger("bedplate.worker").debug("too.small")
    logging.getLogger("somebody.else").info("too.small")
    (line,) = said.getvalue().splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"], told["logger"]) == ("monitor.failed", "WARNING", "bedplate.worker")
    assert (told["subject"], told["why"]) == ("use-case/x", "no\ncalls")
    assert told["timestamp"].endswith("+00:00")


def test_people_get_a_line_and_the_trace_below(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Terminal()
    monkeypatch.setattr(sys, "stderr", said)
    logs.configure()
    log = logging.getLogger("bedplate.serve")
    log.info("bedplate.up", extra={"shard": "shard-0"})
    try:
        raise ValueError("boom")  # noqa: TRY301  to have something to tell
    except ValueError:
        log.exception("console.failed")
    first, second, *trace = said.getvalue().splitlines()
    assert first[19:] == " INFO     bedplate.up shard=shard-0"
    assert second.endswith("ERROR    console.failed")
    assert trace[0].startswith("Traceback")
    assert trace[-1] == "ValueError: boom"
