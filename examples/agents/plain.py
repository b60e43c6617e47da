"""No framework: a function that is asked for. Started again, it goes on where it stopped: `python plain.py [RUN]`."""

from __future__ import annotations

import sys

import bank

from bedplate.sdk.agents import Parked, Refused
from bedplate.sdk.decorator import governed, running

agents = bank.agents()
pay = governed("local/pay", agents)(bank.pay)

try:
    with running(agents, sys.argv[1] if len(sys.argv) > 1 else "invoice-17", task=bank.TASK):
        print(pay("LU280019400644750000", 250))  # noqa: T201
except Parked as parked:
    sys.exit(f"waits for {parked.approval}: start it again once people have agreed")
except Refused as refused:
    sys.exit(f"{refused}")
