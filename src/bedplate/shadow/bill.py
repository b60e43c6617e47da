"""Bills of clouds, read for AI that is paid: the usage reports of AWS, Azure and Google Cloud, and plain CSV."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, NamedTuple

from bedplate.kernel.clock import SECOND

from .sighting import MAX_COUNT, MAX_TEXT, Sighting
from .signature import signatures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .rows import Reader
    from .signature import Provider

# What columns are called by AWS (CUR 1 and 2), Azure (EA and MCA exports), Google Cloud (BigQuery export), FOCUS 1.x.
SERVICE = (
    "lineitem/productcode",
    "line_item_product_code",
    "product/productname",
    "metercategory",
    "service.description",
    "service_description",
    "servicename",
    "service",
)
DETAIL = (
    "lineitem/usagetype",
    "line_item_usage_type",
    "product/servicename",
    "product_product_name",
    "metersubcategory",
    "metername",
    "productname",
    "sku.description",
    "sku_description",
    "skudescription",
    "sku",
    "description",
)
COST = (
    "lineitem/unblendedcost",
    "line_item_unblended_cost",
    "costinbillingcurrency",
    "pretaxcost",
    "billedcost",
    "cost",
    "amount",
)
ACCOUNT = (
    "lineitem/usageaccountid",
    "line_item_usage_account_id",
    "subscriptionname",
    "subscriptionid",
    "subaccountid",
    "project.id",
    "project_id",
    "project",
    "account",
)
CURRENCY = (
    "lineitem/currencycode",
    "line_item_currency_code",
    "billingcurrencycode",
    "billingcurrency",
    "currency",
)
AT = (
    "lineitem/usagestartdate",
    "line_item_usage_start_date",
    "usagedatetime",
    "date",
    "usage_start_time",
    "chargeperiodstart",
    "day",
)
TEAM = ("team", "resourcetags/user:team", "tags/team", "labels.team", "costcenter", "cost_center")
DATES = ("%m/%d/%Y", "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d")


class _Row(NamedTuple):
    what: str
    account: str
    currency: str
    team: str
    cost: Decimal
    at: int
    provider: Provider


def read_bill(reader: Reader, *, team: str = "") -> list[Sighting]:
    """Read a bill for services of AI; wrong rows are noted in the reader. Parts of a cent add up, and are cut then."""
    sums: dict[tuple[str, str], Decimal] = {}
    found: dict[tuple[str, str], Sighting] = {}
    currencies: dict[tuple[str, str], str] = {}
    for number, row in reader.table(SERVICE, COST, ACCOUNT, CURRENCY, AT):
        try:
            line = _read(row, team)
        except ValueError as why:
            reader.wrong.add(number, str(why))
            continue
        if line is None:
            continue
        key = (line.what, line.account)
        if (before := currencies.setdefault(key, line.currency)) != line.currency:
            reader.wrong.add(number, f"{line.what} is billed in {before} and in {line.currency}; import one at a time")
            continue
        total = sums[key] = sums.get(key, Decimal(0)) + line.cost
        known = found.get(key)
        first, last, times = (known.first, known.last, known.times) if known else (line.at, line.at, 0)
        cents = max(0, int(total * 100))
        found[key] = Sighting(
            "spend",
            line.what,
            line.account,
            "bill",
            line.provider.name,
            line.team,
            times + 1,
            min(first, line.at),
            max(last, line.at),
            cents,
            line.currency if cents else "",
        )
    return list(found.values())


def _read(row: Mapping[str, str], team: str) -> _Row | None:
    """Read a row; None if it bills something else. Every row is checked: a bill with a hole tells nothing."""
    service = _first(row, SERVICE)
    cost, currency = _cost(_first(row, COST)), _first(row, CURRENCY).upper()
    if not service:
        raise ValueError("the service is empty")
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise ValueError(f"{currency[:20]!r} is no currency; write it as EUR")
    at = _day(_first(row, AT))
    account = _first(row, ACCOUNT) or "no account"
    detail = " ".join(row[name] for name in DETAIL if row.get(name))
    provider = _billed(f"{service} {detail}".lower())
    if provider is None:
        return None
    if len(account) > MAX_TEXT or not account.isprintable():
        raise ValueError("the account is no name")
    return _Row(service[:MAX_TEXT], account, currency, team or _first(row, TEAM)[:MAX_TEXT], cost, at, provider)


def _billed(text: str) -> Provider | None:
    found = [(len(word), n) for n, p in enumerate(signatures().providers) for word in p.bill if word in text]
    return signatures().providers[max(found)[1]] if found else None  # "azure openai" says more than "openai"


def _first(row: Mapping[str, str], names: Iterable[str]) -> str:
    return next((row[name] for name in names if row.get(name)), "")


def _cost(text: str) -> Decimal:
    try:
        cost = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:40]!r} is no amount; write it as 12.34") from None
    if not cost.is_finite() or abs(cost) * 100 >= MAX_COUNT:
        raise ValueError(f"{text[:40]!r} is no amount that can be billed")
    return cost  # below zero is a credit: it is taken off


def _day(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = _dated(text)
    micros = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * SECOND)
    if micros <= 0:
        raise ValueError(f"{text[:40]!r} is before 1970")
    return micros


def _dated(text: str) -> datetime:
    for form in DATES:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007  UTC, as bills count days
        except ValueError:
            continue
    raise ValueError(f"{text[:40]!r} is no day; write it as 2026-11-23")
