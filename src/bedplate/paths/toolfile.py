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

from .toolprocess import ToolProcess
from .toolserver import ToolServer, ToolServers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .toolserver import Served

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$", max_length=253)]


class VariablePart(KeyedPart):
    """A variable of a server's process, and where its value stands."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,120}$")]


class ServerPart(KeyedPart):
    """One MCP server: over streamable HTTP by its `url`, or over standard input by the `command` that starts it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    url: Annotated[str, Field(max_length=1_000)] = ""
    command: Annotated[list[Annotated[str, Field(min_length=1, max_length=2_000)]], Field(max_length=100)] = Field(
        default_factory=list
    )
    env: Annotated[list[VariablePart], Field(max_length=100)] = Field(default_factory=list)
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
        wrong += [([*here, *path], why) for path, why in _wrong(part, environment)]
    if wrong:
        raise InvalidDocument([document.complain(path, message) for path, message in wrong])
    return ToolServers({p.name: _served(p, environment) for p in file.servers}, frozenset(file.hosts))


def _wrong(part: ServerPart, environment: Mapping[str, str]) -> Iterator[tuple[list[str | int], str]]:
    if bool(part.url) == bool(part.command):
        yield [], "a server has a `url`, or a `command` that starts it"
        return
    if part.command and part.key is not None:
        yield ["key"], "a process gets its key in a variable: name it under env"
    if part.url:
        if part.env:
            yield ["env"], "only a process has variables; a key for HTTP stands under key"
        try:
            site(part.url, insecure=part.insecure == "yes")
        except ValueError as why:
            yield ["url"], str(why)
    keyed: list[tuple[list[str | int], KeyedPart]] = [(["key"], part)]
    keyed += [(["env", number], variable) for number, variable in enumerate(part.env)]
    for path, one in keyed:
        if isinstance(one, VariablePart) and one.key is None:
            yield path, "say where its value stands: key: {env: NAME} or key: {file: /path}"
        try:
            _key(one, environment)
        except InvalidInput as why:
            yield path, str(why)


def _served(part: ServerPart, environment: Mapping[str, str]) -> Served:
    if not part.command:
        return _server(part, environment)
    times = part.timeouts
    secrets = {variable.name: _key(variable, environment) for variable in part.env}
    start, call = times.first_byte_ms / 1000, times.total_ms / 1000
    return ToolProcess(part.name, part.command, secrets, start_s=start, call_s=call)


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


def _key(part: KeyedPart, environment: Mapping[str, str]) -> Credential:
    if part.key is None:
        return Credential.none()
    if part.key.env:
        return Credential.of_variable(part.key.env, environment)
    return Credential.of_file(Path(part.key.file))
