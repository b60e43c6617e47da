"""What the examples act on: a bank that prints, and takes what has the same reference for the same payment."""

from __future__ import annotations

import os

from bedplate.sdk.agents import Agents, current_action

TASK = "Pay invoice 17: 250 EUR to LU280019400644750000."


def pay(to: str, amount: int) -> str:
    """Pay somebody."""
    print(f"the bank: {amount} EUR to {to}, reference {current_action()}")  # noqa: T201  it is what it does
    return f"paid {amount} EUR"


def agents() -> Agents:
    """Return the client: BEDPLATE_URL, and BEDPLATE_KEY as `bedplate key issue USE-CASE --agent payer` gives it."""
    return Agents(os.environ.get("BEDPLATE_URL", "http://127.0.0.1:8400"), os.environ["BEDPLATE_KEY"])
