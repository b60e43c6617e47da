"""What gives AI in use away, read from `signatures.toml`: names, hosts, models, keys, services on bills."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY = ("python", "pypi", "npm", "java", "maven", "go", "csharp", "nuget", "gems", "crates", "calls")


@dataclass(frozen=True, slots=True)
class Provider:
    """A supplier, or a framework (`name` is "" then). `marks` are its names by ecosystem."""

    id: str
    name: str
    marks: Mapping[str, tuple[str, ...]]
    hosts: tuple[str, ...]
    sites: tuple[str, ...]
    models: tuple[str, ...]
    keys: tuple[str, ...]
    bill: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Signatures:
    """Everything that is looked for."""

    providers: tuple[Provider, ...]
    skip_folders: frozenset[str]
    data: Mapping[str, tuple[str, ...]]
    manifests: Mapping[str, str]  # by the end of a path
    mcp_files: frozenset[str]
    mcp_keys: tuple[str, ...]

    def of_host(self, host: str) -> Provider | None:
        """Return who answers under a host's name; None if it is nobody known."""
        name = host.strip(".").lower()
        bare = name.partition(":")[0]
        while bare:
            if found := _by_host().get(bare) or _by_host().get(name):
                return found
            bare = bare.partition(".")[2]
        match = _wildcards().search(host.lower())
        return _by_host()[match.lastgroup or ""] if match and match.lastgroup else None


@cache
def signatures() -> Signatures:
    """Return the signatures that come with Bedplate."""
    body: dict[str, Any] = tomllib.loads(resources.files(__package__).joinpath("signatures.toml").read_text())
    return Signatures(
        providers=tuple(_provider(p) for p in body["provider"]),
        skip_folders=frozenset(body["skip_folders"]),
        data={name: tuple(words) for name, words in body["data"].items()},
        manifests=body["manifests"],
        mcp_files=frozenset(body["mcp"]["files"]),
        mcp_keys=tuple(body["mcp"]["keys"]),
    )


def _provider(body: Mapping[str, Any]) -> Provider:
    lists = {name: tuple(body.get(name, ())) for name in ("hosts", "sites", "models", "keys", "bill")}
    marks = {name: tuple(body[name]) for name in EVERY if name in body}
    return Provider(body["id"], body.get("name", ""), marks, **lists)


@cache
def _by_host() -> dict[str, Provider]:
    plain = {h: p for p in signatures().providers for h in (*p.hosts, *p.sites) if "*" not in h}
    return plain | {f"w{n}": p for n, (_, p) in enumerate(_starred())}


def _starred() -> list[tuple[str, Provider]]:
    return [(h, p) for p in signatures().providers for h in p.hosts if "*" in h]


@cache
def _wildcards() -> re.Pattern[str]:
    forms = (f"(?P<w{n}>{host_pattern(h)})" for n, (h, _) in enumerate(_starred()))
    return re.compile(rf"(?:{'|'.join(forms)})$")


def host_pattern(host: str) -> str:
    """Return an expression for a host; `*` is one label, such as a region."""
    return re.escape(host).replace(r"\*", "[a-z0-9-]+")
