"""`upstreams.yaml` as operators write it: every upstream, with limits, and keys by reference only."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bedplate.document import Document, InvalidDocument, parse
from bedplate.errors import InvalidInput

from .address import site
from .breaker import BreakerPolicy
from .credential import Credential
from .supplier import SPOKEN, USUAL, Dialect, Retry, Supplier, Timeouts
from .throttle import Rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
Millis = Annotated[int, Field(ge=1, le=3_600_000)]
Header = Annotated[str, Field(max_length=2_000)]
RESERVED = frozenset({"embedded", "local"})  # what is within this process, whatever the file says
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,120}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # RFC 9110, 5.6.2
_SECRET_NAMES = re.compile(r"auth|key|token|secret|cookie|password|credential", re.IGNORECASE)
_OURS = re.compile(
    "host|te|trailer|upgrade|expect|connection|keep-alive|transfer-encoding|accept-encoding|content-(encoding|length|type)"
)
_LITERAL = "a key is never written here: say key: {env: NAME} for a variable or key: {file: /path} for a file"


class Part(BaseModel):
    """A part of a file people write: unknown keys are errors, values are not coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True, frozen=True)


class KeyPart(Part):
    """Where the key stands: exactly one of the two."""

    env: str = ""
    file: str = ""


class TimeoutsPart(Part):
    """How long to wait for what, in milliseconds."""

    connect_ms: Millis = 5_000
    first_byte_ms: Millis = 60_000
    idle_ms: Millis = 60_000
    total_ms: Millis = 600_000


class RatePart(Part):
    """What the contract with the provider allows a minute, for this process; 0: not limited here."""

    calls_per_minute: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    tokens_per_minute: Annotated[int, Field(ge=0, le=10_000_000_000)] = 0


class RetryPart(Part):
    """How often to ask again before the first byte, and how long to wait in between."""

    attempts: Annotated[int, Field(ge=0, le=3)] = 1
    base_ms: Millis = 200
    most_ms: Millis = 5_000


class BreakerPart(Part):
    """When to leave it alone: so many failures within the window, and at least this share of all calls in it."""

    failures: Annotated[int, Field(ge=1, le=10_000)] = 5
    percent: Annotated[int, Field(ge=1, le=100)] = 50
    window_s: Annotated[int, Field(ge=1, le=3_600)] = 30
    open_s: Annotated[int, Field(ge=1, le=3_600)] = 10
    half_open: Annotated[int, Field(ge=1, le=100)] = 1


class TlsPart(Part):
    """How its certificate is checked; it always is."""

    ca_file: Annotated[str, Field(max_length=1_000)] = ""


class KeyedPart(Part):
    """A part that refers to a key."""

    key: KeyPart | None = None

    @field_validator("key", mode="before")
    @classmethod
    def by_reference(cls, value: object) -> object:
        """Refuse whatever may be a key itself, without repeating it."""
        if isinstance(value, dict) and len(value) == 1:
            [(how, where)] = value.items()
            if how == "env" and isinstance(where, str) and _VARIABLE.fullmatch(where):
                return value
            if how == "file" and isinstance(where, str) and where.startswith("/"):
                return value
        raise ValueError(_LITERAL)


class UpstreamPart(KeyedPart):
    """One upstream."""

    name: Id
    url: Annotated[str, Field(min_length=1, max_length=1_000)]
    account: Id | None = None
    shape: Literal["openai", "anthropic", "azure"]
    protocols: Annotated[list[Dialect], Field(min_length=1)] | None = None
    model: Annotated[str, Field(max_length=120)] = ""
    api_version: Annotated[str, Field(pattern=r"^[a-z0-9.-]{0,40}$")] = ""
    headers: dict[str, Header] = Field(default_factory=dict)
    timeouts: TimeoutsPart = TimeoutsPart()
    max_concurrent: Annotated[int, Field(ge=1, le=100_000)] = 256
    queue: Annotated[int, Field(ge=0, le=100_000)] = 0
    rate: RatePart = RatePart()
    retry: RetryPart = RetryPart()
    breaker: BreakerPart = BreakerPart()
    tls: TlsPart = TlsPart()
    insecure: Literal["yes", "no"] = "no"
    description: Annotated[str, Field(max_length=500)] = ""

    @field_validator("api_version", mode="before")
    @classmethod
    def as_text(cls, value: object) -> object:
        """Take a date without quotes for what was written."""
        return value.isoformat() if type(value) is date else value

    @field_validator("headers", mode="before")
    @classmethod
    def harmless(cls, value: object) -> object:
        """Refuse headers that are not a file's to set, and those that would hold a key, without repeating it."""
        for name, said in value.items() if isinstance(value, dict) else ():
            if not _TOKEN.fullmatch(name) or _OURS.fullmatch(name.lower()):
                raise ValueError(f"the header {name!r} is not for a file to set")
            if _SECRET_NAMES.search(name):
                raise ValueError(f"the header {name!r} would hold a secret; {_LITERAL}")
            if not isinstance(said, str) or not said.isascii() or not said.isprintable():
                raise ValueError(f"the header {name!r} is not plain text in quotes")
        return value


