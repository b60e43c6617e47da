"""How the server logs: stdlib logging; one JSON object a line on stderr, `event  name=value` for people at a terminal.

Modules log an event by a fixed name and give what varies as `extra`, so that logs can be searched by field.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from pythonjsonlogger.json import JsonFormatter

if TYPE_CHECKING:
    from pythonjsonlogger.core import LogData

FIELDS = ["message", "levelname", "name"]


class _Terminal(JsonFormatter):
    """The same fields, to be read rather than searched."""

    def serialize_log_record(self, log_data: LogData) -> str:
        told = dict(log_data)
        at, level, event, trace = (str(told.pop(name, "")) for name in ("timestamp", "level", "event", "exc_info"))
        told.pop("logger", None)
        line = " ".join([at[:19], f"{level:<8}", event, *(f"{name}={value}" for name, value in told.items())])
        return f"{line}\n{trace}" if trace else line


def configure() -> None:
    """Send the logs of every library to stderr; our own from `info` on, those of others from `warning` on."""
    style = _Terminal if sys.stderr.isatty() else JsonFormatter
    handler = logging.StreamHandler(sys.stderr)
    names = {"message": "event", "levelname": "level", "name": "logger"}
    handler.setFormatter(style(FIELDS, rename_fields=names, timestamp=True))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("bedplate").setLevel(logging.INFO)
