"""`bedplate upstreams`: who answers, how they are; and a look at a file of them before the server reads it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from .output import fields, line, note, table
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping


def upstreams(
    *,
    check: Annotated[Path | None, Parameter(help="Read this file as the server would, and do nothing else.")] = None,
    presets: Annotated[bool, Parameter(help="Print a file of providers to copy from, and do nothing else.")] = False,
    server: Server = THERE,
) -> int:
    """Show who answers calls, and how they are.

    Breakers, calls under way and first-byte times are those of the server's process that answers.
    """
    if presets:
        from importlib import resources

        sys.stdout.write(resources.files("bedplate.gateway").joinpath("presets.yaml").read_text(encoding="utf-8"))
        return 0
    if check is not None:
        return _checked(check, server)
    told = server.client().get("/api/upstreams")
    server.show(told, lambda: _shown(told["upstreams"], told["default"]))
    return 0


def _checked(path: Path, server: Server) -> int:
    from bedplate.gateway.supplyfile import read_supply

    found, default = read_supply(path, os.environ)
    listed = [
        {"name": s.name, "address": s.address, "protocols": sorted(s.protocols), "key": s.key.source} for s in found
    ]

    def text() -> None:
        rows = [(str(u["name"]), str(u["address"]), ", ".join(u["protocols"]), str(u["key"])) for u in listed]
        table(("name", "address", "protocols", "key"), rows, wraps=1)
        note(f"{path} can be read; `default` is {default or 'nobody'}.")

    server.show({"upstreams": listed, "default": default}, text)
    return 0


def _shown(listed: list[Mapping[str, Any]], default: str) -> None:
    rows = [
        (
            u["name"] + (" (default)" if u["name"] == default else ""),
            _state(u),
            f"{u['in_flight']} of {u['max_concurrent']}" + (f", {u['waiting']} waiting" if u["waiting"] else ""),
            f"{u['failed']} of {u['calls']}",
            _pace(u),
            ", ".join(u["protocols"]),
        )
        for u in listed
    ]
    table(("name", "state", "under way", "failed", "first byte", "protocols"), rows, wraps=5)
    for upstream in listed:
        if upstream["last_error"] or upstream["trouble"]:
            line()
            fields(
                {upstream["name"]: upstream["url"], "last error": upstream["last_error"], "key": upstream["trouble"]}
            )


def _state(upstream: Mapping[str, Any]) -> str:
    if upstream["cooling_ms"]:
        return f"cooling, {upstream['cooling_ms'] / 1000:.0f} s"
    soon = f", asked again in {upstream['next_probe_ms'] / 1000:.0f} s" if upstream["next_probe_ms"] else ""
    return f"{upstream['state']}{soon}"


def _pace(upstream: Mapping[str, Any]) -> str:
    if upstream["first_byte_p50_ms"] < 0:
        return ""
    return f"{upstream['first_byte_p50_ms']} ms, {upstream['first_byte_p95_ms']} at p95"
