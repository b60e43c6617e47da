"""What we ship of others' work is what they released, and is listed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTS = [
    ROOT / "src/bedplate/api/static/vendor/VENDORED.md",
    ROOT / "src/bedplate/console/static/vendor/VENDORED.md",
    ROOT / "tests/console/VENDORED.md",
]


def listed(page: Path) -> dict[str, str]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.read_text().splitlines()[6:]]
    assert rows
    assert all(len(row) == 5 and all(row) for row in rows)
    return {row[0]: row[4] for row in rows}


@pytest.mark.parametrize("page", LISTS, ids=lambda page: page.parent.relative_to(ROOT).as_posix())
def test_vendored_files_are_unchanged(page: Path) -> None:
    found = {name: hashlib.sha256((page.parent / name).read_bytes()).hexdigest() for name in listed(page)}
    assert found == listed(page)


@pytest.mark.parametrize("page", LISTS[:2], ids=lambda page: page.parent.relative_to(ROOT).as_posix())
def test_every_vendored_file_is_listed(page: Path) -> None:
    assert {file.name for file in page.parent.iterdir()} == {page.name, *listed(page)}
