"""Logs of a proxy or of name lookups, read for calls of AI: Squid, the common log format, JSON lines, DNS queries."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bedplate.kernel.clock import SECOND

from .sighting import MAX_TEXT, Sighting, together
from .signature import signatures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .rows import Reader

# Squid's native format: time elapsed client code/status bytes method URL user hierarchy/peer type.
SQUID = re.compile(r"(\d{9,10})\.(\d{1,6})\s+-?\d+\s+(\S+)\s+\S+/\d{3}\s+\d+\s+([A-Z_]+)\s+(\S+)\s+(\S+)")
# Common and combined: host ident user [time] "request" status bytes.
COMMON = re.compile(r'(\S+) \S+ (\S+) \[([^\]]{10,40})\] "([A-Z]+) (\S+)[^"]*" \d{3} (?:\d+|-)')
# dnsmasq, unbound and BIND say much the same: a time, what was asked, by whom.
DNSMASQ = re.compile(r"([A-Z][a-z]{2} +\d+ [\d:]{8}) .*query\[[A-Z0-9]+\] (\S+) from (\S+)")
BIND = re.compile(r"(\d{1,2}-[A-Z][a-z]{2}-\d{4} [\d:.]{8,15}) .*client (?:@\S+ )?([^\s#]+)#\d+.* query: (\S+) ")
PLAIN = re.compile(r"(\d{4}-\d\d-\d\d[T ][\d:.]{5,15}(?:Z|[+-]\d\d:?\d\d)?)[\s,]+(\S+?)[\s,]+(\S+)")
EXPECTED = "expected Squid's native format, the common log format, a JSON object, or a DNS query log"
NAMES = {  # what fields are called, by different makers
    "host": ("host", "hostname", "domain", "sni", "dest_host", "query", "qname", "url", "request_url", "dest"),
    "client": ("client", "client_ip", "src", "src_ip", "source_ip", "user", "username", "principal"),
    "at": ("timestamp", "time", "ts", "@timestamp", "date", "datetime"),
}
MAX_PLACES = 5_000  # clients that are told apart; the others are one


def read_log(reader: Reader, now: int, *, team: str = "", year: int = 0) -> list[Sighting]:
    """Read a log for calls of AI; wrong rows are noted in the reader. `year` is for logs whose times have none.

    What is counted is the host, for each client that asked for it or, if it is named, for the team; the addresses of
    pages are not kept.
    """
    found: dict[tuple[str, str], Sighting] = {}
    clients: dict[str, set[str]] = {}
    for number, text in reader.lines():
        if text.startswith("#"):
            continue
        try:
            host, client, at = _row(text, now, year)
        except ValueError as why:
            reader.wrong.add(number, str(why))
            continue
        provider = signatures().of_host(host)
        if provider is None:
            continue
        place = team or client
        if len(found) >= MAX_PLACES and (host, place) not in found:
            place = "other clients"
        if len(clients.setdefault(host, set())) < MAX_PLACES:
            clients[host].add(client)
        known = found.get((host, place))
        first, last, times = (known.first, known.last, known.times) if known else (at, at, 0)
        found[host, place] = Sighting(
            "endpoint", host, place, "egress", provider.name, team, times + 1, min(first, at), max(last, at)
        )
    hints = {host: (f"clients: {len(them)}",) if team else () for host, them in clients.items()}
    return [replace(one, hints=hints[one.what]) for one in together(found.values())]


def _row(text: str, now: int, year: int) -> tuple[str, str, int]:
    """Return host, client and time of a row; `ValueError` says what was expected."""
    if text.startswith("{"):
        return _json(text)
    if match := SQUID.match(text):
        seconds, part, client, _, url, user = match.groups()
        return _host(url), _client(client, user), int(seconds) * SECOND + int(part.ljust(6, "0"))
    if match := COMMON.match(text):
        client, user, at, _, url = match.groups()
        return _host(url), _client(client, user), _moment(at, "%d/%b/%Y:%H:%M:%S %z")
    if match := DNSMASQ.match(text):
        at, host, client = match.groups()
        this = year or datetime.fromtimestamp(now / SECOND, UTC).year
        return _host(host), _client(client, ""), _moment(f"{this} {at}", "%Y %b %d %H:%M:%S")
    if match := BIND.match(text):
        at, client, host = match.groups()
        return _host(host), _client(client, ""), _moment(at.partition(".")[0], "%d-%b-%Y %H:%M:%S")
    if match := PLAIN.match(text):
        at, client, host = match.groups()
        return _host(host), _client(client, ""), _time(at)
    raise ValueError(EXPECTED)


def _json(text: str) -> tuple[str, str, int]:
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the line is not a JSON object") from None
    told = dict(_picked(body))
    if missing := sorted(NAMES.keys() - told.keys()):
        names = "; ".join(f"{name}: one of {', '.join(NAMES[name])}" for name in missing)
        raise ValueError(f"the object lacks {names}")
    return _host(told["host"]), _client(told["client"], ""), _time(told["at"])


def _picked(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, choices in NAMES.items():
        value = next((body[c] for c in choices if isinstance(body.get(c), str | int | float)), "")
        if value != "":
            yield name, str(value)


def _host(text: str) -> str:
    """Return the host of an address, or of what CONNECT names (`api.openai.com:443`)."""
    text = text.strip().lower()
    try:
        host = urlsplit(text if "://" in text else f"//{text}").netloc.rpartition("@")[2]
    except ValueError:
        raise ValueError(f"{text[:60]!r} names no host") from None
    host = host.removesuffix(":443").removesuffix(":80").strip(".")
    if not host or len(host) > MAX_TEXT or not host.isprintable():
        raise ValueError(f"{text[:60]!r} names no host")
    return host


def _client(address: str, user: str) -> str:
    name = address if user in {"", "-"} else user
    if not name or len(name) > MAX_TEXT or not name.isprintable():
        raise ValueError("the row does not say who asked")
    return name


def _time(text: str) -> int:
    """Read ISO 8601, or seconds or milliseconds since the epoch."""
    if re.fullmatch(r"\d{9,10}(?:\.\d+)?", text):
        seconds, _, part = text.partition(".")
        return int(seconds) * SECOND + int(part[:6].ljust(6, "0"))
    if re.fullmatch(r"\d{12,13}", text):
        return int(text) * 1_000
    try:
        return _micros(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is no time; write it as 2026-11-23T10:00:00Z") from None


def _moment(text: str, form: str) -> int:
    try:
        return _micros(datetime.strptime(text, form))  # noqa: DTZ007  what has no zone is taken for UTC below
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is no time") from None


def _micros(at: datetime) -> int:
    whole = at if at.tzinfo else at.replace(tzinfo=UTC)
    micros = int(whole.timestamp() * SECOND)
    if micros <= 0:
        raise ValueError("it is before 1970")
    return micros
