"""Discovery: files a second, and precision and recall on packages that were labelled by hand.

`python bench/discover.py [FOLDER]` fetches the packages that FOLDER does not hold yet; without one, into a new folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.shadow.discover import discover
from bedplate.shadow.signature import signatures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.shadow.discover import Discovery

LABELS = Path(__file__).parents[1] / "tests" / "shadow" / "labels.toml"
RATE, ROUNDS = 2_000, 3
STRONG = frozenset({"sdk", "endpoint", "manifest", "mcp", "key"})  # a model's name alone is talk


def main() -> None:
    """Measure and print."""
    labels = tomllib.loads(LABELS.read_text())
    with tempfile.TemporaryDirectory() as new:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(new)
        wanted = {**labels["tune"], **labels["report"]}
        places = {name: fetched(folder, name, told["version"]) for name, told in wanted.items()}
        found = {name: discover([place], 1) for name, place in places.items()}
        for half in ("tune", "report"):
            judge(half, labels[half], found)
        speed([*places.values()])


def judge(half: str, labels: Mapping[str, Any], found: Mapping[str, Discovery]) -> None:
    """Print how well labels and findings agree."""
    said = {name for name in labels if any(s.kind in STRONG for s in found[name].sightings)}
    true = {name for name, told in labels.items() if told["ai"]}
    pairs = [(name, p) for name in true for p in labels[name]["providers"]]
    seen = [(name, p) for name, p in pairs if p in ids(found[name])]
    right = len(said & true)
    print(f"{half}: {len(labels)} packages, {len(true)} use AI, {len(labels) - len(true)} do not")
    print(
        f"  precision {right / len(said):.3f}  {right} of {len(said)}; wrongly named: {', '.join(sorted(said - true))}"
    )
    print(f"  recall    {right / len(true):.3f}  {right} of {len(true)}; missed: {', '.join(sorted(true - said))}")
    lost = ", ".join(f"{name}/{p}" for name, p in sorted(set(pairs) - set(seen)))
    print(f"  suppliers {len(seen) / len(pairs):.3f}  {len(seen)} of {len(pairs)}; missed: {lost}")


def ids(found: Discovery) -> set[str]:
    """Return the ids of the providers that were found."""
    names = {p.name: p.id for p in signatures().providers if p.name}
    frameworks = {
        n.lower(): p.id for p in signatures().providers if not p.name for n in (p.id, *p.marks.get("python", ()))
    }
    frameworks |= {n.lower(): p.id for p in signatures().providers if not p.name for n in p.marks.get("pypi", ())}
    told = [s for s in found.sightings if s.kind in STRONG]
    return {names.get(s.provider, "") or frameworks.get(s.what, s.what) for s in told}


def speed(places: list[Path]) -> None:
    """Print how many files are looked at in a second; what the disk takes is paid before."""
    took, busy, last = [], [], None
    for _ in range(ROUNDS):
        began, worked = time.perf_counter(), time.process_time()
        last = discover(places, 1)
        took.append(time.perf_counter() - began)
        busy.append(time.process_time() - worked)
    assert last is not None
    best, middle = min(took), sorted(took)[ROUNDS // 2]
    for name, seconds in (("best", best), ("median", middle)):
        rate = last.read / seconds
        state = "reached" if rate >= RATE else "MISSED"
        print(
            f"{rate:8.0f} files read/s ({name} of {ROUNDS}, {last.read} of {last.files} files), {RATE} wanted: {state}"
        )
    print(f"{last.read / min(busy):8.0f} files a second of processor time; load {os.getloadavg()[0]:.1f}")


def fetched(folder: Path, name: str, version: str) -> Path:
    """Return a package's files, fetched with pip if they are not there."""
    place = folder / f"{name.replace('-', '_')}-{version}"
    if not place.is_dir():
        with tempfile.TemporaryDirectory() as wheels:
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", wheels]
            subprocess.run([*pip, f"{name}=={version}"], check=True)
            for wheel in Path(wheels).glob("*.whl"):
                zipfile.ZipFile(wheel).extractall(place)
    return place


if __name__ == "__main__":
    main()
