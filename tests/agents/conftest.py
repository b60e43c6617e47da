"""An installation with a released agent, on SQLite: what is tested here does not depend on the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.agents.acting import acting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agents.acting import Acting
    from tests.conftest import House


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def tier() -> int:
    return 2


@pytest.fixture
def agent(house: House, tmp_path: Path, tier: int) -> Iterator[Acting]:
    """A run of the agent that pays bills, begun."""
    with acting(house, tmp_path / "data", tier) as found:
        found.begin()
        yield found