class UpstreamsFile(Part):
    """The whole file."""

    kind: Literal["upstreams"]
    default: Id | None = None  # what use cases get that name `default`
    upstreams: Annotated[list[UpstreamPart], Field(min_length=1, max_length=100)]


def read_supply(path: Path, environment: Mapping[str, str]) -> tuple[list[Supplier], str]:
    """Read a file: its upstreams and the name of the default one. `InvalidDocument` lists everything wrong in it."""
    try:
        text = path.read_bytes()
    except OSError as wrong:
        raise InvalidInput(f"{path} cannot be read: {wrong.strerror}", hint="BEDPLATE_UPSTREAMS names it") from None
    return suppliers_of(parse(text, path.name), environment)


def suppliers_of(document: Document, environment: Mapping[str, str]) -> tuple[list[Supplier], str]:
    """Read a parsed file; as `read_supply`."""
    file = document.read(UpstreamsFile)
    wrong = list(_wrong(file, environment))
    if wrong:
        raise InvalidDocument([document.complain(path, message) for path, message in wrong])
    return [_supplier(part, environment) for part in file.upstreams], file.default or ""


def _wrong(file: UpstreamsFile, environment: Mapping[str, str]) -> Iterator[tuple[list[str | int], str]]:
    """Yield what no schema can say."""
    names: set[str] = set()
    addresses: dict[str, str] = {}
    for number, part in enumerate(file.upstreams):
        here: list[str | int] = ["upstreams", number]
        if part.name in RESERVED or (part.name == "default" and file.default not in {None, "default"}):
            yield [*here, "name"], f"{part.name!r} means something else here; take another name"
        if part.name in names:
            yield [*here, "name"], f"{part.name!r} is there twice"
        names.add(part.name)
        other = addresses.setdefault(_address(part), part.name)
        if other != part.name:
            yield [*here, "url"], f"the address of {other!r} too; if it is another account there, say account: NAME"
        yield from ((here + path, message) for path, message in _wrong_in(part, environment))
    if file.default is not None and file.default not in {*names, "embedded"}:
        yield ["default"], f"no upstream {file.default!r}; known: {', '.join(sorted(names))}"


def _wrong_in(part: UpstreamPart, environment: Mapping[str, str]) -> Iterator[tuple[list[str | int], str]]:
    try:
        path = site(part.url, insecure=part.insecure == "yes").path
    except ValueError as why:
        yield ["url"], str(why)
        path = ""
    if part.shape == "azure" and "/openai" in path:
        yield ["url"], "only the resource's address, such as https://NAME.openai.azure.com"
    if part.api_version and part.shape != "azure":
        yield ["api_version"], "only Azure has one"
    for number, protocol in enumerate(part.protocols or ()):
        if protocol not in SPOKEN[part.shape]:
            spoken = ", ".join(sorted(SPOKEN[part.shape]))
            yield ["protocols", number], f"the shape {part.shape} does not speak {protocol}; it speaks: {spoken}"
    if part.retry.base_ms > part.retry.most_ms:
        yield ["retry", "base_ms"], "more than most_ms"
    if part.tls.ca_file and not Path(part.tls.ca_file).is_file():
        yield ["tls", "ca_file"], "there is no such file"
    try:
        _key(part, environment)
    except InvalidInput as why:
        yield ["key"], str(why)


def _supplier(part: UpstreamPart, environment: Mapping[str, str]) -> Supplier:
    b = part.breaker
    return Supplier(
        name=part.name,
        url=part.url.rstrip("/"),
        shape=part.shape,
        address=_address(part),
        protocols=frozenset(part.protocols) if part.protocols else USUAL[part.shape],
        key=_key(part, environment),
        extra=tuple((name.lower().encode(), value.encode()) for name, value in part.headers.items()),
        api_version=part.api_version,
        model=part.model,
        timeouts=Timeouts(**part.timeouts.model_dump()),
        max_concurrent=part.max_concurrent,
        queue=part.queue,
        rate=Rate(**part.rate.model_dump()),
        retry=Retry(**part.retry.model_dump()),
        breaker=BreakerPolicy(b.failures, b.percent, b.window_s * 1_000_000, b.open_s * 1_000_000, b.half_open),
        ca_file=part.tls.ca_file,
        insecure=part.insecure == "yes",
        description=part.description,
    )


def _address(part: UpstreamPart) -> str:
    return part.url.rstrip("/") + (f"#{part.account}" if part.account else "")


def _key(part: UpstreamPart, environment: Mapping[str, str]) -> Credential:
    if part.key is None:
        return Credential.none()
    return (
        Credential.of_variable(part.key.env, environment) if part.key.env else Credential.of_file(Path(part.key.file))
    )
