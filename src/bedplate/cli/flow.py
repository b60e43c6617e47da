"""How decisions flow: what waits where and how long, delivery by domain, and what delegating would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from cyclopts import App, Parameter

from .output import line, note, table
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

flow_app = App(name="flow", help="Queues of decisions, delivery, and what delegating would do.")
Weeks = Annotated[int, Parameter(help="How far back, in weeks that end now.")]
A_DAY = 86_400_000_000  # microseconds


@flow_app.default
def flow(*, weeks: Weeks = 26, server: Server = THERE) -> int:
    """Show how long every step waits, what comes and goes a week, and where the queues lead."""
    told = server.client().get("/api/flow", weeks=weeks)
    server.show(told, lambda: _flow(told))
    return 0


@flow_app.command
def dora(
    *,
    weeks: Weeks = 26,
    within_days: Annotated[int, Parameter(help="Within how many days of going live a change fails.")] = 14,
    server: Server = THERE,
) -> int:
    """Show lead time, deployments, failed changes and time to restore, by domain."""
    told = server.client().get("/api/flow/dora", weeks=weeks, within_days=within_days)
    server.show(told, lambda: _dora(told))
    return 0


@flow_app.command
def simulate(
    *,
    delegate: Annotated[
        list[str] | None, Parameter(help="TIER:WHAT or TIER:WHAT:BODY, such as 2:release. Otherwise every one.")
    ] = None,
    together: Annotated[bool, Parameter(help="All of them at once, not beside each other.")] = False,
    weeks: Weeks = 26,
    server: Server = THERE,
) -> int:
    """Simulate what it does to waiting and to risk when domains take decisions of the board or the CoE."""
    asked = [*(("delegate", text) for text in delegate or ()), ("together", str(together).lower()), ("weeks", weeks)]
    told = server.client().get(f"/api/flow/simulation?{urlencode(asked)}")
    server.show(told, lambda: _simulated(told))
    return 0


def _flow(told: Mapping[str, Any]) -> None:
    if not told["steps"]:
        note("Nothing has waited for a decision yet.")
        return
    rows = [
        (
            _whose(step["structure"]),
            step["step"],
            step["waiting"],
            _late(step),
            _days(step["oldest"]) if step["waiting"] else "",
            f"{step['arrived'] / told['weeks']:.1f}",
            f"{step['left'] / told['weeks']:.1f}",
            *_percentiles(step["waits"]),
        )
        for step in told["steps"]
    ]
    columns = ("whose", "step", "waiting", "late", "oldest d", "in/week", "out/week", "p50 d", "p85 d", "p95 d", "n")
    table(columns, rows, wraps=1)
    line()
    for queue in told["queues"]:
        line(_whose(queue["structure"]), f"{queue['waiting_now']} wait now;", _expected(queue))
    for found in told["bottlenecks"]:
        line()
        said = f"{found['body']}: {found['waiting']} wait, {found['grown']} more than {found['weeks']} weeks ago"
        seen = f"{found['sightings']} sightings of unregistered AI in four weeks, {found['before']} in the eight before"
        line("bottleneck" if found["signalled"] else "backlog grows", f"{said}; {seen}", style="bold yellow")
        note("See what delegating would do: bedplate flow simulate")


def _dora(told: Mapping[str, Any]) -> None:
    rows = []
    for found in told["domains"]:
        share = found["failure_permille"]
        rows.append(
            (
                found["domain"] or "all",
                found["deployments"],
                f"{found['per_week']:.2f}",
                _middle(found["lead"]),
                _middle(found["build"]),
                _middle(found["approval"]),
                f"{share / 10:.0f} %" if share is not None else "too few",
                f"{found['failed']} of {found['deployments']}",
                "; ".join(f"{severity} {_middle(times)}" for severity, times in found["restore"].items()),
            )
        )
    columns = (
        "domain",
        "deployed",
        "a week",
        "lead d",
        "built to live d",
        "approval d",
        "failed",
        f"within {told['within_days']} days",
        "restored d",
    )
    table(columns, rows, wraps=8)
    note("Days are medians, with how many there are; fewer than five are too few to say.")


def _simulated(told: Mapping[str, Any]) -> None:
    tiers = sorted({tier for option in told["options"] for tier in option["tiers"]})
    rows = []
    for option in told["options"]:
        figures = [option["overall"], *(option["tiers"].get(tier) for tier in tiers)]
        missed = option["missed"]
        rows.append(
            (
                option["name"] + (" (proposed)" if option["proposed"] else ""),
                *(_figure(pair) for pair in figures),
                f"{option['exposure']:.0f}",
                "too few" if missed is None else f"{missed:.1f}",
            )
        )
    names = ("option", "p85 days, all", *(f"tier {tier}" for tier in tiers), "exposure", "missed refusals")
    table(names, rows, wraps=0)
    for said in told["assumed"]:
        note(f"assumed: {said}")
    ahead, weeks = told["ahead_weeks"], told["weeks"]
    note(f"{ahead} weeks ahead from the last {weeks}; in brackets what nine of ten runs hold.")
    note("Exposure: decisions taken without the body, weighted 1, 2, 4, 8 by tier.")
    chosen = [o for o in told["options"] if o["proposed"]] or (told["options"][1:] if len(told["options"]) == 2 else [])  # noqa: PLR2004  as is and one more
    for option in chosen:
        line()
        line("# put this into operating-model.yaml, then: bedplate plan operating-model.yaml")
        line(option["snippet"].rstrip())


def _figure(pair: Sequence[Mapping[str, float]] | None) -> str:
    if pair is None:
        return "too few"
    late = pair[1]
    return f"{late['middle']:.1f} ({late['low']:.1f}-{late['high']:.1f})"


def _expected(queue: Mapping[str, Any]) -> str:
    forecast = queue["forecast"]
    if forecast["why"]:
        return str(forecast["why"])
    low, middle, high = forecast["weeks"][-1]
    grows = "grows" if queue["growing"] else "no trend"
    return f"{middle} in {len(forecast['weeks'])} weeks, four times in five {low} to {high}; {grows}"


def _late(step: Mapping[str, Any]) -> str:
    return f"{step['late']} over {step['clock_days']} d" if step["clock_days"] else "no clock"


def _percentiles(waits: Mapping[str, Any]) -> tuple[object, ...]:
    if waits["p50"] is None:
        return ("too few", "", "", waits["count"])
    return (*(_days(waits[name]) for name in ("p50", "p85", "p95")), waits["count"])


def _middle(times: Mapping[str, Any]) -> str:
    return f"too few ({times['count']})" if times["p50"] is None else f"{_days(times['p50'])} ({times['count']})"


def _days(micros: int) -> str:
    return f"{micros / A_DAY:.1f}"


def _whose(structure: str) -> str:
    return {"board": "board", "coe": "CoE"}.get(structure, structure.removeprefix("domain/"))
