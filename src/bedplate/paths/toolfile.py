"""`tools.yaml` as operators write it: the MCP servers that agents reach through this installation."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bedplate.document import Document, InvalidDocument, parse
from bedplate.errors import InvalidInput
from bedplate.gateway.address import refused, site
from bedplate.gateway.credential import Credential
from bedplate.gateway.pool import Pool
from bedplate.gateway.supplyfile import KeyedPart, Part, TimeoutsPart

from .toolserver import ToolServer, ToolServers

if TYPE_CHECKING:
    from collections.abc import Mapping

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$", max_length=253)]


class ServerPart(KeyedPart):
    """One MCP server, over streamable HTTP."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    url: Annotated[str, Field(min_length=1, max_length=1_000)]
    header: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,60}$")] = "authorization"  # that takes the key
    timeouts: TimeoutsPart = TimeoutsPart()
    insecure: Literal["yes", "no"] = "no"


class ToolsFile(Part):
    """The whole file."""

    kind: Literal["tools"]
    hosts: list[Host] = Field(
        default_factory=list
    )  # names by which browsers may reach this installation, beside localhost
    servers: Annotated[list[ServerPart], Field(min_length=1, max_length=100)]


def read_servers(path: Path, environment: Mapping[str, str]) -> ToolServers:
    """Read the file; `InvalidDocument` lists everything wrong in it, with its place."""
    try:
        text = path.read_bytes()
    except OSError as wrong:
        raise InvalidInput(f"{path} cannot be read: {wrong.strerror}", hint="BEDPLATE_TOOLS names it") from None
    return servers_of(parse(text, path.name), environment)


def servers_of(document: Document, environment: Mapping[str, str]) -> ToolServers:
    """Read a parsed file; as `read_servers`."""
    file = document.read(ToolsFile)
    wrong: list[tuple[list[str | int], str]] = []
    names: set[str] = set()
    for number, part in enumerate(file.servers):
        here: list[str | int] = ["servers", number]
        if part.name in names:
            wrong.append(([*here, "name"], f"{part.name!r} is there twice"))
        names.add(part.name)
        try:
            site(part.url, insecure=part.insecure == "yes")
        except ValueError as why:
            wrong.append(([*here, "url"], str(why)))
        try:
            _key(part, environment)
        except InvalidInput as why:
            wrong.append(([*here, "key"], str(why)))
    if wrong:
        raise InvalidDocument([document.complain(path, message) for path, message in wrong])
    return ToolServers({p.name: _server(p, environment) for p in file.servers}, frozenset(file.hosts))


def _server(part: ServerPart, environment: Mapping[str, str]) -> ToolServer:
    at, times = site(part.url, insecure=part.insecure == "yes"), part.timeouts
    pool = Pool(
        at.host,
        at.port,
        ssl.create_default_context() if at.tls else None,
        connect=times.connect_ms / 1000,
        first=times.first_byte_ms / 1000,
        idle=times.idle_ms / 1000,
        total=times.total_ms / 1000,
        refuses=refused if part.insecure == "no" else lambda _address: "",
    )
    key = _key(part, environment)
    return ToolServer(part.name, part.url, pool, key, part.header, at.path or "/", at.authority)


def _key(part: ServerPart, environment: Mapping[str, str]) -> Credential:
    if part.key is None:
        return Credential.none()
    if part.key.env:
        return Credential.of_variable(part.key.env, environment)
    return Credential.of_file(Path(part.key.file))
