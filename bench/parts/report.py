"""How figures are printed: a table for each kind of load, and at the end what was to be reached and what was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .scenarios import BARE, DIRECT, LITELLM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .compare import Measured, Scenario
    from .goal import Goal

WIDTH = 14  # of a column


def table(scenario: Scenario, found: Mapping[str, Measured]) -> None:
    """Print what came of every target under one kind of load."""
    direct, others = found.get(DIRECT), [found.get(LITELLM), found.get(BARE)]
    heads = ["calls/s", "p50 ms", "p99 ms", "added p50", f"CPU µs/{scenario.per}", "× LiteLLM", "× bare"]
    print(f"\n{scenario.name:<40}" + "".join(f"{head:>{WIDTH}}" for head in heads))
    for name, one in found.items():
        cells = [f"{one.rate:,.0f}", f"{one.p50:.2f}", f"{one.p99:.2f}"]
        if name == DIRECT:
            cells += ["", ""]
        else:
            added = "" if direct is None else f"{one.p50 - direct.p50:+.2f}"
            cells += [added, f"{one.cpu(scenario.per):,.0f}"]
        cells += [f"{one.rate / other.rate:.2f}" if other is not None and other.rate else "" for other in others]
        wrong = f"   {one.wrong:,} WRONG" if one.wrong else ""
        print(f"  {name:<38}" + "".join(f"{cell:>{WIDTH}}" for cell in cells) + wrong, flush=True)


def resident(found: Mapping[str, int]) -> None:
    """Print the memory of each target's largest process, in MB."""
    print("\nresident MB of the largest process, after all that")
    for name, size in found.items():
        print(f"  {name:<38}{size / 1e6:>{WIDTH}.0f}")


def goals(lines: Iterable[Goal]) -> None:
    """Print what was to be reached."""
    print("\nto be reached")
    for line in lines:
        told = "not measured" if line.reached is None else "reached" if line.reached else "MISSED"
        print(f"  {told:<14}{line.what:<82}{line.figure}")
