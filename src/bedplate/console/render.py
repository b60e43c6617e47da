"""Templates, and how values are written in them: moments, digests, shares."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from bedplate.gateway.cost import exact
from bedplate.gateway.price import dollars
from bedplate.kernel.clock import DAY, SECOND, parse_rfc3339, rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

HOUR = 3600 * SECOND


def environment() -> Environment:
    """Build the environment that all pages are rendered with. Everything is escaped unless it is markup already.

    A template is compiled (some 15 ms) when it is first shown, so that starting does not wait for all of them.
    """
    folder = resources.files("bedplate.console")
    made = Environment(
        loader=FileSystemLoader(str(folder.joinpath("templates"))),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(when=when, moment=moment, left=left, percent=percent, tail=tail, pretty=pretty, amount=amount)
    made.filters.update(usd=usd)
    versions = _versions(folder.joinpath("static"))
    made.globals["static"] = lambda name: f"/static/{name}?v={versions[name]}"
    return made


def when(at: int) -> Markup:
    """Write microseconds since the epoch as `2026-11-23 12:41`, UTC, with the exact moment in its title."""
    exact = rfc3339(at)
    return Markup('<time datetime="{0}" title="{0}">{1} {2}</time>').format(exact, exact[:10], exact[11:16])


def moment(text: str) -> Markup:
    """Write an RFC 3339 moment from a record as `when` does; other text as it is."""
    try:
        return when(parse_rfc3339(text))
    except ValueError:
        return escape(text)


def left(until: int, now: int) -> str:
    """Say how long there is until a moment, or how long ago it was due."""
    apart = abs(until - now)
    span = (
        f"{apart // DAY} d" if apart >= DAY else f"{apart // HOUR} h" if apart >= HOUR else f"{apart // 60_000_000} min"
    )
    return f"due in {span}" if until > now else f"overdue {span}"


def percent(permille: int) -> str:
    """Write per mille as a percentage."""
    return f"{permille / 10:g} %"


def tail(name: str) -> str:
    """Return what follows the first slash: the id within a subject's name."""
    return name.partition("/")[2] or name


def amount(cents: int) -> str:
    """Write cents as whole units of the organisation's currency."""
    return f"{round(cents / 100):,}"


def usd(nano: int) -> Markup:
    """Write nano-US-dollars as `$1,234.50`, with the exact amount in its title."""
    text = dollars(nano)
    shown = text.replace("<", "<$") if "<" in text else f"${text}"
    return Markup('<span title="US$ {}">{}</span>').format(exact(nano), shown)


def pretty(value: Mapping[str, Any] | list[Any]) -> str:
    """Write a value of a record as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def _versions(folder: Traversable, prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for item in folder.iterdir():
        name = f"{prefix}{item.name}"
        if item.is_dir():
            found |= _versions(item, f"{name}/")
        else:
            found[name] = hashlib.sha256(item.read_bytes()).hexdigest()[:12]
    return found
