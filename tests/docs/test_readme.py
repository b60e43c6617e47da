"""Every command of the README runs and ends as the README says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.docs.walkthrough import ROOT, Walk, steps

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)
def test_the_ten_steps_of_the_readme_run_as_written(tmp_path: Path) -> None:
    written = steps((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(written) > 40
    walk = Walk(tmp_path)
    try:
        for step in written:
            done = walk.run(step)
            assert done.status == step.status, f"{step.who}$ {step.command}\n{done.output}"
    finally:
        walk.close()
