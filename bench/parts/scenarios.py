"""What is compared, and under which loads."""

from __future__ import annotations

from .compare import Scenario
from .question import LARGE

DIRECT, BARE, LITELLM = "direct", "bare pass-through", "LiteLLM"
FAST, REDACT, SAFE = "Bedplate", "Bedplate, tier 3", "Bedplate, safe"
LOADED = "Bedplate, loaded"

ONE = Scenario("1 connection", 1, (1.0, 2.0))
MANY = Scenario("32 connections", 32, (1.0, 4.0))
MOST = Scenario("128 connections", 128, (1.0, 6.0))
BIG = Scenario("32 connections, 100 KB prompts", 32, (1.0, 4.0), size=LARGE)
STREAM = Scenario("32 connections, streams", 32, (1.0, 6.0), stream=True)
PACED = Scenario("64 connections, an event every 20 ms", 64, (2.4, 6.0), stream=True, paced=True)
ALL = (ONE, MANY, MOST, BIG, STREAM, PACED)
LOADED_MANY = Scenario("32 connections, small and loaded", 32, (1.0, 1.0))
