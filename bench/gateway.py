"""What governing a call costs: Bedplate beside no proxy, the barest one and LiteLLM, on one upstream, in one run.

Everything is on in Bedplate: key, verdict, guardrails both ways, price, encryption of what was said, and a record that
is durable before the answer's last byte. About four minutes; how to read it: docs/benchmarks.md. Linux only.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # so that its parts know each other
    import_module("bench.parts.contest").main()
