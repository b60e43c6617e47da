"""A house five months after its first release: measures, costs, a loss, and a stop rule that fired by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bedplate.bootstrap import wall_clock
from bedplate.kernel.clock import DAY
from bedplate.people.actions import invite
from bedplate.portfolio.benefit import month_at, period

from .conftest import EXAMPLE, FILES, HOSTILE_TITLE, NAME, House, _model, _settle, serve, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BACK = 160 * DAY
MONEY = "\nmoney: {currency: EUR, per_usd_permille: 920}\n"
STOP = "\nstop: {after_months: 3, below_percent: 50, of: forecast, then: renew}\n"
PEOPLE = ("priya.raman", "jonas.weber", "ruth.adeyemi", "leo.fischer", "hanna.osei", "victor.lam", "mara.quinn")


class Late:
    """The wall's clock, some days late; it catches up once."""

    def __init__(self) -> None:
        self.behind = BACK

    def __call__(self) -> int:
        return wall_clock() - self.behind


def earn(data: Path) -> Iterator[House]:
    """Serve it, tell what happened, and let the days pass."""
    clock = Late()

    def tell(house: House) -> None:
        _begin(house)
        clock.behind = 0
        _measure(house)
        house.sessions.clear()
        until(lambda: bool(house.at.approvals("asked", subject=f"usecase/{NAME}")))
        house.at.follower.look()

    yield from serve(data, clock=clock, played=tell)


def _begin(house: House) -> None:
    for person in PEOPLE:
        invite(house.at.governor, "operator", person, person.replace(".", " ").title())
    _settle(house, "priya.raman", ("jonas.weber", "ruth.adeyemi"), "operating-model", _model() + MONEY)
    spec = (EXAMPLE / NAME / "use-case.yaml").read_text() + STOP
    _settle(house, "leo.fischer", ("hanna.osei",), "use-case", spec)
    files = {"use-case.yaml": spec, **{name: (EXAMPLE / NAME / name).read_text() for name in FILES}}
    files |= {f"handbook/{f.name}": f.read_text() for f in (EXAMPLE / "handbook").glob("*.md")}
    made = house.client("leo.fischer").release(NAME, files)
    house.client("hanna.osei").vote(made["approval"], "yes", "evals look right")
    other = re.sub(r"(?m)^id: .*$", "id: rota-helper", (EXAMPLE / NAME / "use-case.yaml").read_text())
    other = re.sub(r"(?m)^title: .*$", lambda _: f"title: '{HOSTILE_TITLE}'", other)
    other = re.sub(r"(?m)^bucket: .*$", "bucket: transformation", other)
    _settle(house, "leo.fischer", ("hanna.osei",), "use-case", other)


def _measure(house: House) -> None:
    this = month_at(house.at.clock())
    rows = ["use_case,metric,period,value,n,sd,unit,currency,loss"]
    unit = _unit(house)
    for back, level in ((5, 13.4), (4, 12.1), (3, 11.8), (2, 12.6)):
        rows.append(f"{NAME},level,{period(this - back)},{level},120,6.5,{unit},,")
        rows.append(f"{NAME},count,{period(this - back)},{700 + 40 * back},,,,,")
        rows.append(f"{NAME},people,{period(this - back)},{400 + 100 * back},,,,EUR,")
        rows.append(f"{NAME},infrastructure,{period(this - back)},120.50,,,,EUR,")
    rows.append(f"rota-helper,benefit,{period(this - 2)},-900,,,,EUR,<b>shifts</b> were planned twice")
    rows.append(f"rota-helper,licence,{period(this - 2)},310,,,,EUR,")
    text = "\n".join(rows) + "\n"
    told = house.client("priya.raman").post("/api/value/import", {"name": "value.csv", "text": text})
    assert told["new"] == len(rows) - 1


def _unit(house: House) -> str:
    return str(house.client("victor.lam").get(f"/api/use-cases/{NAME}/value")["hypothesis"]["unit"])
