"""One upstream as it is configured: where it is, how it is spoken to, and how much of it may be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from .address import Site, refused, site
from .breaker import BreakerPolicy
from .credential import Credential
from .throttle import Rate

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape = Literal["openai", "anthropic", "azure", "embedded"]
Dialect = Literal["chat", "responses", "embeddings", "messages"]
Headers = list[tuple[bytes, bytes]]
ANTHROPIC_VERSION = b"2023-06-01"  # https://docs.claude.com/en/api/versioning
SPOKEN: Mapping[Shape, frozenset[Dialect]] = {  # what a shape can speak at all
    "openai": frozenset({"chat", "responses", "embeddings", "messages"}),
    "anthropic": frozenset({"messages"}),
    "azure": frozenset({"chat", "responses", "embeddings"}),
    "embedded": frozenset({"chat", "responses", "messages"}),
}
USUAL: Mapping[Shape, frozenset[Dialect]] = {**SPOKEN, "openai": SPOKEN["azure"]}  # where the file does not say
_PATHS: Mapping[Dialect, str] = {
    "chat": "/chat/completions",
    "responses": "/responses",
    "embeddings": "/embeddings",
    "messages": "/messages",
}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Milliseconds, each at least 1; `total_ms` is for the whole answer, retries not counted."""

    connect_ms: int = 5_000
    first_byte_ms: int = 60_000
    idle_ms: int = 60_000  # between two bytes
    total_ms: int = 600_000


@dataclass(frozen=True, slots=True)
class Retry:
    """How often to ask again before the first byte, and for how long at most to wait in between (full jitter)."""

    attempts: int = 1
    base_ms: int = 200
    most_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class Supplier:
    """`address` is what a release holds: the URL, so that another address is another release.

    Of two accounts at one URL each has `account`, and then the address is URL#ACCOUNT.
    """

    name: str
    url: str
    shape: Shape
    address: str
    protocols: frozenset[Dialect]
    key: Credential = field(default_factory=Credential.none, compare=False)
    extra: tuple[tuple[bytes, bytes], ...] = ()
    api_version: str = ""  # Azure's dated APIs; "" is its v1 API
    model: str = ""  # what `name: default` stands for in a use case
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_concurrent: int = 256
    queue: int = 0
    rate: Rate = field(default_factory=Rate)
    retry: Retry = field(default_factory=Retry)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    ca_file: str = ""
    insecure: bool = False
    description: str = ""
    site: Site = field(init=False, repr=False, compare=False)
    _targets: dict[Dialect, str] = field(init=False, repr=False, compare=False)
    _headers: dict[bytes, Headers] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = site(self.url, insecure=True) if self.url else Site("", 0, tls=False, authority="", path="")
        object.__setattr__(self, "site", at)
        object.__setattr__(self, "_targets", {d: _target(self, at.path, d) for d in self.protocols})
        object.__setattr__(self, "_headers", {})

    def request_target(self, dialect: Dialect, model: str) -> str:
        """Return the path and query of a request; `KeyError` if this upstream does not speak the dialect."""
        target = self._targets[dialect]
        return target.replace("{model}", quote(model, safe="")) if self.api_version else target

    def headers(self, now: int) -> Headers:
        """Return the headers of every request, the key included; one list until the key changes, so do not change it.

        `now` is in monotonic microseconds. Names are in lower case.
        """
        secret = self.key.secret(now)
        found = self._headers.get(secret)
        if found is None:
            self._headers.clear()
            found = self._headers[secret] = [*_credentials(self.shape, secret), *self._own(), *self.extra]
        return found

    def refuses(self, address: str) -> str:
        """Say why not to connect to what the host's name resolved to; "" where it may be."""
        return "" if self.insecure else refused(address)

    def _own(self) -> Headers:
        named = {name for name, _ in self.extra}
        if self.shape != "anthropic" or b"anthropic-version" in named:
            return []
        return [(b"anthropic-version", ANTHROPIC_VERSION)]


def _credentials(shape: Shape, secret: bytes) -> Headers:
    if not secret:
        return []
    match shape:
        case "anthropic":
            return [(b"x-api-key", secret)]
        case "azure":
            return [(b"api-key", secret)]
        case _:
            return [(b"authorization", b"Bearer " + secret)]


def _target(supplier: Supplier, path: str, dialect: Dialect) -> str:
    tail = _PATHS[dialect]
    if supplier.shape == "anthropic":  # its own SDK's base URL ends before /v1, other people's after it
        return path + ("" if path.endswith("/v1") else "/v1") + tail
    if supplier.shape != "azure":
        return path + tail
    if not supplier.api_version:
        return f"{path}/openai/v1{tail}"
    deployment = "" if dialect == "responses" else "/deployments/{model}"
    return f"{path}/openai{deployment}{tail}?api-version={supplier.api_version}"
