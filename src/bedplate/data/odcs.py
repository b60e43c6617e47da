"""Open Data Contract Standard, version 3: who owns the data, and which of its rules are checks.

https://bitol-io.github.io/open-data-contract-standard: servers, prices, roles and support are left unread. The file is
kept whole under its digest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bedplate.document import Complaint, Document, InvalidDocument

from .contract import MAX_CHECKS, WEEK_HOURS, Check, Contract

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSION = re.compile(r"v3\.[01]\.\d+")
NAME = re.compile(r"[^A-Za-z0-9 ._:/-]+")
ID = re.compile(r"[a-z][a-z0-9-]{1,62}")
LONGEST = 80
DIMENSIONS = ("accuracy", "completeness", "conformity", "consistency", "coverage", "timeliness", "uniqueness")
FROM_METRIC = {  # where a rule of the library names no dimension
    "nullValues": "completeness",
    "missingValues": "completeness",
    "duplicateValues": "uniqueness",
    "duplicateCount": "uniqueness",
    "invalidValues": "conformity",
    "validValues": "conformity",
    "rowCount": "coverage",
}
FRESHNESS = ("latency", "ly", "freshness")  # the standard's code for latency is ly
HOURS = {"d": 24, "day": 24, "days": 24, "h": 1, "hr": 1, "hour": 1, "hours": 1, "w": 168, "week": 168, "weeks": 168}
FRESH, MEND = "bedplate.freshHours", "bedplate.mendDays"  # of customProperties


def is_odcs(document: Document) -> bool:
    """Tell whether a file says that it is one."""
    return bool(document.root.get("kind") == "DataContract" or "apiVersion" in document.root)


def read_odcs(document: Document) -> Contract:
    """Read what we need of an ODCS file; `InvalidDocument` names what is missing, or a version that is not known."""
    root, wrong = document.root, list[Complaint]()
    version = str(root.get("apiVersion", ""))
    if not VERSION.fullmatch(version):
        wrong.append(document.complain(["apiVersion"], f"expected v3.0.x or v3.1.x; found {version or 'nothing'!r}"))
    if root.get("kind") != "DataContract":
        wrong.append(document.complain(["kind"], f"expected DataContract; found {root.get('kind')!r}"))
    known = str(root.get("id", ""))
    if not ID.fullmatch(known):
        known = re.sub(r"[^a-z0-9]+", "-", str(root.get("name", "")).lower()).strip("-")[:62]
        if not ID.fullmatch(known):
            wrong.append(document.complain(["id"], "expected an id like claims-history, or a name to make one of"))
    owner = _owner(root)
    if not owner:
        said = "expected a member with role: owner and a username that is a person of the operating model"
        wrong.append(document.complain(["team"], said))
    domain = root.get("domain")
    if not isinstance(domain, str) or not domain:
        wrong.append(document.complain(["domain"], "required, and missing: a domain of the operating model"))
    custom = _custom(root)
    hours = _number(document, custom, FRESH, wrong) or _frequency(root) or WEEK_HOURS
    checks = _unique(_checks(root, hours))
    if not checks:
        said = "nothing to check: expected a quality rule, required, unique, or a latency in slaProperties"
        wrong.append(document.complain(["schema"], said))
    elif len(checks) > MAX_CHECKS:
        wrong.append(document.complain(["schema"], f"{len(checks)} checks; at most {MAX_CHECKS} are read"))
    mend = _number(document, custom, MEND, wrong)
    if wrong:
        raise InvalidDocument(wrong)
    title, said = str(root.get("name") or known)[:120], root.get("description")
    text = str(said.get("purpose", "")) if isinstance(said, dict) else str(said or "")
    source = f"odcs {version.removeprefix('v')}"
    return Contract(known, title, owner, str(domain), text[:1_000], mend, source, tuple(checks))


def _owner(root: Mapping[str, Any]) -> str:
    """Find who owns the data: `team` is a list up to 3.0, and has members from 3.1 on."""
    team = root.get("team")
    members = team.get("members") if isinstance(team, dict) else team
    for member in _dicts(members):
        if "owner" in str(member.get("role", "")).lower() and not member.get("dateOut"):
            return str(member.get("username", "")).partition("@")[0]
    return ""


def _checks(root: Mapping[str, Any], hours: int) -> Iterator[Check]:
    for table in _dicts(root.get("schema")):
        name = str(table.get("name", "table"))
        yield from _rules(name, table, hours)
        for column in _dicts(table.get("properties")):
            place = f"{name}.{column.get('name', 'column')}"
            if _yes(column.get("required")):
                yield Check(f"{place}:required", "completeness", hours)
            if _yes(column.get("unique")) or _yes(column.get("primaryKey")):
                yield Check(f"{place}:unique", "uniqueness", hours)
            yield from _rules(place, column, hours)
    for sla in _dicts(root.get("slaProperties")):
        if str(sla.get("property", "")).lower() in FRESHNESS:
            yield Check(f"sla:{sla['property']}", "freshness", hours)


def _rules(place: str, part: Mapping[str, Any], hours: int) -> Iterator[Check]:
    for rule in _dicts(part.get("quality")):
        if rule.get("type") == "text":
            continue  # for people to read; nothing checks it
        metric = str(rule.get("metric") or rule.get("rule") or "")
        said = str(rule.get("dimension", "")).lower()
        dimension = said if said in DIMENSIONS else FROM_METRIC.get(metric, "conformity")
        name = rule.get("id") or rule.get("name") or metric or rule.get("type") or "rule"
        yield Check(f"{place}:{name}", dimension, hours)


def _unique(checks: Iterator[Check]) -> list[Check]:
    """Give every check a name of its own that a result can be reported under."""
    taken: dict[str, int] = {}
    found = []
    for check in checks:
        plain = NAME.sub("-", check.name).strip("-. ")[: LONGEST - 4] or "check"
        plain = plain if plain[0].isalnum() else f"c{plain}"[: LONGEST - 4]
        taken[plain] = taken.get(plain, 0) + 1
        name = plain if taken[plain] == 1 else f"{plain}-{taken[plain]}"
        found.append(Check(name, check.dimension, check.fresh_hours))
    return found


def _frequency(root: Mapping[str, Any]) -> int:
    """Return the hours between two deliveries, as slaProperties say; 0 if they do not."""
    for sla in _dicts(root.get("slaProperties")):
        value, unit = sla.get("value"), HOURS.get(str(sla.get("unit", "")).lower(), 0)
        if str(sla.get("property", "")).lower() in {"frequency", "fy"} and isinstance(value, int) and unit:
            return min(24 * 366, max(1, value * unit))
    return 0


def _custom(root: Mapping[str, Any]) -> dict[str, Any]:
    return {str(one.get("property")): one.get("value") for one in _dicts(root.get("customProperties"))}


def _number(document: Document, custom: Mapping[str, Any], name: str, wrong: list[Complaint]) -> int:
    value = custom.get(name, 0)
    text = str(value)
    if not text.isascii() or not text.isdigit() or int(text) > 24 * 366:
        wrong.append(document.complain(["customProperties"], f"{name}: expected a whole number; found {value!r}"))
        return 0
    return int(text)


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _yes(value: object) -> bool:
    return value is True or str(value).lower() in {"true", "yes"}
